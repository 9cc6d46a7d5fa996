"""`trl-srl evaluate`: problems, benchmarks and steps from files, on a tiny model."""

import json
import re
import shutil
from io import StringIO

import datasets
import pandas as pd
import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trl_srl import format_trajectories
from trl_srl.cli import main
from trl_srl.evaluation import BENCHMARKS, read_problems
from trl_srl.evaluation.results import print_results, weights_digest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def evaluate(solver_model, tmp_path, capsys):
    """Runs the command and returns what it printed and, from the output folder, its results."""

    def run(*options):
        output = tmp_path / "out"
        limit = [] if "--max_completion_length" in options else ["--max_completion_length", "32"]
        main(["evaluate", "--model", solver_model, *map(str, options), *limit, "-o", str(output)])
        return re.sub(" +", " ", capsys.readouterr().out), json.loads((output / "results.json").read_text())

    return run


@pytest.fixture
def fail(capsys):
    def run(*options):
        with pytest.raises(SystemExit) as error:
            main(["evaluate", "--model", "m", *map(str, options)])
        assert error.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        return line

    return run


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_in_4_bit(evaluate, sums, tmp_path, qlora_base):
    data = write(tmp_path / "sums.jsonl", sums)
    _, results = evaluate("--dataset", data, "--model", qlora_base, "--load_in_4bit")
    assert results["settings"]["dtype"] == "float32, load_in_4bit=True, bnb_4bit_quant_type=nf4"


def test_in_4_bit_where_the_configuration_names_no_precision(evaluate, sums, tmp_path, qlora_base):
    model = shutil.copytree(qlora_base, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    del config["dtype"]
    (model / "config.json").write_text(json.dumps(config))
    _, results = evaluate("--dataset", write(tmp_path / "sums.jsonl", sums), "--model", model, "--load_in_4bit")
    assert "load_in_4bit=True" in results["settings"]["dtype"]


def test_an_adapter_on_another_base_model_is_another_model(tmp_path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    base.mkdir(), adapter.mkdir()
    (base / "model.safetensors").write_bytes(b"1")
    (adapter / "adapter_model.safetensors").write_bytes(b"1")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    before = weights_digest(str(adapter))
    assert before == weights_digest(str(adapter)) != ""
    (base / "model.safetensors").write_bytes(b"22")
    assert weights_digest(str(adapter)) != before


def test_problems_step_by_step(evaluate, sums, tmp_path):
    data = write(tmp_path / "sums.jsonl", [*sums, {"problem": "1+1", "steps": [], "answer": None}])
    out, results = evaluate("--dataset", data, "--step_by_step", "--system_prompt", "S", "--num_samples", 2)
    assert "5 problems; 1 rows have no answer" in out
    assert "greedy accuracy 80.0% 37.6% to 96.4%" in out
    assert results["metrics"]["greedy_accuracy"]["value"] == 0.8
    assert {"avg@2", "pass@2"} <= set(results["metrics"])
    assert (results["dataset"], results["num_problems"]) == (str(data), 5)
    assert results["settings"]["step_by_step"] is True


def test_a_terminal_gets_a_table_with_lines(evaluate, sums, tmp_path):
    _, results = evaluate("--dataset", write(tmp_path / "sums.jsonl", sums), "--max_rows", 2, "--batch_size", 2)
    console = Console(file=StringIO(), force_terminal=True, width=100)
    print_results(results, console)
    assert "╭" in console.file.getvalue()
    assert "95 % interval" in console.file.getvalue()


def test_the_rows_of_prepare_hold_the_problems_too(evaluate, sums, tmp_path):
    """Step rows: each problem once, with the system prompt that the model was trained with."""
    rows, _ = format_trajectories(sums, system_prompt="S", include_last_step=True)
    (tmp_path / "rows").mkdir()
    rows.to_parquet(tmp_path / "rows" / "validation.parquet")
    out, results = evaluate("--dataset", tmp_path / "rows", "--step_by_step", "--max_rows", 4)
    assert out.startswith("5 problems\n")
    assert results["num_problems"] == 4
    assert results["metrics"]["greedy_accuracy"]["value"] == 1.0
    solved = pd.read_parquet(tmp_path / "out" / "problems.parquet")
    assert solved["problem"].tolist() == ["2+6", "5+3", "7+4", "9+9"]
    assert solved["problem_id"].tolist() == [*dict.fromkeys(rows["problem_id"])][:4]


def test_steps(evaluate, sums, tmp_path):
    data = write(tmp_path / "sums.jsonl", sums)
    out, results = evaluate("--steps", "--dataset", data, "--split", "train", "--system_prompt", "S")
    assert "5 step rows from 5 problems" in out
    assert "exact steps 100.0% 56.6% to 100.0%" in out
    assert "step 1: similarity 1.000" in out
    assert (results["kind"], results["num_rows"]) == ("steps", 5)
    metrics = results["metrics"]
    assert (
        metrics["similarity"]["value"] == metrics["format_rate"]["value"] == metrics["exact_step_rate"]["value"] == 1
    )
    assert metrics["truncated_rate"]["value"] == 0
    assert metrics["monologue_length"] == {"value": 1.0}
    assert metrics["action_length"] == {"value": 8.0}  # "take 2+6"
    assert [(step["step_index"], step["num_rows"], step["value"]) for step in results["similarity_by_step"]] == [
        (0, 5, 1.0)
    ]
    steps = pd.read_parquet(tmp_path / "out" / "steps.parquet")
    assert steps["action"].tolist() == steps["expert_action"].tolist()
    assert pd.read_parquet(tmp_path / "out" / "problems.parquet")["similarity"].tolist() == [1.0] * 5


def test_two_checkpoints_are_compared_by_their_steps(evaluate, sums, tmp_path, capsys):
    data = write(tmp_path / "sums.jsonl", sums)
    evaluate("--steps", "--dataset", data, "--split", "train", "--system_prompt", "S")
    (tmp_path / "out").rename(tmp_path / "before")
    evaluate("--steps", "--dataset", data, "--split", "train", "--system_prompt", "S", "--max_completion_length", 3)
    main(["compare", str(tmp_path / "before"), str(tmp_path / "out")])
    out = capsys.readouterr().out
    assert "Attention: the setting max_completion_length differs: 32 / 3." in out
    assert "step similarity: 1.000 → 0.000 on 5 problems" in out
    assert "p = 0.062" in out  # 2 / 2^5


# The columns of the data sets on the Hub.
SCHEMAS = {
    "amc23": {"id": 0, "question": "{}", "answer": "{}.0", "url": "https://"},
    "aime24": {"id": 60, "problem": "{}", "solution": "…", "answer": "{:03d}", "url": "https://", "year": "2024"},
    "aime25": {"problem": "{}", "answer": "{}", "id": "0"},
    "minerva_math": {"question": "{}", "solution": r"So \boxed{{{}}}.", "answer": "{}"},
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks_run_on_a_stand_in_of_the_same_schema(name, evaluate, sums, tmp_path):
    benchmark = BENCHMARKS[name]
    rows = []
    for problem in sums:
        row = dict(SCHEMAS[name])
        row[benchmark.problem_column] = problem["problem"]
        row[benchmark.answer_column] = (
            row[benchmark.answer_column]
            .format(float(problem["answer"]) if name == "amc23" else int(problem["answer"]))
            .replace(".0.0", ".0")
        )
        rows.append(row)
    (tmp_path / name).mkdir()
    write(tmp_path / name / f"{benchmark.split}.jsonl", rows)
    options = ["--step_by_step", "--system_prompt", "S", "--batch_size", 64]
    options += ["--num_samples", 2] if benchmark.num_samples else []
    out, results = evaluate("--benchmark", name, "--dataset", tmp_path / name, *options)
    assert f"{name} has {benchmark.num_problems} problems: do not compare these numbers with others." in out
    assert results["metrics"]["greedy_accuracy"]["value"] == 0.8
    assert ("avg@2" in results["metrics"]) == (name != "minerva_math")
    assert (results["dataset"], results["split"]) == (name, benchmark.split)


def test_benchmarks_are_counted_as_in_the_paper():
    assert {name: (benchmark.num_problems, benchmark.num_samples) for name, benchmark in BENCHMARKS.items()} == {
        "amc23": (40, 32),
        "aime24": (30, 32),
        "aime25": (30, 32),
        "minerva_math": (272, 0),
    }


def test_bad_input_ends_in_one_line(fail, tmp_path, sums):
    data = write(tmp_path / "x.jsonl", [{"problem": "p", "steps": ["a", "b"]}])
    refused = fail("--steps", "--step_by_step", "--max_steps", 3, "--problem_column", "q", "--dataset", data)
    assert "leave out --step_by_step and --problem_column and --max_steps." in refused
    assert "Only --step_by_step counts steps: leave out --no_asking." in fail("--no_asking", "--dataset", data)
    step_rows = write(tmp_path / "z.jsonl", [{"prompt": [{"role": "user", "content": "p"}], "expert_action": "a"}])
    written = fail("--steps", "--dataset", step_rows, "--split", "train", "--system_prompt", "S")
    assert "step rows have their prompts already" in written
    for name in ("max_rows", "batch_size", "max_completion_length", "max_steps"):
        assert f"argument --{name}: 0 is too small: write 1 or more" in fail(f"--{name}", 0)
    assert "--load_in_4bit is missing: leave out --use_bnb_nested_quant." in fail("--use_bnb_nested_quant")
    assert "--dataset is missing" in fail()
    assert "has no column ['answer']; it has ['problem', 'steps']" in fail("--dataset", data)
    assert "There is no file nowhere.jsonl" in fail("--dataset", "nowhere.jsonl")
    empty = write(tmp_path / "y.jsonl", [{"problem": "p", "answer": ""}])
    assert "None of the 1 rows has a problem and an answer" in fail("--dataset", empty)


def test_answers_are_read_out_of_solutions():
    rows = datasets.Dataset.from_list(
        [
            {"question": "q", "solution": "First.\n#### 1,234"},
            {"question": "q", "solution": "again"},
            {"question": "r", "solution": r"\boxed{\frac{1}{2}}"},
            {"question": "", "solution": "3"},
        ]
    )
    problems, without = read_problems(rows, "question", "solution")
    assert [(problem.problem, problem.answer) for problem in problems] == [("q", "1,234"), ("r", r"\frac{1}{2}")]
    assert without == 1


def test_prompts_of_others_are_not_taken_for_ours():
    rows = datasets.Dataset.from_list(
        [{"prompt": [{"role": "user", "content": "What now?"}], "expert_action": "a", "answer": "1"}]
    )
    with pytest.raises(ValueError, match="Cannot find the problem in the prompt"):
        read_problems(rows)


def test_results_reach_a_tracker(evaluate, sums, tmp_path):
    data = write(tmp_path / "sums.jsonl", sums)
    options = ["--dataset", data, "--step_by_step", "--system_prompt", "S", "--project", "sums"]
    _, results = evaluate(*options, "--report_to", "tensorboard")
    accumulator = EventAccumulator(str(tmp_path / "out" / "sums"))
    accumulator.Reload()
    for name, part in (("greedy_accuracy", "value"), ("greedy_accuracy", "low"), ("mean_steps", "value")):
        tag = f"solutions/{name}" + ("" if part == "value" else f"/{part}")
        assert accumulator.Scalars(tag)[0].value == pytest.approx(results["metrics"][name][part])


def test_a_tracker_that_is_not_there_is_refused_before_the_evaluation(fail):
    assert "--report_to comet_ml: not installed here" in fail("--dataset", "x", "--report_to", "comet_ml")
    assert "Unsupported logging capability: nothing" in fail("--dataset", "x", "--report_to", "nothing")
