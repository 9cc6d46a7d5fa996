"""Real expert solutions: cleaned, cut into steps, the same for the same seed."""

import sys

import pytest

from trl_srl.adapters.gsm import clean_solution, convert_gsm_symbolic
from trl_srl.demo.problems import champ_trajectories, gsm_symbolic_trajectories


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (
            "James receives 48=48 emails that don't require a response",
            "James receives 48 emails that don't require a response",
        ),
        ("Thus he gets 1*5=5 letters a week", "Thus he gets 1*5=5 letters a week"),
        ("There are 40-8-16 = 16 purple bricks", "There are 40-8-16 = 16 purple bricks"),
        ("each serving has 36 oz/6 = 6 oz", "each serving has 36 oz/6 = 6 oz"),
        ("still in the yard is 84 - 36.0 = 48.0 eggs.", "still in the yard is 84 - 36 = 48 eggs."),
        ("8 x $7.75 = $62, 0.05 of 1.01", "8 x $7.75 = $62, 0.05 of 1.01"),
        ("Let's solve this step by step:\n\n1. Add:\n   • 2 + 2 = 4\n", "1. Add:\n   • 2 + 2 = 4\n"),
    ],
)
def test_oddities_are_cleaned_and_nothing_else(raw, clean):
    assert clean_solution(raw) == clean


def test_a_numbered_block_is_one_step_and_the_answer_the_last():
    entry = {
        "question": "How many items has John? Give the result as your final answer. Do not include units.",
        "metadata": {
            "answer_cot": "Let's solve this step by step:\n\n1. At home:\n   • John has 35\n   • 105 + 35 = 140\n\n"
            "2. Bought:\n   • Total: 140 + 148 = 288\n\nTherefore, John now has 288 items.\n#### 288"
        },
    }
    assert convert_gsm_symbolic(entry) == {
        "problem": "How many items has John?",
        "steps": [
            {"title": "", "body": "At home:\n   • John has 35\n   • 105 + 35 = 140"},
            {"title": "", "body": "Bought:\n   • Total: 140 + 148 = 288\n\nTherefore, John now has 288 items."},
            {"title": "", "body": "The answer is 288."},
        ],
        "answer": "288",
        "drop_reason": "",
    }


def test_gsm_symbolic_is_deterministic_unique_and_clean():
    pytest.importorskip("reasoning_gym")
    rows = gsm_symbolic_trajectories(200, seed=3).to_list()
    assert rows == gsm_symbolic_trajectories(200, seed=3).to_list()
    assert len({row["problem"] for row in rows}) == 200
    assert all(len(row["steps"]) >= 2 for row in rows)
    text = "\n".join(row["problem"] + "\n" + "\n".join(row["steps"]) for row in rows)
    for leftover in ("Let's solve", "Do not include units", "####", ".0 ", ".00000"):
        assert leftover not in text


def test_gsm_symbolic_keeps_excluded_and_long_problems_out():
    pytest.importorskip("reasoning_gym")
    first = set(gsm_symbolic_trajectories(100, seed=3)["problem"])
    second = gsm_symbolic_trajectories(100, seed=3, max_characters=300, exclude=first)
    assert not first & set(second["problem"])
    assert all(len(row["problem"]) + sum(map(len, row["steps"])) <= 300 for row in second)


def test_more_problems_than_there_are():
    pytest.importorskip("reasoning_gym")
    with pytest.raises(ValueError, match="Only 0 of 5 problems"):
        gsm_symbolic_trajectories(5, max_characters=10)


def test_champ():
    pytest.importorskip("champ_dataset")
    rows = champ_trajectories()
    assert len(rows) == 270
    odd_objects = next(row for row in rows if row["problem"].startswith("In how many ways can you take an odd number"))
    assert odd_objects["answer"] == "2^(n-1)"
    assert odd_objects["steps"][0] == "Let U be the set of objects."
    assert len(odd_objects["steps"]) == 5


@pytest.mark.parametrize(
    ("package", "load"),
    [("reasoning_gym", lambda: gsm_symbolic_trajectories(1)), ("champ_dataset", champ_trajectories)],
)
def test_a_missing_package_is_named_with_its_remedy(package, load, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install 'trl-srl\[demo\]'"):
        load()
