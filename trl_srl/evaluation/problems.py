"""Problems to solve, with their expected answers: from rows with an answer, or from step rows, which hold the problem
in their prompt.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..prompts import Message, read_problem
from ..step_rows import column_names, digest
from .answers import expected_answer


if TYPE_CHECKING:
    from datasets import Dataset


class Problem(NamedTuple):
    """
    A problem to solve.

    Attributes:
        problem (`str` or `list[dict[str, str]]`): A text, or chat messages whose last one is the user's.
        answer (`str`): The expected answer.
        problem_id (`str`): The same in every evaluation of this problem; what two evaluations are paired by.
        system_prompt (`str`, *optional*): That of the step rows it was read from.
    """

    problem: str | list[Message]
    answer: str
    problem_id: str
    system_prompt: str | None = None


def read_problems(
    dataset: "Dataset", problem_column: str | None = None, answer_column: str | None = None
) -> tuple[list[Problem], int]:
    """
    Problems with their answers, each problem once.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows with a problem and its answer, or step rows with an `answer`.
        problem_column, answer_column (`str`, *optional*):
            Names of the columns; by default `problem` (or `prompt`) and `answer`. An answer inside a box or after
            `####` is taken out of it, so a column of whole solutions will do.

    Returns:
        `tuple`: the problems, and how many rows were left out because they have no problem or no answer. (Further
        rows of a problem, such as its later steps, are not counted.)

    Raises:
        `ValueError`: when a column is missing, or no problem is left.
    """
    names = column_names(dataset)
    answers = answer_column or "answer"
    source = problem_column or ("problem" if "problem" in names else "prompt")
    missing = [name for name in (source, answers) if name not in names]
    if missing:
        raise ValueError(
            f"Solutions are evaluated by their answers: the dataset has no column {missing}; it has {sorted(names)}. "
            "Name the right ones with --problem_column and --answer_column, or evaluate single steps with --steps."
        )
    are_step_rows = problem_column is None and "expert_action" in names
    problems: dict[str, Problem] = {}
    without = 0
    for row in dataset:
        found = _read_row(row, source, answers, are_step_rows)
        if found is None:
            without += 1
        else:
            problems.setdefault(found.problem_id, found)
    if not problems:
        raise ValueError(f"None of the {len(dataset):,} rows has a problem and an answer in `{source}`, `{answers}`.")
    return list(problems.values()), without


def _read_row(row: Mapping[str, Any], problem_column: str, answer_column: str, is_step_row: bool) -> Problem | None:
    text, answer = row[problem_column], row[answer_column]
    if not text or answer is None or not str(answer).strip():
        return None
    system = None
    if is_step_row:
        text, system = read_problem(text)
    return Problem(text, expected_answer(answer), row.get("problem_id") or digest(text), system)
