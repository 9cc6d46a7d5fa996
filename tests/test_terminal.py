"""Tables in a terminal, plain text elsewhere; texts of a model are never markup."""

import os
from types import SimpleNamespace

import pytest
from rich.console import Console

from trl_srl.doctor import FirstBatch, diagnose
from trl_srl.terminal import LineProgress, diagnosis_table, log_lines, results_table, results_text, show
from trl_srl.training_log import Change


CHANGES = [
    Change("training", "Reward", 0.25, 0.5, (1, 6), (55, 60)),
    Change("small", "Step similarity", 0.125, 0.75, (20, 20), (60, 60)),
]
TEXT = """\
Training: 60 steps
training, steps 1–6 → steps 55–60:
  Reward: 0.250 → 0.500
small, step 20 → step 60:
  Step similarity: 0.125 → 0.750
"""


@pytest.fixture
def terminal(monkeypatch):
    """Rich takes these variables for a terminal of 100 columns that knows no colours."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "100")
    # `Dataset.map(num_proc=…)` leaves another object in `os.environ`, which Rich, imported before, does not see.
    monkeypatch.setattr(Console, "_environ", os.environ)


def diagnosis(completion="<think>hm</think>x = 3"):
    return diagnose(FirstBatch(1.0, 0.25, 0.5, completion, "x = 4", -1.0, think_prefilled=False), 256)


def test_results_are_plain_text_in_a_pipe(capsys):
    show(results_table(CHANGES, "Training: 60 steps"), results_text(CHANGES, "Training: 60 steps"))
    assert capsys.readouterr().out == TEXT


def test_results_are_a_table_in_a_terminal(terminal, capsys):
    show(results_table(CHANGES, "Training: 60 steps"), "plain")
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert cells == [
        ["training", "", "steps 1–6", "steps 55–60"],
        ["", "Reward", "0.250", "0.500"],
        ["small", "", "step 20", "step 60"],
        ["", "Step similarity", "0.125", "0.750"],
    ]


def test_what_was_logged_once_is_no_change(terminal, capsys):
    once = [Change("training", "Reward", 0.5, 0.5, (10, 10), (10, 10))]
    assert results_text(once, "Training: 10 steps") == "Training: 10 steps\ntraining, step 10:\n  Reward: 0.500"
    show(results_table(once, "Training: 10 steps"), "plain")
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert cells == [["training", "", "", "step 10"], ["", "Reward", "", "0.500"]]


def test_the_first_batch_is_plain_text_in_a_pipe(capsys):
    show(diagnosis_table(diagnosis()), str(diagnosis()))
    assert capsys.readouterr().out == f"{diagnosis()}\n"


def test_the_first_batch_is_a_table_in_a_terminal(terminal, capsys):
    show(diagnosis_table(diagnosis()), "plain")
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert cells[:5] == [
        ["100%", "of the completions badly formed"],
        ["25%", "cut off at 256 tokens"],
        ["50%", "of the groups uninformative"],
        ["One completion (reward -1.000)", "'<think>hm</think>x = 3'"],
        ["The expert's step", "'x = 4'"],
    ]
    assert cells[5][0] == "What to do"
    assert " ".join(cell for _, cell in cells[5:]).startswith("Almost no completion follows the format (<think> …")


@pytest.mark.parametrize("text", ["[bold]b[/bold] :smile: [/oops]", "\x1b[31mred\x1b]0;title\x07", "a\u202eb"])
def test_a_model_s_text_is_shown_and_nothing_else(terminal, capsys, text):
    show(diagnosis_table(diagnosis(text)), "plain")
    assert repr(text) in capsys.readouterr().out


LOGGED = {"loss": 0.0, "reward_all_groups": 0.25, "srl/similarity": 0.5, "dynamic_sampling/acceptance": 0.75}


def test_a_line_for_each_set_that_was_logged():
    logs = {"eval_easy_srl/similarity": 0.5, "eval_hard_srl/similarity": 0.25, "eval_hard_srl/exact_step_rate": None}
    assert log_lines(4, logs) == ["step 4, eval_easy: similarity 0.500", "step 4, eval_hard: similarity 0.250"]
    assert log_lines(4, {"train_runtime": 3.0, "train_loss": 0.0}) == []


@pytest.mark.parametrize("in_terminal", [True, False])
def test_logging_is_one_line_in_a_terminal_and_everything_elsewhere(in_terminal, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: in_terminal)
    progress, state = LineProgress(), SimpleNamespace(global_step=1, max_steps=2, is_world_process_zero=True)
    progress.on_train_begin(None, state, None)
    progress.on_log(None, state, None, LOGGED)
    progress.on_log(None, state, None, {"train_runtime": 3.0})  # no metric of ours: as transformers prints it
    progress.on_train_end(None, state, None)
    line = "step 1: reward 0.250, similarity 0.500, informative groups 75%"
    everything = str({name: f"{value:.4g}" for name, value in LOGGED.items()})
    assert capsys.readouterr().out.splitlines() == [line if in_terminal else everything, "{'train_runtime': '3'}"]
