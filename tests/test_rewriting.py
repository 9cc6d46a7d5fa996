"""Rewriting: what is asked, how replies are checked, and that nothing is asked twice."""

import pytest
from datasets import Dataset

from trl_srl.formatting import format_trajectories
from trl_srl.preparing.rewriting import ReplyCache, ReplyFailure, Rewriter, build_rewrite_request, check_rewritten
from trl_srl.step_rows import DROP_REASONS


GOOD = "1. **Halve** 48 / 2 = 24.\n2. **Add** 48 + 24 = 72, so she sold 72 clips."
SOLUTION = "Half of 48 is 24. Together 72."


class Scribe:
    """A model that answers from a list of rules, and remembers what it was asked."""

    def __init__(self, answers, name="scribe", **settings):
        self.name, self.settings, self.answers, self.asked = name, settings, answers, []

    def replies(self, requests):
        for place, request in reversed(list(enumerate(requests))):  # not in order
            question = request[-1]["content"]
            self.asked.append(question)
            yield place, next(answer for words, answer in self.answers.items() if words in question)


def rewriter(tmp_path, answers, **kwargs):
    return Rewriter(Scribe(answers, **kwargs), ReplyCache(tmp_path / "cache" / "rewrites.sqlite"))


def solutions(*rows):
    return Dataset.from_list(
        [{"problem": problem, "steps": [text], "answer": answer} for problem, text, answer in rows]
    )


@pytest.mark.parametrize(
    ("reply", "answer", "titles", "reason"),
    [
        (GOOD, None, ["Halve", "Add"], ""),
        (GOOD, "72", ["Halve", "Add"], ""),
        (GOOD, "72.0", ["Halve", "Add"], ""),
        (GOOD, " ", ["Halve", "Add"], ""),  # a blank answer is none
        (GOOD, "2", [], "rewrite_answer"),  # it is in step 1, not in the last
        (GOOD, "73", [], "rewrite_answer"),
        ("<think>1. **No** x\n2. **No** 72</think>\n" + GOOD, None, ["Halve", "Add"], ""),
        ("1. **All** 48 / 2 = 24, and 72.", None, [], "rewrite_format"),  # one step
        ("1. Halve: 24\n2. Add: 72", None, [], "rewrite_format"),  # no titles
        ("1. **Halve**\n2. **Add** 72", None, [], "rewrite_format"),  # a title without a step
        ("The answer is 72.", None, [], "rewrite_format"),
        ("", None, [], "rewrite_format"),
    ],
)
def test_check(reply, answer, titles, reason):
    steps, found = check_rewritten(reply, SOLUTION, answer)
    assert ([step.title for step in steps], found) == (titles, reason)


def test_without_any_answer_nothing_is_compared():
    steps, reason = check_rewritten("1. **Assume** x.\n2. **Conclude** y.", "A proof.", None)
    assert (len(steps), reason) == (2, "")


def test_boxed_answer_of_the_solution():
    assert check_rewritten(GOOD, r"So $\boxed{72}$ after 3 days", None)[1] == ""
    assert check_rewritten(GOOD, r"So $\boxed{2}$ and 72", None)[1] == "rewrite_answer"


def test_request_holds_problem_and_solution():
    system, user = build_rewrite_request("How many?", SOLUTION)
    assert "1. **Title**" in system["content"]
    assert user == {
        "role": "user",
        "content": f"Problem:\nHow many?\n\nSolution:\n{SOLUTION}\n\nWrite this solution in steps.",
    }


ANSWERS = {"clips": GOOD, "format": "No steps, 7.", "answer": GOOD, "failed": ReplyFailure("busy")}
ROWS = [
    ("How many clips?", SOLUTION, "72"),
    ("format?", "It is 7.", "7"),
    ("answer?", "It is 8.", "8"),
    ("failed?", "It is 9.", None),
]


def test_rows_are_rewritten_or_dropped_under_a_reason(tmp_path):
    rows = rewriter(tmp_path, ANSWERS).rewrite(solutions(*ROWS))
    assert rows["drop_reason"][:] == ["", "rewrite_format", "rewrite_answer", "rewrite_failed"]
    assert rows[0]["steps"] == [
        {"title": "Halve", "body": "48 / 2 = 24."},
        {"title": "Add", "body": "48 + 24 = 72, so she sold 72 clips."},
    ]
    step_rows, summary = format_trajectories(rows)
    assert step_rows["expert_action"][:] == ["**Halve**: 48 / 2 = 24."]
    assert step_rows["answer"][:] == ["72"]
    assert summary.dropped == {"rewrite_format": 1, "rewrite_answer": 1, "rewrite_failed": 1}
    assert all(reason in DROP_REASONS for reason in summary.dropped)


def test_nothing_is_asked_twice(tmp_path):
    first = rewriter(tmp_path, ANSWERS)
    expected = first.rewrite(solutions(*ROWS, ROWS[0])).to_list()
    assert len(first.model.asked) == 4  # the same solution twice is one request
    second = rewriter(tmp_path, {"failed": "1. **Say** x\n2. **Be** 9"})
    rows = second.rewrite(solutions(*ROWS, ROWS[0])).to_list()
    assert [question.partition("?")[0] for question in second.model.asked] == ["Problem:\nfailed"]  # it may pass
    assert rows[:3] == expected[:3]
    assert rows[3]["drop_reason"] == ""


def test_a_lasting_failure_is_not_paid_for_again(tmp_path):
    answers = {"failed": ReplyFailure("cut off", lasting=True)}
    for run in range(2):
        scribe = rewriter(tmp_path, answers)
        assert scribe.rewrite(solutions(ROWS[3]))["drop_reason"][:] == ["rewrite_failed"]
        assert len(scribe.model.asked) == 1 - run


@pytest.mark.parametrize(
    "change",
    [{"name": "other"}, {"max_tokens": 7}, {"solution": "It is 72."}, {"problem": "clips, how many?"}],
    ids=str,
)
def test_what_is_different_is_asked_anew(tmp_path, change):
    rewriter(tmp_path, ANSWERS).rewrite(solutions(ROWS[0]))
    model = {key: value for key, value in change.items() if key in ("name", "max_tokens")}
    again = rewriter(tmp_path, ANSWERS, **model)
    again.rewrite(solutions((change.get("problem", ROWS[0][0]), change.get("solution", SOLUTION), "72")))
    assert len(again.model.asked) == 1


def test_what_cannot_be_rewritten_is_left_to_formatting(tmp_path):
    rows = [
        {"problem": "", "steps": ["a", "b"], "drop_reason": None},
        {"problem": "P", "steps": [], "drop_reason": None},
        {"problem": "P", "steps": ["a"], "drop_reason": "no_solution"},
        {"problem": "clips", "steps": ["Half is 24.", "Together 72."], "drop_reason": ""},
    ]
    scribe = rewriter(tmp_path, ANSWERS)
    step_rows, summary = format_trajectories(scribe.rewrite(Dataset.from_list(rows)))
    assert len(scribe.model.asked) == 1
    assert "Half is 24.\n\nTogether 72." in scribe.model.asked[0]
    assert summary.dropped == {"empty_problem": 1, "too_few_steps": 1, "no_solution": 1}
    assert len(step_rows) == 1


def test_chat_problems_and_stepwise_columns(tmp_path):
    chat = [{"role": "system", "content": "S"}, {"role": "user", "content": "How many clips?"}]
    rows = Dataset.from_list([{"prompt": chat, "completions": ["Half of 48 is 24.", "72"], "labels": [True, True]}])
    scribe = rewriter(tmp_path, ANSWERS)
    step_rows, _ = format_trajectories(scribe.rewrite(rows))
    assert scribe.model.asked[0].startswith("Problem:\nHow many clips?\n\nSolution:\nHalf of 48 is 24.\n\n72")
    assert step_rows["expert_action"][:] == ["**Halve**: 48 / 2 = 24."]


def test_labels_are_those_of_the_steps_before(tmp_path):
    row = {"prompt": "clips", "completions": ["Half of 48 is 24.", "Together 72."]}
    rows = Dataset.from_list([row | {"labels": [True, True]}, row | {"labels": [True, False]}, row | {"labels": []}])
    scribe = rewriter(tmp_path, {"clips": GOOD + "\n3. **State** 72."})
    step_rows, summary = format_trajectories(scribe.rewrite(rows))
    assert step_rows["expert_action"][0] == "**Halve**: 48 / 2 = 24."
    assert (len(scribe.model.asked), len(step_rows)) == (1, 2)
    assert summary.dropped == {"wrong_label": 2}


def test_cache_of_several_connections(tmp_path):
    one, other = (ReplyCache(tmp_path / "deep" / "x.sqlite") for _ in range(2))
    one.save("k", "é\n")
    other.save("k2", "")
    one.save("k3", ReplyFailure("not kept"))
    assert one.load(["k", "k2", "k3", "k4"]) == other.load(["k", "k2", "k3"]) == {"k": "é\n", "k2": ""}


def test_agents_are_not_rewritten(tmp_path):
    agent = {"problem": "Fix it.", "steps": [{"action": "ls", "observation": "a.py"}]}
    with pytest.raises(ValueError, match="An agent's actions are not rewritten"):
        rewriter(tmp_path, ANSWERS).rewrite(Dataset.from_list([agent]))


def test_cache_that_cannot_be_used(tmp_path):
    (tmp_path / "notes.txt").write_text("This is no database, but a text of some length." * 20)
    for path in (tmp_path / "notes.txt", tmp_path):
        with pytest.raises(OSError, match=r"Cannot keep replies in .*--rewrite_cache"):
            ReplyCache(path).load(["k"])
    assert (tmp_path / "notes.txt").read_text().startswith("This is no database")
