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
    solution, _, answer = without_calculations(row["answer"] or "").rpartition("####")
    steps = []
    for line in filter(str.strip, solution.split("\n")):
        title, socratic, body = line.partition(" ** ")
        steps.append(Step(title.strip(), body.strip()) if socratic else Step("", line.strip()))
    if not steps:
        return solution_row(row["question"], [])
    return solution_row(row["question"], [*steps, final_step(answer.strip())], answer)


def convert_gsm_symbolic(row: Row) -> dict[str, Any]:
    """The worked solution in `metadata["answer_cot"]`; the answer behind `####` becomes the last step."""
    solution, _, answer = clean_solution(row["metadata"]["answer_cot"]).rpartition("####")
    problem = _POINT_ZERO.sub(r"\1", row["question"].removesuffix(QUESTION_SUFFIX).strip())
    return solution_row(problem, [*split_steps(solution), final_step(answer.strip())], answer)


ADAPTERS = (
    Adapter(
        "gsm8k",
        "GSM8K, the configurations `main` and `socratic`",
        ("question", "answer"),
        convert_gsm8k,
        sources=("openai/gsm8k",),
    ),
    Adapter(
        "gsm_symbolic",
        "entries of reasoning-gym's gsm_symbolic",
        ("question", "answer", "metadata"),
        convert_gsm_symbolic,
    ),
)
