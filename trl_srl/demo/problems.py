"""Real expert solutions that install from PyPI, as trajectory rows.

{"problem": "A cup of tea is 7 ounces …", "steps": ["He drank 7*6=42 ounces …", "So he drank …", "The answer is 126."],
 "answer": "126"}

Nothing is downloaded. The problems are the packages' own, read by the adapters `gsm_symbolic` and `champ`.
"""

import json
import re
from collections.abc import Collection
from importlib import resources
from typing import Any

from datasets import Dataset

from ..adapters.champ import convert_champ
from ..adapters.gsm import convert_gsm_symbolic


_FLOAT_NOISE = re.compile(r"\d\.\d{5}")  # 22.833333333333336

_MISSING = "The {name} problems need the package {package}: pip install 'trl-srl[demo]'"


def _with_texts(row: dict[str, Any]) -> dict[str, Any]:
    """A trajectory row of an adapter whose steps have no titles, with the steps as texts."""
    return {"problem": row["problem"], "steps": [step["body"] for step in row["steps"]], "answer": row["answer"]}


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
    for entry in reasoning_gym.create_dataset("gsm_symbolic", size=20 * count + 1000, seed=seed):
        row = _with_texts(convert_gsm_symbolic(entry))
        length = len(row["problem"]) + sum(map(len, row["steps"]))
        fits = max_characters is None or length <= max_characters
        if not fits or row["problem"] in seen or _FLOAT_NOISE.search(entry["metadata"]["answer_cot"]):
            continue
        seen.add(row["problem"])
        rows.append(row)
        if len(rows) == count:
            return Dataset.from_list(rows)
    raise ValueError(f"Only {len(rows)} of {count} problems were found. Ask for fewer, or raise `max_characters`.")


def champ_trajectories() -> Dataset:
    """
    CHAMP: 270 competition problems with steps written by people.

    Returns:
        [`~datasets.Dataset`]: trajectory rows with `problem`, `steps` and `answer`, in the package's order.

    Raises:
        `ImportError`: when champ-dataset is not installed.
    """
    try:
        files = resources.files("champ_dataset")
    except ImportError as error:
        raise ImportError(_MISSING.format(name="champ", package="champ-dataset")) from error
    entries = json.loads(files.joinpath("dataset_files", "v0.json").read_text(encoding="utf-8"))["problems"]
    return Dataset.from_list([_with_texts(convert_champ(entry)) for entry in entries.values()])
