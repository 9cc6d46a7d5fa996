"""When two problems are one: equal normalised text. They belong to the same side of a split, so that validation holds
no problem of training that only differs in case, white space or punctuation.
"""

import random
import re
import unicodedata
from collections.abc import Mapping


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
    >>> from trl_srl.near_duplicates import normalize_problem
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


def choose_validation(keys: Mapping[str, str], validation_size: int | float, seed: int = 42) -> set[str]:
    """
    Ids of the problems for validation. Near-duplicates, which have the same key, count as one problem.

    Args:
        keys (`Mapping[str, str]`):
            Problem id → key, as [`step_rows.problem_keys`] makes it.
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
        raise ValueError(
            f"validation_size={validation_size} cannot split {len(problems)} problems; both sides need at least one. "
            f"Write a whole number from 1 to {len(problems) - 1}, or a share in (0, 1)."
        )
    return {problem for group in random.Random(seed).sample(problems, count) for problem in group}
