r"""Solutions in one text: s1K-1.1, OpenR1-Math-220k, NuminaMath."""

from typing import Any

from ..answers import boxed_answer
from ..prompts import THINK_CLOSE
from ..trajectories import split_steps
from .adapter import Adapter, Row, at, solution_row


def _after_monologue(text: str | None) -> str:
    """A reasoning model's solution without the `<think>` block before it."""
    return (text or "").rpartition(THINK_CLOSE)[2].strip()


def convert_s1k(row: Row, *, style: Any = "titled", only_correct: bool = True) -> dict[str, Any]:
    """
    `solution` is another text and is not read. As in the paper, what is not written as `1. **Title**: …` is not cut,
    and is then dropped as `too_few_steps`. Attempts that the data set grades as wrong are dropped too (ours: the paper
    asks for solutions that reach the right answer, and does not mention the grade).
    """
    attempt = _after_monologue(row["deepseek_attempt"])
    wrong = only_correct and row.get("deepseek_grade") == "No"
    return solution_row(
        row["question"], split_steps(attempt, style), boxed_answer(attempt), "wrong_answer" if wrong else ""
    )


def convert_openr1_math(row: Row, *, style: Any = "auto") -> dict[str, Any]:
    """
    The first of the `generations` that was verified (by math-verify or by Llama) and is complete, without its
    monologue. `solution`, NuminaMath's, is read by the adapter `numina_math`.
    """
    for index, generation in enumerate(row["generations"] or []):
        verified = at(row["correctness_math_verify"], index) or at(row.get("correctness_llama"), index)
        complete = at(row.get("is_reasoning_complete"), index)
        if verified and complete is not False and THINK_CLOSE in (generation or ""):
            return solution_row(row["problem"], split_steps(_after_monologue(generation), style), row.get("answer"))
    return solution_row(row["problem"], [], row.get("answer"), "wrong_answer")


def convert_numina_math(row: Row, *, style: Any = "auto") -> dict[str, Any]:
    """
    NuminaMath-CoT and 1.5. Problems and solutions that 1.5 marks as not valid are dropped; its answers `proof` and
    `notfound` are none; where there is no `answer`, the last boxed text of the solution is.
    """
    solution = row["solution"] or ""
    valid = all(row.get(column) in (None, "Yes") for column in ("problem_is_valid", "solution_is_valid"))
    answer = row["answer"] if row.get("answer") is not None else boxed_answer(solution)
    if answer in ("proof", "notfound"):
        answer = None
    return solution_row(row["problem"], split_steps(solution, style), answer, "" if valid else "invalid_problem")


ADAPTERS = (
    Adapter(
        "s1k",
        "DeepSeek-R1's solutions of s1K-1.1, the paper's mathematical data",
        ("question", "deepseek_attempt"),
        convert_s1k,
    ),
    Adapter(
        "openr1_math",
        "verified solutions of OpenR1-Math-220k",
        ("problem", "generations", "correctness_math_verify"),
        convert_openr1_math,
    ),
    Adapter(
        "numina_math",
        "solutions of NuminaMath, or any `problem` and `solution`",
        ("problem", "solution"),
        convert_numina_math,
    ),
)
