"""The README and the docs: Python runs as it stands, commands and configurations parse, links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml


ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M))
    if not block.startswith("# not run")
]
COMMANDS = [
    pytest.param(line, id=f"{page}: {line[:40]}")
    for page in PAGES
    for block in re.findall(r"^```bash\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("trl-srl ") and "…" not in line
]
# The Hub cannot be reached here, and this is a CPU: the model is a local one, and the run is short.
HERE = "SRLConfig(use_cpu=True, bf16=False, gradient_checkpointing=False, max_steps=1, max_completion_length=16, "


@pytest.mark.parametrize("block", BLOCKS)
def test_code_blocks_run(block, format_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    block = block.replace("Qwen/Qwen2.5-0.5B-Instruct", format_model).replace("SRLConfig(", HERE)
    names: dict = {}
    exec(compile(block, "block", "exec"), names)
    if "trainer" in names:
        assert names["trainer"].state.global_step == 1


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line, parse_command):
    parse_command(line)


def test_configurations_have_options_that_exist(command_parsers):
    known = {stage: command_parsers[stage]._option_string_actions for stage in ("srl", "rlvr")}
    blocks = [
        yaml.safe_load(block)
        for page in PAGES
        for block in re.findall(r"^```yaml\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M)
    ]
    assert len(blocks) >= 2
    for block in blocks:
        second = block.pop("rlvr", {})
        assert {f"--{name}" for name in block} <= {*known["srl"]}
        assert {f"--{name}" for name in second} <= {*known["rlvr"]}


def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = {path.stem for path in tmp_path.glob("*.html")}
    assert pages >= {Path(page).stem for page in PAGES if page.startswith("docs/")}


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / page).read_text()):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"
