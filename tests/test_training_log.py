"""Metrics at the beginning and at the end of a run, from logs written by hand."""

import pytest

from trl_srl.training_log import by_split, duration, eval_sets, series, summarize_log


LOG = [
    {"step": 1, "reward": 0.2, "srl/similarity": 0.5},
    {"step": 2, "eval_small_srl/similarity": 0.25, "eval_small_loss": 0.0},
    {"step": 2, "eval_a_b_srl/similarity": 0.75},
    {"step": 2, "reward": None},  # TRL logs None when no value is valid
    {"step": 4, "reward": 0.4, "eval_reward": 0.5, "eval_rewards/x/mean": 1.0},
    {"step": 4, "eval_small_srl/similarity": 0.5},
    {"step": 4, "train_runtime": 3.0},
]


def test_series_leaves_out_what_was_not_logged():
    assert series(LOG, "reward") == ([1, 4], [0.2, 0.4])
    assert series(LOG, "nothing") == ([], [])


def test_evaluation_sets_are_found_by_name():
    assert eval_sets(LOG) == ["small", "a_b", ""]


def test_first_and_last_values():
    changes = {(change.split, change.title): change[2:] for change in summarize_log(LOG)}
    assert changes == {
        ("training", "Reward"): (0.2, 0.4, (1, 1), (4, 4)),
        ("training", "Step similarity"): (0.5, 0.5, (1, 1), (1, 1)),
        ("small", "Step similarity"): (0.25, 0.5, (2, 2), (4, 4)),
        ("a_b", "Step similarity"): (0.75, 0.75, (2, 2), (2, 2)),
        ("evaluation", "Reward"): (0.5, 0.5, (4, 4), (4, 4)),
    }


def test_a_long_run_is_told_by_means_of_tenths():
    log = [{"step": step, "reward": float(step)} for step in range(1, 31)]
    (change,) = summarize_log(log)
    assert (change.first, change.last) == (2.0, 29.0)  # of 1, 2, 3 and of 28, 29, 30
    assert list(by_split([change])) == [("training", "steps 1–3", "steps 28–30")]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (4.14, "4.1 s"), (119.4, "119 s"), (120, "2 min"), (7199, "2 h 00 min"), (11100, "3 h 05 min")],
)
def test_durations(seconds, words):
    assert duration(seconds) == words
