"""How a final answer is recognised, and when two are equal."""

import sys
import threading

import pytest
from datasets import Dataset

from trl_srl import make_problem_rows
from trl_srl.answers import find_final_answer
from trl_srl.evaluation.answers import AnswerChecker, expected_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"So \boxed{42}.", "42"),
        (r"First \boxed{1}, then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\fbox{7}", "7"),
        (r"The answer is 3, boxed: \boxed{4}", "4"),
        (r"\boxed{never closed", None),
        (r"\boxed{5} and \boxed{never closed", "5"),
        (r"{ \boxed{a \boxed{6}} } \boxed{}", None),
        (r"} \boxed{f(\}) + {x}} }", r"f(\}) + {x}"),
        (r"\boxed{" * 50_000, None),
        ("In all 72.\n#### 72", "72"),
        ("The answer is 72.", "72"),
        ("**The final answer is: 1,250.50 euros.** Good.", "1,250.50 euros"),
        ("Answer: 3/4\nI hope it is right.", "3/4"),
        ("The answer is 7. No, the answer is 8.", "8"),
        ("So the answer is\n\nunclear", None),
        ("48 / 2 = 24", None),
        ("", None),
        (r"<think>\boxed{1}</think> The answer is 2.", "2"),
        (r"<think>\boxed{1}</think> We add.", None),
        (r"The answer is 5. <think>\boxed{1}", "5"),
        (r"<think>I never stop: \boxed{1}", None),
    ],
)
def test_final_answers(text, answer):
    assert find_final_answer(text) == answer


def test_expected_answers():
    assert [expected_answer(value) for value in (72, " 1/2 ", "6 + 1 = 7\n#### 7", r"\boxed{3}", "Yes")] == [
        *("72", "1/2", "7", "3", "Yes")
    ]


PAIRS = [
    ("0.5", r"\frac{1}{2}", True),
    ("42 euros", "42", True),
    ("$42", "42", True),
    ("1,250.50", "1250.5", True),
    ("x = 3", "3", True),
    ("033", "33", True),
    ("2\\sqrt{3}", "\\sqrt{12}", True),
    (r"3.83 \times 10^{35}", "3.83e35", True),
    (r"\text{Yes}", "yes", True),
    ("No.", "no", True),
    ("No", "Yes", False),
    ("41", "42", False),
    ("18 and 24", "24", False),  # not one answer
    ("", "3", False),
    ("garbage } \\frac{", "3", False),
]


@pytest.fixture(scope="module")
def checker():
    with AnswerChecker() as checker:
        yield checker


def test_equal_answers(checker):
    right = checker.check([answer for answer, _, _ in PAIRS], [expected for _, expected, _ in PAIRS])
    assert dict(zip(PAIRS, right, strict=True)) == {pair: pair[2] for pair in PAIRS}
    assert checker.check([None], ["1"]) == [False]
    assert checker.check(["1+" * 700 + "1", "x" * 2000], ["701", "x" * 2000]) == [False, True]
    assert checker.timed_out == 0


def test_any_thread_may_check(checker):
    """math-verify's limits are signals, which Python allows in the main thread only."""
    found = []
    thread = threading.Thread(target=lambda: found.extend(checker.check(["1/2"], ["0.5"])))
    thread.start()
    thread.join()
    assert found == [True]


def test_text_is_not_executed(checker, tmp_path):
    marker = tmp_path / "executed"
    attack = f"__import__('pathlib').Path('{marker}').touch()"
    assert checker.check([attack, f"\\boxed{{{attack}}}"], ["1", "1"]) == [False, False]
    assert not marker.exists()


def test_without_math_verify_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(ImportError, match=r"pip install 'trl-srl\[eval\]'"):
        AnswerChecker()
    with pytest.raises(ImportError, match=r"pip install 'trl-srl\[eval\]'"):
        make_problem_rows(Dataset.from_list([{"problem": "1+1", "answer": "2"}]))


def test_a_math_verify_that_does_not_start_is_no_wrong_answer(monkeypatch, tmp_path):
    (tmp_path / "math_verify.py").write_text("raise ImportError('antlr4 has another version')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with AnswerChecker() as checker, pytest.raises(ImportError, match="does not start"):
        checker.check(["1/2"], ["0.5"])


def test_an_answer_that_hangs_is_wrong_and_the_next_one_is_checked():
    """Left alone, the first one would take the five seconds after which math-verify's own alarm rings."""
    with AnswerChecker(seconds=2.0) as checker:
        assert checker.check(["10^{10^{9}}", "2/4"], ["1", "0.5"]) == [False, True]
        assert checker.timed_out == 1
