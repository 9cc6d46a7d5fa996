"""Trajectories with a label for each step, in TRL's stepwise type: PRM800K, Math-Shepherd."""

import re
from typing import Any

from .adapter import Adapter, Row, without_calculations


_LABEL = re.compile(r"\A\s*step\s+\d+\s*[:.]\s*", re.IGNORECASE)
_SHEPHERD_ANSWER = re.compile(r"The answer is:?[ \t]*([^\n]+)")
_PRM800K_ANSWER = re.compile(r"^# Answer\s+([^\n]+)", re.MULTILINE)


def _stepwise_row(row: Row, answer: re.Pattern[str], only_finished: bool) -> dict[str, Any]:
    steps = [without_calculations(_LABEL.sub("", step or "")) for step in row["completions"] or []]
    found = answer.findall(steps[-1]) if steps else []
    labels = [bool(label) for label in row["labels"] or []]
    unfinished = only_finished and not found and all(labels)
    return {
        "problem": row["prompt"] or "",
        "steps": [{"title": "", "body": step} for step in steps],
        "answer": found[-1].strip() if found else None,
        "labels": labels,
        "drop_reason": "unfinished" if unfinished else "",
    }


def convert_prm800k(row: Row, *, only_finished: bool = True) -> dict[str, Any]:
    """
    The answer stands under `# Answer` in the last step. TRL's version also holds each alternative to a step as a
    trajectory that ends there; those without an answer are dropped as `unfinished`.
    """
    return _stepwise_row(row, _PRM800K_ANSWER, only_finished)


def convert_math_shepherd(row: Row, *, only_finished: bool = True) -> dict[str, Any]:
    """
    The labels `Step 1:` and the calculator's marks are cut out; the answer is that of `The answer is:` in the last
    step.
    """
    return _stepwise_row(row, _SHEPHERD_ANSWER, only_finished)


ADAPTERS = (
    Adapter(
        "prm800k",
        "steps labelled by people, in TRL's stepwise type",
        ("prompt", "completions", "labels"),
        convert_prm800k,
        kind="stepwise",
    ),
    Adapter(
        "math_shepherd",
        "steps labelled by rollouts, in TRL's stepwise type",
        ("prompt", "completions", "labels"),
        convert_math_shepherd,
        kind="stepwise",
    ),
)
