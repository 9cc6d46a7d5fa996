"""What an adapter is: a function from one row of a data set, by its real column names, to one trajectory row."""

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ..trajectories import Step


Row = Mapping[str, Any]

_CALCULATION = re.compile(r"<<[^<>\n]*>>")


class Adapter(NamedTuple):
    """
    A named adapter.

    Attributes:
        name (`str`): Name for [`adapt`] and `trl-srl prepare --adapter`.
        description (`str`): What it reads, in one line.
        columns (`tuple[str, ...]`): Columns that it needs.
        convert (`Callable`): One row → `problem` or `prompt`, `steps`, `answer` and whatever else its kind has. With
            `drop_reason` where the row cannot be used. Its keyword arguments are the adapter's options.
        kind (`str`): `"solution"`, `"stepwise"` or `"agent"`; decides the columns of the result.
    """

    name: str
    description: str
    columns: tuple[str, ...]
    convert: Callable[..., dict[str, Any]]
    kind: str = "solution"

    @property
    def options(self) -> list[str]:
        """Names of the options that [`adapt`] takes for this adapter."""
        parameters = inspect.signature(self.convert).parameters.values()
        return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]

    def fits(self, columns: Collection[str]) -> bool:
        """Whether a data set with these columns can be read."""
        return set(self.columns) <= set(columns)


def solution_row(problem: str | None, steps: list[Step], answer: Any = None, drop_reason: str = "") -> dict[str, Any]:
    """The trajectory row of a solution."""
    return {
        "problem": problem or "",
        "steps": [{"title": step.title, "body": step.body} for step in steps],
        "answer": None if answer is None else str(answer).strip(),
        "drop_reason": drop_reason or ("" if steps else "no_solution"),
    }


def final_step(answer: str) -> Step:
    """The answer as a step of its own: the last step is no target, so each step of the solution becomes one."""
    return Step("", f"The answer is {answer}.")


def without_calculations(solution: str) -> str:
    """A solution without the calculator's marks of GSM8K: `48/2=<<48/2=24>>24` is `48/2=24`."""
    return _CALCULATION.sub("", solution)


def at(values: Any, index: int) -> Any:
    """`values[index]`, or `None` where the list is shorter or missing, as in many data sets."""
    return values[index] if isinstance(values, list) and index < len(values) else None
