"""What a person reads of an inspection."""

from collections import Counter

from trl_srl.preparing.counting import Lengths
from trl_srl.preparing.inspecting import Example, Inspection
from trl_srl.preparing.inspection_report import histogram, inspection_lines, printable
from trl_srl.step_rows import FormattingSummary


ROW = {
    "prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "Problem:\n2 + 2"}],
    "expert_action": "4\x1b[31m",
    "problem_id": "p",
    "step_index": 0,
    "num_steps": 2,
}


def lines(inspection, summary=None, tokenizer=None):
    return [line for line, _ in inspection_lines(inspection, summary or FormattingSummary(), tokenizer)]


def test_histogram():
    assert list(histogram(Lengths([2] * 100 + [3] + [5] * 50))) == [
        f"  2  {'#' * 40} 100",
        f"  3  #{' ' * 39} 1",  # few are still something
        f"  4  {' ' * 40} 0",
        f"  5  {'#' * 20}{' ' * 20} 50",
    ]
    assert list(histogram(Lengths([100, 950]), bar="=")) == [
        f"  100 to 199  {'=' * 40} 1",
        *(f"  {i}00 to {i}99  {' ' * 40} 0" for i in range(2, 9)),
        f"  900 to 999  {'=' * 40} 1",
    ]
    assert list(histogram(Lengths([0] * 99 + [12345]))) == [
        f"          0  {'#' * 40} 99",
        f"  1 or more  #{' ' * 39} 1",
    ]


def test_everything_there_is_to_say():
    inspection = Inspection(problems=10, near_duplicates=1, answers=9, answers_elsewhere=2, rows=[ROW])
    inspection.steps_per_solution.add([2, 3])
    inspection.step_characters.add([5, 5, 5])
    inspection.dropped = {"duplicate": [Example("2 + 2", "4")]}
    inspection.elsewhere = [Example("[bold]3 + 3\x07", "answer 6, last step: 7")]
    inspection.repeating_steps, inspection.repeating = 1, [Example("1 + 1", "step 2: 2")]
    inspection.repeats.add(["a", "a", "b"])
    inspection.repeats.add(["b"], split=1)
    summary = FormattingSummary(rows=3, dropped=Counter(wrong_label=3, duplicate=4000))
    assert lines(inspection, summary) == [
        "Steps of a solution: mean 2.5, median 2, 95 % up to 3, from 2 to 3",
        f"  2  {'#' * 40} 1",
        f"  3  {'#' * 40} 1",
        "",
        "Characters of a step: mean 5.0, median 5, 95 % up to 5, from 5 to 5",
        f"  5  {'#' * 40} 3",
        "",
        "Dropped:",
        "  4,000 step rows of a trajectory that was seen before [duplicate]",
        "    2 + 2",
        "      > 4",
        "  3 trajectories with a step labelled as wrong, or not labelled [wrong_label]",
        "",
        "Repetitions:",
        "  10 different problems; 1 of them differ from another",
        "  one only in case, white space or punctuation, and count as one with it",
        "  100.0% of the steps occur more than once in all solutions",
        "  1 steps (33.3%) repeat an earlier step of their own solution",
        "    1 + 1",
        "      > step 2: 2",
        "  0 problems are in both training and validation",
        "  100.0% of the validation steps are, word for word, also steps of training",
        "",
        "Answers:",
        "  2 of 9 solutions do not have their answer in the last step",
        r"    [bold]3 + 3\x07",
        "      > answer 6, last step: 7",
        "",
        "Row 1 of 1, problem p, step 1 of 2",
        "[system]",
        "S",
        "[user]",
        "Problem:",
        "2 + 2",
        "--- the expert's action ---",
        r"4\x1b[31m",
        "",
    ]


def test_nothing_special():
    text = "\n".join(lines(Inspection()))
    assert "Dropped: nothing" in text
    assert "there is no answer column" in text
    assert "validation" not in text


def test_rows_are_rendered_with_the_chat_template(tokenizer):
    text = "\n".join(lines(Inspection(rows=[ROW]), tokenizer=tokenizer))
    assert (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nProblem:\n2 + 2<|im_end|>\n<|im_start|>assistant\n" in text
    )


def test_tokens_of_a_sample_are_said_to_be_such():
    inspection = Inspection()
    inspection.prompt_tokens.add([7] * 1000)
    assert any(line.startswith("Tokens of a prompt: mean 7.0") for line in lines(inspection))
    many = lines(inspection, FormattingSummary(rows=1001))
    assert any(line.startswith("Tokens of a prompt (of 1,000 rows): mean 7.0") for line in many)


def test_printable():
    assert printable("a\tb\nc é 数 \u202e \x1b[2J \r \x00") == "a\tb\nc é 数 \\u202e \\x1b[2J \\r \\x00"
