"""When two problems are one: equal normalised text. A validation split must not hold a problem of the training split
that only differs in case, white space or punctuation.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any


# An operator counts when a number follows: "2 + 2" is another problem than "2 - 2", "well-known" is "well known".
_TOKENS = re.compile(r"[0-9]+(?:\.[0-9]+)*|[^\W_]+|[+\-*/^=<>%](?= ?[0-9])")
_DIGIT_GROUPS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_OPERATORS = str.maketrans(
    {sign: plain for signs, plain in (("−–—", "-"), ("×·∙⋅∗", "*"), ("÷", "/")) for sign in signs}
)
_LONGEST_WORD = 200

_BEFORE, _AFTER = "Problem:\n", "\n\nSolution so far:\n"


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


def problem_text(prompt: Sequence[Mapping[str, Any]]) -> str:
    """
    The problem in the prompt of a step row: what the chat messages say, without the system message, and without the
    words that [`build_prompt`] puts around a problem and the steps so far.
    """
    contents = [str(message.get("content") or "") for message in prompt if message.get("role") != "system"]
    if contents and contents[-1].startswith(_BEFORE):
        contents[-1] = contents[-1].removeprefix(_BEFORE).partition(_AFTER)[0]
    return "\n".join(contents)


def is_built_prompt(prompt: Sequence[Mapping[str, Any]]) -> bool:
    """Whether [`build_prompt`] wrote a prompt, so that its problem is the same text in every step's prompt."""
    return bool(prompt) and str(prompt[-1].get("content") or "").startswith(_BEFORE)


def problem_key(text: str) -> str:
    """The same 16 characters for problems that are near-duplicates, in every process and on every machine."""
    return hashlib.sha256(normalize_problem(text).encode("utf-8", "surrogatepass")).hexdigest()[:16]
