"""Real expert solutions that install from PyPI, as trajectory rows.

{"problem": "A cup of tea is 7 ounces …", "steps": ["He drank 7*6=42 ounces …", "So he drank …", "The answer is 126."],
 "answer": "126"}

Nothing is downloaded. The problems are the packages' own; only what is no part of a solution is cleaned away.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

from datasets import Dataset

from ..trajectories import split_steps


QUESTION_SUFFIX = "Give the result as your final answer. Do not include units."
_HEADING = re.compile(r"\A\s*Let's solve this step by step:\s*")
_ECHO = re.compile(r"(?<=[a-z]{2} )(\d+)=\1(?![\d.])")  # "receives 48=48 emails", but not "40 x 1=40"
_POINT_ZERO = re.compile(r"(?<![.\d])(\d+)\.0(?!\d)")  # "36.0 eggs", but not "36.05"
_FLOAT_NOISE = re.compile(r"\d\.\d{5}")  # 22.833333333333336

_MISSING = "The {name} problems need the package {package}: pip install 'trl-srl[demo]'"


def clean_solution(solution: str) -> str:
    """The solution without its heading line, and without numbers that the generator wrote oddly."""
    return _POINT_ZERO.sub(r"\1", _ECHO.sub(r"\1", _HEADING.sub("", solution)))


def _gsm_trajectory(entry: dict[str, Any]) -> dict[str, Any]:
    solution, _, answer = clean_solution(entry["metadata"]["answer_cot"]).rpartition("####")
    # The answer is its own last step: SRL's last step is no target, so every step of the solution becomes one.
    steps = [step.body for step in split_steps(solution)] + [f"The answer is {answer.strip()}."]
    return {
        "problem": _POINT_ZERO.sub(r"\1", entry["question"].removesuffix(QUESTION_SUFFIX).strip()),
        "steps": steps,
        "answer": answer.strip(),
    }


def gsm_symbolic_trajectories(
    count: int, seed: int = 0, *, max_characters: int | None = None, exclude: Collection[str] = ()
) -> Dataset:
    """
    Word problems in the manner of GSM8K, written by the 85 templates of reasoning-gym's `gsm_symbolic`.

    Args:
        count (`int`):
            Number of problems, all different.
        seed (`int`, *optional*, defaults to `0`):
            The same seed gives the same problems.
        max_characters (`int`, *optional*):
            Longest problem and solution together; longer ones are skipped.
        exclude (`Collection[str]`, *optional*):
            Problems not to give, so that two draws are disjoint.

    Returns:
        [`~datasets.Dataset`]: trajectory rows with `problem`, `steps` and `answer`. Solutions whose numbers carry
        rounding errors (`22.833333333333336`) are skipped.

    Raises:
        `ImportError`: when reasoning-gym is not installed; `ValueError`: when there are not so many problems.
    """
    try:
        import reasoning_gym
    except ImportError as error:
        raise ImportError(_MISSING.format(name="gsm_symbolic", package="reasoning-gym")) from error
    seen = set(exclude)
    rows: list[dict[str, Any]] = []
    # Far more candidates than needed: they are generated one by one, when asked for.
    for entry in _entries(reasoning_gym.create_dataset("gsm_symbolic", size=20 * count + 1000, seed=seed)):
        row = _gsm_trajectory(entry)
        length = len(row["problem"]) + sum(map(len, row["steps"]))
        fits = max_characters is None or length <= max_characters
        if not fits or row["problem"] in seen or _FLOAT_NOISE.search(entry["metadata"]["answer_cot"]):
            continue
        seen.add(row["problem"])
        rows.append(row)
        if len(rows) == count:
            return Dataset.from_list(rows)
    raise ValueError(f"Only {len(rows)} of {count} problems were found. Ask for fewer, or raise `max_characters`.")


def _entries(dataset: Any) -> Iterator[dict[str, Any]]:
    return (dataset[index] for index in range(len(dataset)))


def champ_trajectories() -> Dataset:
    """
    CHAMP: 270 competition problems with steps written by people.

    Returns:
        [`~datasets.Dataset`]: trajectory rows with `problem`, `steps` and `answer`, in the package's order.

    Raises:
        `ImportError`: when champ-dataset is not installed.
    """
    try:
        import champ_dataset
    except ImportError as error:
        raise ImportError(_MISSING.format(name="champ", package="champ-dataset")) from error
    return Dataset.from_list(
        [
            {
                "problem": problem.text,
                "steps": [step.text for step in problem.solution.steps],
                "answer": problem.answer,
            }
            for problem in champ_dataset.load("v0").problems.values()
        ]
    )
