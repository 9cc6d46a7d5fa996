"""Two processes (gloo) take the same decisions as each other and as one process, also when groups straddle them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


SCRIPT = Path(__file__).with_name("two_processes.py")
COMMON = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
# accelerate starts several processes on a CPU only through MPI; with --multi_gpu it starts torchrun, which needs no
# GPU when ACCELERATE_USE_CPU is set.
LAUNCH = {1: ["--cpu", "--num_processes", "1", *COMMON], 2: ["--multi_gpu", "--num_processes", "2", *COMMON]}


def launch(folder, model, processes, batch_size):
    folder.mkdir()
    command = [sys.executable, "-m", "accelerate.commands.launch", *LAUNCH[processes]]
    command += [str(SCRIPT), model, str(folder), str(batch_size)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"rank{rank}-of-{processes}.json").read_text()) for rank in range(processes)]


@pytest.mark.timeout(230)
def test_two_processes_decide_as_one(tmp_path, format_model):
    (alone,) = launch(tmp_path / "one", format_model, processes=1, batch_size=12)
    # 6 rollouts for each of two ranks in groups of 4: the middle group straddles them.
    first, second = launch(tmp_path / "two", format_model, processes=2, batch_size=6)
    assert len(alone["record"]) == len(first["record"]) == 3
    for step, one, two in zip(alone["record"], first["record"], second["record"], strict=True):
        assert one["numbers"] + two["numbers"] == step["numbers"]
        assert one["rewards"] == two["rewards"]
        assert one["num_masked"] == two["num_masked"] == step["num_masked"]
        assert one["position"] == two["position"] == step["position"]
    assert first["checksum"] == second["checksum"]  # the weights stay equal
    names = ["refill_rounds", "groups_generated", "acceptance", "filled", "surplus"]
    of_one, of_two = (
        [[entry[f"dynamic_sampling/{name}"] for name in names] for entry in result["log"][:3]]
        for result in (alone, first)
    )
    assert of_one == of_two
    assert any(rounds > 0 for rounds, *_ in of_one)
