"""Problems for RLVR, from the data of SRL: the reward must know the right answer as right."""

import pytest
from datasets import Dataset
from trl.rewards import accuracy_reward

from trl_srl import build_prompt, format_trajectories, make_problem_rows
from trl_srl.prompts import SOLUTION_SYSTEM_PROMPT, SYSTEM_PROMPT, read_problem


def solve(text):
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    "answer",
    ["42", "1,000", "-7", "1/3", r"\frac{1}{3}", r"2\sqrt{3}", "50%", "(1, 2)", "x^2+1", "12 apples", r"\boxed{5}"],
)
def test_the_right_answer_is_right_and_another_is_wrong(answer):
    rows, _ = make_problem_rows(Dataset.from_list([{"problem": "?", "answer": answer}]))
    boxed = answer if "boxed" in answer else f"\\boxed{{{answer}}}"
    right = [{"role": "assistant", "content": f"<think>\\boxed{{1234}}?</think>\nSo it is {boxed}."}]
    wrong = [{"role": "assistant", "content": "<think></think>\nSo it is \\boxed{1234}."}]
    assert accuracy_reward([right, wrong], rows["solution"][:] * 2) == [1.0, 0.0]


def test_step_rows_and_trajectory_rows_give_the_same_problems(expert_trajectories):
    from_trajectories, summary = make_problem_rows(expert_trajectories)
    assert str(summary) == "40 problems from 40 rows"
    step_rows, _ = format_trajectories(expert_trajectories)
    from_steps, summary = make_problem_rows(step_rows)
    assert str(summary) == "40 problems from 80 rows"
    assert from_steps["prompt"][:] == from_trajectories["prompt"][:]
    assert from_steps["solution"][:] == from_trajectories["solution"][:]
    assert from_steps[0]["prompt"] == [{"role": "system", "content": SOLUTION_SYSTEM_PROMPT}, *solve("1+1")]
    assert from_steps[0]["solution"] == "\\boxed{2}"


def test_a_system_message_of_the_problem_s_own_stays():
    messages = [{"role": "system", "content": "Units are metres."}, *solve("How long?")]
    step = {"prompt": build_prompt(messages, ["a"]), "expert_action": "b", "answer": "3"}
    for row in (step, {"prompt": messages, "answer": "3"}):
        rows, _ = make_problem_rows(Dataset.from_list([row]))
        assert rows[0]["prompt"][0]["content"] == f"{SOLUTION_SYSTEM_PROMPT}\n\nUnits are metres."
        assert rows[0]["prompt"][1:] == solve("How long?")
    rows, _ = make_problem_rows(Dataset.from_list([step]), system_prompt="A")
    assert rows[0]["prompt"][0]["content"] == "A\n\nUnits are metres."


def test_ready_rows_are_only_checked():
    prompt = [{"role": "system", "content": "mine"}, *solve("1+1")]
    rows, summary = make_problem_rows(Dataset.from_list([{"prompt": prompt, "solution": "$2$"}]))
    assert (rows[0]["prompt"], rows[0]["solution"], summary.rows) == (prompt, "$2$", 1)


def test_what_is_dropped_is_counted():
    rows = [("a", "1"), ("a", "1"), ("b", None), ("c", " "), ("", "2"), ("d", "\\boxed{}")]
    _, summary = make_problem_rows(Dataset.from_list([{"problem": p, "answer": a} for p, a in rows]))
    assert (summary.source_rows, summary.rows) == (6, 1)
    assert dict(summary.dropped) == {"no_answer": 2, "empty_problem": 1, "unreadable_answer": 1}
    assert "dropped 1 problems whose answer math-verify cannot read" in str(summary)


def test_a_message_without_a_text_is_an_empty_problem():
    _, summary = make_problem_rows(Dataset.from_list([{"prompt": solve(q), "answer": "2"} for q in ("1+1", None)]))
    assert (summary.rows, dict(summary.dropped)) == (1, {"empty_problem": 1})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"problem": "a"}], r"Cannot find problems with answers in the columns \['problem'\]"),
        ([{"problem": "a", "answer": ""}], r"No usable problem: 0 problems from 1 rows\ndropped 1 problems without"),
        ([{"prompt": solve("x"), "expert_action": "y", "answer": "1"}], "trl_srl.build_prompt did not make it"),
    ],
)
def test_data_without_problems(rows, message):
    with pytest.raises(ValueError, match=message):
        make_problem_rows(Dataset.from_list(rows))


def test_streams_are_refused(expert_trajectories):
    with pytest.raises(TypeError, match="without streaming"):
        make_problem_rows(expert_trajectories.to_iterable_dataset())


def test_read_problem_is_the_way_back():
    for steps in ([], ["one", "two"]):
        prompt = build_prompt("What?\n\nReally?", steps, next_title="t", omitted_steps=2)
        assert read_problem(prompt) == ("What?\n\nReally?", SYSTEM_PROMPT)
