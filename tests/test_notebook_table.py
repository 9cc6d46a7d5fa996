"""The table of a run in a notebook, with numbers by hand."""

from types import SimpleNamespace

import pytest


pytest.importorskip("IPython")

from trl_srl.notebook_table import NotebookTable


def state(step):
    return SimpleNamespace(global_step=step, max_steps=2, epoch=0.5 * step, num_train_epochs=1, log_history=[])


@pytest.fixture
def table():
    table = NotebookTable()
    table.on_train_begin(SimpleNamespace(eval_strategy="steps"), state(0), None)
    return table


def test_rewards_stand_where_the_loss_did(table):
    table.on_log(None, state(1), None, {"loss": 0.0, "reward_all_groups": 0.25, "srl/similarity": 0.5})
    table.on_log(None, state(2), None, {"loss": 0.0, "reward_all_groups": 0.375, "srl/similarity": 0.625})
    table.on_log(None, state(2), None, {"train_runtime": 3.0})  # the last log of a run has no rewards
    lines = [["Step", "Reward", "Similarity"], [1, "0.250", "0.500"], [2, "0.375", "0.625"]]
    assert table.training_tracker.inner_table == lines


def test_evaluations_stand_beside_their_step(table):
    table.on_log(None, state(1), None, {"reward_all_groups": 0.25, "srl/similarity": 0.5})
    table.on_evaluate(None, state(1), None, {"eval_hard_srl/similarity": 0.75, "eval_loss": 0.0})
    assert table.training_tracker.inner_table[0] == ["Step", "Reward", "Similarity", "Similarity (eval_hard)"]
    assert table.training_tracker.inner_table[1] == [1, "0.250", "0.500", "0.750"]


def test_an_evaluation_outside_of_a_training_shows_nothing(capsys):
    NotebookTable().on_evaluate(None, state(0), None, {"eval_srl/similarity": 0.75})
    assert capsys.readouterr().out == ""
