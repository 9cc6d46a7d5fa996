"""Two and four processes (gloo) do what one does, also when groups straddle them, and none waits for another for ever.

Time limits: a launch imports torch and TRL in every process (about 12 s of one core each) and then trains for a few
seconds, so four processes on one core take about a minute. The limit of a launch is three times that, below gloo's own
time-out of 30 minutes, in which a deadlock would otherwise pass for slowness; at the limit the launch is killed and
what it printed is shown.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trl_srl import read_rollouts
from trl_srl.rollouts import rollout_files

from . import several_processes


SCRIPT = Path(several_processes.__file__)
COMMON = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]


def launcher(processes):
    # accelerate starts several processes on a CPU only through MPI; with --multi_gpu it starts torchrun, which needs
    # no GPU when ACCELERATE_USE_CPU is set.
    return ["--multi_gpu", "--num_processes", str(processes), *COMMON]


LAUNCH = {2: launcher(2), 4: launcher(4)}
LIMIT = {2: 90, 4: 180}


def launch(folder, model, processes, *scenarios):
    """Exit status, standard error and the results of each scenario by process."""
    folder.mkdir()
    command = [sys.executable, "-m", "accelerate.commands.launch", *LAUNCH[processes]]
    command += [str(SCRIPT), model, str(folder), *scenarios]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    run = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        _, errors = run.communicate(timeout=LIMIT[processes])
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        pytest.fail(f"{processes} processes hang:\n{run.communicate()[1][-3000:]}")
    results = {
        name: [json.loads(file.read_text()) for file in sorted(folder.glob(f"{name}-*.json"))] for name in scenarios
    }
    return run.returncode, errors, results


@pytest.fixture(scope="module")
def model(tmp_path_factory, make_model, make_tokenizer):
    folder = str(tmp_path_factory.mktemp("model"))
    make_model().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def alone(model, tmp_path_factory):
    """What one process does."""
    folder = tmp_path_factory.mktemp("alone")
    result = several_processes.train(model, folder) | {"rollouts": written(folder)}
    # What is to be compared takes place: refills, a batch that stays short, rewards that differ, weights that move.
    rounds = [entry["dynamic_sampling/refill_rounds"] for entry in result["log"]]
    filled = [entry["dynamic_sampling/filled"] for entry in result["log"]]
    assert max(rounds) == 2 and max(filled) > 0 and min(filled) == 0
    assert len({reward for table in result["tables"] for *_, reward, _, _ in table}) > 4
    assert max(map(abs, result["moved"])) > 1e-3
    return result


def written(folder):
    """The rollouts files of all processes, but for the advantage, which is rounded differently."""
    columns = ["step", "group", "refill_round", "prompt", "completion", "reward", "sampling", "advantage"]
    rows = [[row[name] for name in columns] for row in read_rollouts(folder)]
    return sorted(rows, key=lambda row: (*row[:2], row[4], row[5], row[7] or 0))


def assert_same(several, alone):
    for result in several:
        assert result["tables"] == [
            [[*row[:3], pytest.approx(row[3], abs=1e-5), row[4]] for row in table] for table in alone["tables"]
        ]
        assert result["log"] == [
            {name: pytest.approx(value, rel=1e-3, abs=1e-5) for name, value in entry.items()} for entry in alone["log"]
        ]
        assert result["stream"] == alone["stream"]
        assert result["moved"] == pytest.approx(alone["moved"], rel=1e-3, abs=1e-6)
        assert result["moved"] == several[0]["moved"]  # the processes' weights stay equal, bit by bit


def assert_same_rollouts(folder, alone, processes):
    """Each rollout is written once, by one of the processes, the dropped ones included."""
    assert len(rollout_files(folder / "_rollouts")) == processes * len(alone["tables"])
    rows = written(folder)
    assert [row[:7] for row in rows] == [row[:7] for row in alone["rollouts"]]
    assert {row[6] for row in rows} >= {"trained", "dropped", "masked"}
    assert [row[7] for row in rows] == [
        None if row[7] is None else pytest.approx(row[7], abs=1e-5) for row in alone["rollouts"]
    ]


@pytest.mark.timeout(LIMIT[2] + 60)
def test_two_processes_do_what_one_does_and_fail_together(tmp_path, model, alone):
    scenarios = ["train", "terminate", "fail_on_one"]
    status, errors, results = launch(tmp_path / "two", model, 2, *scenarios)
    assert [len(results[name]) for name in scenarios] == [2, 2, 0], errors[-5000:]
    assert_same(results["train"], alone)
    assert_same_rollouts(tmp_path / "two" / "train", alone, processes=2)
    # Only the last process got SIGTERM; both stopped at the end of the same step, in the middle of a generation.
    for result in results["terminate"]:
        assert (result["stopped_at"], result["interrupted"], result["same_weights"]) == (2, True, True)
        assert result["losses"][0] == result["losses"][1]
    # A reward function raised on the last process, while the first waited for its rewards.
    assert status != 0
    assert "ZeroDivisionError: the reward of one process" in errors
    assert "This happened while reward scored 6 completions at step 0" in errors


@pytest.mark.slow  # about a minute on one core, most of it imports
@pytest.mark.timeout(LIMIT[4] + 60)
def test_four_processes_do_what_one_does(tmp_path, model, alone):
    status, errors, results = launch(tmp_path / "four", model, 4, "train")
    assert status == 0, errors[-5000:]
    assert len(results["train"]) == 4
    assert_same(results["train"], alone)
    assert_same_rollouts(tmp_path / "four" / "train", alone, processes=4)
