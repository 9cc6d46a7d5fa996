"""Whole evaluations of solutions: numbers, files, and what becomes of one that was interrupted."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from trl_srl.evaluation import Generated, Problem, SolvingSettings, TransformersBackend, evaluate_solutions
from trl_srl.evaluation.journal import Journal
from trl_srl.evaluation.step_files import evaluate_step_rows


class Arithmetic:
    """
    A backend that knows what problem "3" is: greedily it answers right up to `limit`, its samples are right in turn.
    It can be told to fail at its n-th call.
    """

    name, dtype = "arithmetic", "float32"

    def __init__(self, batch_size=1, limit=3, fail_at=None):
        self.batch_size, self.limit, self.fail_at, self.calls = batch_size, limit, fail_at, 0

    def generate(self, prompts, *, max_completion_length, temperature=0.0, seed=0):
        self.calls += 1
        if self.calls == self.fail_at:
            raise RuntimeError("the machine was taken away")
        written = []
        for place, prompt in enumerate(prompts):
            number = int(prompt[-1]["content"])
            right = (place + seed) % 2 == 0 if temperature else number <= self.limit
            written.append(Generated(f"The answer is {number if right else 0}.", 6, truncated=False))
        return written


PROBLEMS = [Problem(str(number), str(number), f"id-{number}") for number in range(1, 11)]
EVERY_OTHER = SolvingSettings(num_samples=4)


def without_machine(results):
    return {name: value for name, value in results.items() if name != "machine"}


def test_greedy_accuracy_avg_and_pass_at_k(tmp_path):
    results = evaluate_solutions(
        Arithmetic(batch_size=64), PROBLEMS, EVERY_OTHER, output_dir=tmp_path, model="m", dataset="d", split="s"
    )
    metrics = results["metrics"]
    assert metrics["greedy_accuracy"] == pytest.approx({"value": 0.3, "low": 0.1078, "high": 0.6032}, abs=5e-5)
    # Two of four samples are right for every problem: pass@2 = 1 - C(2, 2) / C(4, 2).
    assert metrics["avg@4"]["value"] == 0.5
    assert metrics["pass@2"]["value"] == pytest.approx(5 / 6)
    assert metrics["pass@4"]["value"] == 1.0
    assert metrics["answered_rate"]["value"] == 1.0
    assert metrics["malformed_rate"]["value"] == metrics["truncated_rate"]["value"] == 0.0
    assert (metrics["mean_steps"], metrics["mean_tokens"]) == ({"value": 1.0}, {"value": 6.0})
    assert (results["kind"], results["num_problems"], results["answers_timed_out"]) == ("solutions", 10, 0)
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(json.dumps(results))
    assert {"model", "dataset", "split", "settings", "machine", "trl_srl"} <= set(results)

    solved = pd.read_parquet(tmp_path / "problems.parquet")
    assert solved["problem_id"].tolist() == [problem.problem_id for problem in PROBLEMS]
    assert solved["greedy_correct"].tolist() == [True] * 3 + [False] * 7
    assert solved["num_correct"].tolist() == [2] * 10
    assert solved["num_samples"].tolist() == [4] * 10
    solutions = pd.read_parquet(tmp_path / "solutions.parquet")
    assert len(solutions) == 50
    assert solutions["decoding"].value_counts().to_dict() == {"sampled": 40, "greedy": 10}
    assert solutions["correct"].sum() == 3 + 20
    assert solutions["final_answer"].iloc[0] == "1"
    assert not (tmp_path / "journal.jsonl").exists()


def test_a_model_without_a_single_answer_has_an_interval_above_zero():
    results = evaluate_solutions(Arithmetic(limit=0), PROBLEMS)
    assert results["metrics"]["greedy_accuracy"]["value"] == results["metrics"]["greedy_accuracy"]["low"] == 0.0
    assert results["metrics"]["greedy_accuracy"]["high"] == pytest.approx(0.2775, abs=5e-5)


def test_an_interrupted_evaluation_continues(tmp_path):
    """A chunk is four problems here and takes two calls, of which the fourth fails: one chunk is done."""
    settings = SolvingSettings(num_samples=1)
    whole = evaluate_solutions(Arithmetic(batch_size=2), PROBLEMS, settings, output_dir=tmp_path / "whole", model="m")
    with pytest.raises(RuntimeError, match="taken away"):
        evaluate_solutions(
            Arithmetic(batch_size=2, fail_at=4), PROBLEMS, settings, output_dir=tmp_path / "cut", model="m"
        )
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["journal.jsonl"]
    with (tmp_path / "cut" / "journal.jsonl").open("ab") as file:
        file.write(b'[{"problem_id": "id-5", "gree')  # what a kill in the middle of a write leaves
    journal = (tmp_path / "cut" / "journal.jsonl").read_text()
    (tmp_path / "cut" / "journal.jsonl").write_text(
        journal.replace('"answers_timed_out": 0', '"answers_timed_out": 2')
    )
    resumed_backend = Arithmetic(batch_size=2)
    resumed = evaluate_solutions(resumed_backend, PROBLEMS, settings, output_dir=tmp_path / "cut", model="m")
    assert without_machine(resumed) == without_machine(whole) | {"answers_timed_out": 2}
    assert resumed_backend.calls == 2 * 2  # three chunks, one of which was done
    for name in ("problems", "solutions"):
        files = [tmp_path / folder / f"{name}.parquet" for folder in ("whole", "cut")]
        pd.testing.assert_frame_equal(*map(pd.read_parquet, files))

    again = Arithmetic(batch_size=2)
    assert evaluate_solutions(again, PROBLEMS, settings, output_dir=tmp_path / "cut", model="m") == resumed
    assert again.calls == 0


def test_another_evaluation_is_not_mixed_in(tmp_path):
    with pytest.raises(RuntimeError):
        evaluate_solutions(Arithmetic(fail_at=3), PROBLEMS, EVERY_OTHER, output_dir=tmp_path, model="m")
    with pytest.raises(ValueError, match="unfinished evaluation that differs in settings"):
        evaluate_solutions(Arithmetic(), PROBLEMS, output_dir=tmp_path, model="m")
    with pytest.raises(ValueError, match="differs in num_problems, problems"):
        evaluate_solutions(Arithmetic(), PROBLEMS[1:], EVERY_OTHER, output_dir=tmp_path, model="m")
    evaluate_solutions(Arithmetic(), PROBLEMS, EVERY_OTHER, output_dir=tmp_path, model="m")
    with pytest.raises(ValueError, match="results of an evaluation that differs in model"):
        evaluate_solutions(Arithmetic(), PROBLEMS, EVERY_OTHER, output_dir=tmp_path, model="other")


@pytest.mark.parametrize("evaluate", [evaluate_solutions, evaluate_step_rows])
def test_a_model_without_a_name_leaves_no_results_that_pass_for_another_s(evaluate, tmp_path):
    rows = [{"prompt": [{"role": "user", "content": "1"}], "expert_action": "1"}]
    with pytest.raises(ValueError, match=r"Name the model \(model=…\)"):
        evaluate(Arithmetic(), PROBLEMS if evaluate is evaluate_solutions else rows, output_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_trained_again_under_its_name_is_another(tmp_path):
    (tmp_path / "model").mkdir()
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(b"1")
    evaluate_solutions(Arithmetic(), PROBLEMS, output_dir=tmp_path / "out", model=str(tmp_path / "model"))
    os.utime(weights, (1, 1))
    with pytest.raises(ValueError, match="differs in weights"):
        evaluate_solutions(Arithmetic(), PROBLEMS, output_dir=tmp_path / "out", model=str(tmp_path / "model"))


def test_journal(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, {"what": (1, 2)})
    journal.append([{"text": "line\nbreak \ud800"}])
    assert Journal(path, {"what": [1, 2]}).chunks == [[{"text": "line\nbreak \ud800"}]]
    path.write_bytes(path.read_bytes()[:-3])
    assert Journal(path, {"what": [1, 2]}).chunks == []
    Journal(path, {"what": [1, 2]}).append("b")
    assert Journal(path, {"what": [1, 2]}).chunks == ["b"]
    path.write_bytes(b'{"wh')
    assert Journal(path, {"what": 3}).chunks == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_samples": 4, "temperature": 0.0}, "would be the greedy solution"),
        ({"num_samples": -1}, "must be 0 or more"),
        ({"max_steps": 0}, "1 or more"),
    ],
)
def test_settings_that_cannot_work(settings, message):
    with pytest.raises(ValueError, match=message):
        SolvingSettings(**settings)


def test_nothing_to_solve():
    with pytest.raises(ValueError, match="no problem"):
        evaluate_solutions(Arithmetic(), [])


def test_step_by_step_on_a_real_model_and_sampling_that_does_not_depend_on_the_interruption(
    solver_model, sums, tmp_path
):
    problems = [Problem(row["problem"], row["answer"], row["problem"]) for row in sums]
    settings = SolvingSettings(step_by_step=True, num_samples=2, max_completion_length=32, system_prompt="S")

    def backend():
        model, tokenizer = (cls.from_pretrained(solver_model) for cls in (AutoModelForCausalLM, AutoTokenizer))
        return TransformersBackend(model, tokenizer, batch_size=1)

    whole = evaluate_solutions(backend(), problems, settings, output_dir=tmp_path / "whole", model="m")
    assert whole["metrics"]["greedy_accuracy"]["value"] == 0.8
    assert whole["metrics"]["mean_steps"]["value"] == 2.0
    interrupted = backend()
    generate, calls = interrupted.generate, []

    def fail_in_the_third_chunk(prompts, **settings):
        calls.append(len(prompts))
        if len(calls) == 9:
            raise KeyboardInterrupt
        return generate(prompts, **settings)

    interrupted.generate = fail_in_the_third_chunk
    with pytest.raises(KeyboardInterrupt):
        evaluate_solutions(interrupted, problems, settings, output_dir=tmp_path / "cut", model="m")
    resumed = evaluate_solutions(backend(), problems, settings, output_dir=tmp_path / "cut", model="m")
    assert without_machine(resumed) == without_machine(whole)


@pytest.mark.slow
def test_a_killed_command_continues(format_model, tmp_path, capsys):
    from trl_srl.cli import main

    data = tmp_path / "problems.jsonl"
    data.write_text("".join(json.dumps({"problem": f"{n}+1", "answer": str(n + 1)}) + "\n" for n in range(60)))

    def command(folder):
        options = ["--model", format_model, "--dataset", str(data), "--step_by_step", "--system_prompt", "S"]
        options += ["--max_completion_length", "24", "--num_samples", "1", "--batch_size", "1", "--max_steps", "6"]
        return ["evaluate", *options, "-o", str(tmp_path / folder)]

    journal = tmp_path / "killed" / "journal.jsonl"
    code = "from trl_srl.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *command("killed")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 4):
        assert process.poll() is None, "it was finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = journal.read_bytes().count(b"\n") - 1
    assert not (tmp_path / "killed" / "results.json").exists()
    main(command("killed"))
    main(command("whole"))
    assert 3 <= done < 30
    killed, whole = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("killed", "whole"))
    assert killed["metrics"] == whole["metrics"]
    assert "greedy accuracy" in capsys.readouterr().out
