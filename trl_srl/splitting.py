"""Training and validation: split by problem, so that validation holds no problem that is trained on, nor one that
differs from it in case, white space or punctuation only.
"""

import random
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from .prompts import is_built_prompt, problem_text
from .step_rows import column_names, digest


if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


# An operator counts when a number follows: "2 + 2" is another problem than "2 - 2", "well-known" is "well known".
_TOKENS = re.compile(r"[0-9]+(?:\.[0-9]+)*|[^\W_]+|[+\-*/^=<>%](?= ?[0-9])")
_DIGIT_GROUPS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_OPERATORS = str.maketrans(
    {sign: plain for signs, plain in (("−–—", "-"), ("×·∙⋅∗", "*"), ("÷", "/")) for sign in signs}
)
_LONGEST_WORD = 200


def normalize_problem(text: str) -> str:
    """
    A problem's words and numbers, without case, white space and punctuation. Time is linear in the text.

    Args:
        text (`str`):
            A problem.

    Returns:
        `str`: Words, numbers (with their decimal points, without `,` between thousands) and the operators before
        numbers, separated by single spaces. A text of nothing else stays as it is, stripped.

    Example:

    ```python
    >>> from trl_srl.splitting import normalize_problem
    >>> normalize_problem("What  is\\n1,250 − 2.5 ?")
    'what is 1250 - 2.5'
    >>> normalize_problem("what is 1250-2.5") == normalize_problem("What is 1250 - 2.5?")
    True

    ```
    """
    words = text.split()
    if not text.isascii():
        # Piece by piece: Unicode sorts the marks on a letter in quadratic time, and a hostile text has a million.
        pieces = (word[i : i + _LONGEST_WORD] for word in words for i in range(0, len(word), _LONGEST_WORD))
        words = [unicodedata.normalize("NFKC", piece).translate(_OPERATORS) for piece in pieces]
    plain = _DIGIT_GROUPS.sub("", " ".join(words).casefold())
    return " ".join(_TOKENS.findall(plain)) or text.strip()


def problem_key(text: str) -> str:
    """The same 16 characters for problems that are near-duplicates, in every process and on every machine."""
    return digest(normalize_problem(text))


def problem_keys(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """
    Problem id → key that near-duplicates share, of step rows.

    Read from the prompt that [`build_prompt`] wrote, else from that of a problem's first step, which holds no other
    steps. A problem without either has no key.
    """
    keys: dict[str, str] = {}
    for row in rows:
        problem, prompt = row["problem_id"], row.get("prompt")
        if not prompt or not isinstance(prompt, list) or problem in keys:
            continue
        if row.get("step_index") == 0 or is_built_prompt(prompt):
            keys[problem] = problem_key(problem_text(prompt))
    return keys


def choose_validation(keys: Mapping[str, str], validation_size: int | float, seed: int = 42) -> set[str]:
    """
    Ids of the problems for validation. Near-duplicates, which have the same key, count as one problem.

    Args:
        keys (`Mapping[str, str]`):
            Problem id → key, as [`problem_keys`] makes it.
        validation_size, seed (*optional*):
            As in [`split_by_problem`].
    """
    groups: dict[str, list[str]] = {}
    for problem in sorted(keys):
        groups.setdefault(keys[problem], []).append(problem)
    problems = sorted(groups.values())
    count = validation_size
    if isinstance(count, float):
        count = round(count * len(problems)) if 0 < count < 1 else 0
    if not 0 < count < len(problems):
        advice = f"Write a whole number from 1 to {len(problems) - 1}, or a share in (0, 1)."
        raise ValueError(
            f"validation_size={validation_size} cannot split {len(problems)} problems; both sides need at least one. "
            f"{advice if len(problems) > 1 else 'Bring more problems.'}"
        )
    return {problem for group in random.Random(seed).sample(problems, count) for problem in group}


def split_by_problem(step_rows: "Dataset | IterableDataset", validation_size: int | float, seed: int = 42) -> Any:
    """
    Split step rows so that no problem is on both sides. Problems whose text differs only in case, white space or
    punctuation are one problem (see `normalize_problem`).

    Args:
        step_rows ([`~datasets.Dataset`] or [`~datasets.IterableDataset`]):
            Rows with a `problem_id`.
        validation_size (`int` or `float`):
            Number of validation problems, or their share in (0, 1). In a stream only a share is possible, and it is
            met on average: a hash of each problem decides, whatever comes before or after it.
        seed (`int`, *optional*, defaults to `42`):
            Another seed gives another split. The order of the rows does not matter.

    Returns:
        [`~datasets.DatasetDict`] or [`~datasets.IterableDatasetDict`]: `train` and `validation`.
    """
    from datasets import Dataset, DatasetDict, IterableDatasetDict

    names = column_names(step_rows) if step_rows.column_names is None else step_rows.column_names
    if "problem_id" not in names:
        raise ValueError(
            f"Splitting by problem needs a column `problem_id`, found {sorted(names)}. "
            "format_trajectories makes it; for rows of your own, add one value for each problem."
        )
    if not isinstance(step_rows, Dataset):
        if not (isinstance(validation_size, float) and 0 < validation_size < 1):
            raise ValueError(
                f"validation_size={validation_size} cannot split a stream, whose number of problems is not known. "
                "Write a share in (0, 1), such as 0.01."
            )
        in_validation = partial(_is_in_validation, share=validation_size, seed=seed)
        return IterableDatasetDict(
            train=step_rows.filter(lambda row: not in_validation(row)), validation=step_rows.filter(in_validation)
        )
    ids = step_rows["problem_id"][:]
    # Decoding every prompt would be slow: only those of first steps are looked at, or where there is none, of any.
    columns = [name for name in ("problem_id", "prompt", "step_index") if name in names]
    places = {problem: place for place, problem in reversed(list(enumerate(ids)))}
    if "step_index" in names:
        steps = zip(range(len(ids)), ids, step_rows["step_index"][:], strict=True)
        places |= {problem: place for place, problem, step in steps if step == 0}
    keys = {problem: problem for problem in places}
    keys |= problem_keys(step_rows.select_columns(columns).select(sorted(places.values())))
    validation = choose_validation(keys, validation_size, seed)
    return DatasetDict(
        train=step_rows.select([i for i, problem in enumerate(ids) if problem not in validation]),
        validation=step_rows.select([i for i, problem in enumerate(ids) if problem in validation]),
    )


def _is_in_validation(row: Mapping[str, Any], share: float, seed: int) -> bool:
    """Whether a hash puts a row's problem on the validation side."""
    prompt = row.get("prompt")
    is_known = isinstance(prompt, list) and is_built_prompt(prompt)
    key = problem_key(problem_text(prompt or [])) if is_known else row["problem_id"]
    return int(digest(f"{seed} {key}"), 16) < share * 16**16
