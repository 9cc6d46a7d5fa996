"""`trl-srl prepare --push_to_hub`, to a stand-in for the Hub."""

import json
import os
import subprocess
import sys

from .hub_stand_in import HubStandIn


def test_the_folder_is_pushed_instead_of_the_splits_that_were_there(tmp_path):
    solutions = [{"problem": f"{i} + 1?", "steps": [f"Take {i}.", "Add 1.", "Done."]} for i in range(4)]
    (tmp_path / "solutions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in solutions))
    hub = HubStandIn()
    kept = {"README.md": b"mine", "training.parquet": b"mine too"}
    hub.files = kept | {"validation.parquet": b"old", "train-00001-of-00002.jsonl": b"old"}
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"} | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": "hf_test",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",  # its protocol is not spoken here
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    command = [sys.executable, "-c", "from trl_srl.cli import main; main()"]
    done = subprocess.run(
        [*command, "prepare", "solutions.jsonl", "-o", "rows", "--push_to_hub", "me/rows", "--private"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    hub.close()
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith(f"pushed to {hub.endpoint}/me/model/commit/{1:040x}\n")
    (created,) = hub.created
    assert (created["organization"], created["name"], created["type"]) == ("me", "rows", "dataset")
    assert created.get("visibility") == "private" or created.get("private")  # as newer and older clients say it
    assert hub.commits == ["Step rows of trl-srl"]
    assert hub.unknown == []
    written = {name: (tmp_path / "rows" / name).read_bytes() for name in ("train.parquet", "summary.json")}
    assert hub.files == kept | written
