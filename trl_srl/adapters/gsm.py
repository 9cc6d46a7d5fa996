"""Word problems whose solution ends in `#### answer`: GSM8K, and reasoning-gym's `gsm_symbolic`."""

import re
from typing import Any

from ..trajectories import Step, split_steps
from .adapter import Adapter, Row, final_step, solution_row, without_calculations


QUESTION_SUFFIX = "Give the result as your final answer. Do not include units."
_HEADING = re.compile(r"\A\s*Let's solve this step by step:\s*")
_ECHO = re.compile(r"(?<=[a-z]{2} )(\d+)=\1(?![\d.])")  # "receives 48=48 emails", but not "40 x 1=40"
_POINT_ZERO = re.compile(r"(?<![.\d])(\d+)\.0(?!\d)")  # "36.0 eggs", but not "36.05"


def clean_solution(solution: str) -> str:
    """A solution of `gsm_symbolic` without its heading line, and without numbers that the generator wrote oddly."""
    return _POINT_ZERO.sub(r"\1", _ECHO.sub(r"\1", _HEADING.sub("", solution)))


def convert_gsm8k(row: Row) -> dict[str, Any]:
    """
    A step a line, without the calculator's marks `<<48/2=24>>`. The answer behind `####` becomes the last step. In the
    configuration `socratic` the question before ` ** ` is the step's title.
    """
    solution, marked, answer = without_calculations(row["answer"] or "").rpartition("####")
    steps = []
    for line in filter(str.strip, solution.split("\n")):
        title, socratic, body = line.partition(" ** ")
        steps.append(Step(title.strip(), body.strip()) if socratic else Step("", line.strip()))
    return _with_answer(row["question"], steps, marked, answer)


def _with_answer(problem: str | None, steps: list[Step], marked: str, answer: str) -> dict[str, Any]:
    """The row, with the answer as its last step. Without the mark `####` the solution stops before its answer."""
    if not marked:
        return solution_row(problem, [], drop_reason="unfinished" if answer.strip() else "")
    return solution_row(problem, [*steps, final_step(answer.strip())] if steps else [], answer)


def convert_gsm_symbolic(row: Row) -> dict[str, Any]:
    """The worked solution in `metadata["answer_cot"]`; the answer behind `####` becomes the last step."""
    worked = (row["metadata"] or {}).get("answer_cot") or ""
    solution, marked, answer = clean_solution(worked).rpartition("####")
    problem = _POINT_ZERO.sub(r"\1", (row["question"] or "").removesuffix(QUESTION_SUFFIX).strip())
    return _with_answer(problem, split_steps(solution), marked, answer)


ADAPTERS = (
    Adapter(
        "gsm8k",
        "GSM8K, the configurations `main` and `socratic`",
        ("question", "answer"),
        convert_gsm8k,
    ),
    Adapter(
        "gsm_symbolic",
        "entries of reasoning-gym's gsm_symbolic",
        ("question", "answer", "metadata"),
        convert_gsm_symbolic,
    ),
)
