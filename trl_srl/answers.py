r"""Final answers in texts: where one stands, and whether a text holds it. Whether a model's answer is right is another
question, and math-verify's (evaluation/answers.py).

Time is linear in the length of every text.
"""

import importlib.util
import re
from decimal import Decimal, InvalidOperation

from .prompts import THINK_CLOSE, THINK_OPEN


# A sign counts unless something stands before it: "x-3" and "5-3" hold 3, "= -3" holds -3.
_NUMBER = re.compile(r"(?:(?<![\w)\]}.])[-\u2212])?(?:[0-9]{1,3}(?:,[0-9]{3}(?![0-9]))++|[0-9]++)(?:\.[0-9]++)?")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"(?<!\\)[{}]")
_STATED = re.compile(r"\banswer(?:\s+is[ \t]*:?|[ \t]*:)", re.IGNORECASE)
_GSM8K = re.compile(r"^[ \t]*####", re.MULTILINE)
# Not the one in "3.5": a full stop ends the statement where white space follows it, perhaps after a closing mark.
_END_OF_STATEMENT = re.compile(r"\.(?=[*_)\]\"'`]*(?:\s|$))")
# What may stand around or inside the same answer: dollars, LaTeX spaces, \left, \text, display fractions, white space.
_DECORATION = re.compile(r"\\(?:left|right|text|mathrm|displaystyle|dfrac|tfrac)(?![a-zA-Z])|\\[,;:! ()\[\]$]|[\s${}]")
_FRACTIONS = {r"\dfrac": r"\frac", r"\tfrac": r"\frac"}


def _numbers(text: str) -> set[Decimal]:
    numbers = set()
    for match in _NUMBER.findall(text):
        try:
            numbers.add(Decimal(match.replace(",", "").replace("\u2212", "-")))
        except InvalidOperation:  # more digits than there are in any answer
            continue
    return numbers


def boxed_answer(text: str) -> str | None:
    r"""
    What stands in the last `\boxed{…}` of a text whose braces close, or `None`.

    ```python
    >>> from trl_srl.answers import boxed_answer
    >>> boxed_answer(r"So $x = \boxed{\frac{1}{2}}$.")
    '\\frac{1}{2}'

    ```
    """
    # One pass, since a broken model may open thousands.
    boxes = {match.end() for match in _BOXED.finditer(text)}
    open_braces: list[int] = []
    last, content = -1, ""
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            open_braces.append(brace.end())
        elif open_braces:
            start = open_braces.pop()
            if start in boxes and start > last:
                last, content = start, text[start : brace.start()]
    return content.strip() or None


def boxed_or_last_number(text: str) -> str:
    r"""
    What a solution is taken to answer if nobody says: its last `\boxed{…}`, else its last number, else `""`.

    Example:

    ```python
    >>> from trl_srl.answers import boxed_or_last_number
    >>> boxed_or_last_number(r"So $x = \boxed{\frac{1}{2}}$, found in 3 steps.")
    '\\frac{1}{2}'
    >>> boxed_or_last_number("In all 1,250 clips.")
    '1,250'

    ```
    """
    boxed = boxed_answer(text)
    if boxed is not None:
        return boxed
    numbers = _NUMBER.findall(text)
    return numbers[-1] if numbers else ""


def last_number(text: str) -> float | None:
    """
    The last number written in a text, or `None`. A sign counts unless something stands before it.

    ```python
    >>> from trl_srl.answers import last_number
    >>> last_number("35 × 1,000 = 35,000 apples."), last_number("5-3"), last_number("= -3")
    (35000.0, 3.0, -3.0)

    ```
    """
    numbers = _NUMBER.findall(text)
    return float(numbers[-1].replace(",", "").replace("\u2212", "-")) if numbers else None


def right_number(action: str | None, expert_action: str) -> float | None:
    """Whether the last number of an action is that of the expert's step; `None` if the expert's step has none."""
    expected = last_number(expert_action)
    return None if expected is None else float(action is not None and last_number(action) == expected)


def require_math_verify() -> None:
    """Raise `ImportError`, with the remedy, when math-verify is not installed."""
    if importlib.util.find_spec("math_verify") is None:
        raise ImportError("Checking answers needs the package math-verify: pip install 'trl-srl[eval]'")


def _plain(text: str) -> str:
    return _DECORATION.sub(lambda match: _FRACTIONS.get(match[0], ""), text).casefold()


def has_answer(text: str, answer: str) -> bool:
    r"""
    Whether a text holds an answer: a number as a number (`72.0` is `72`, `1,250` is `1250`, `7` is not in `72`),
    anything else letter by letter, without white space, dollars, braces and what only changes how LaTeX looks.

    Example:

    ```python
    >>> from trl_srl.answers import has_answer
    >>> has_answer("She sold 72 clips.", "72.0"), has_answer("She sold 72 clips.", "7")
    (True, False)
    >>> has_answer(r"so $\dfrac{1}{2}$ of it", r"\frac{1}{2}")
    True

    ```
    """
    answer = answer.strip()
    if _NUMBER.fullmatch(answer):
        return bool(_numbers(answer) & _numbers(text))
    wanted, there = _plain(answer), _plain(text)
    # Without its white space, the text does not tell "3. 72 clips" from "3.72 clips": numbers are read before that.
    if not wanted or (_NUMBER.fullmatch(wanted) and _numbers(wanted) & _numbers(text)):
        return True
    start = there.find(wanted)
    while start >= 0:
        end = start + len(wanted)
        before, after = there[max(0, start - 2) : start].removesuffix("."), there[end : end + 2].removeprefix(".")
        if not (wanted[0].isdigit() and before[-1:].isdigit()) and not (wanted[-1].isdigit() and after[:1].isdigit()):
            return True
        start = there.find(wanted, start + 1)
    return False


def find_final_answer(text: str) -> str | None:
    r"""
    The final answer that a text gives, or `None`.

    Recognised, the first of these that is there, the last one of its kind: `\boxed{…}`; a line `#### …`; "answer is
    …" or "answer: …" up to the end of the sentence. A number alone is none, since every step has numbers. Inside a
    think block nothing is looked for: only what follows the last `</think>` counts, and nothing after a block that
    never closes. The rule is ours; the paper has none.

    Args:
        text (`str`):
            A step, or a whole solution.

    Returns:
        `str` or `None`.

    Example:

    ```python
    >>> from trl_srl.answers import find_final_answer
    >>> find_final_answer("So $x = 2$ and the answer is \\boxed{x^{2} + 1}.")
    'x^{2} + 1'
    >>> find_final_answer("The answer is 1,250.50 euros. That is a lot.")
    '1,250.50 euros'
    >>> find_final_answer("48 / 2 = 24") is None
    True

    ```
    """
    _, closed, after = text.rpartition(THINK_CLOSE)
    text = after if closed else text.partition(THINK_OPEN)[0]
    boxed = boxed_answer(text)
    if boxed is not None:
        return boxed
    for pattern in (_GSM8K, _STATED):
        for match in reversed(list(pattern.finditer(text))):
            end = text.find("\n", match.end())
            line = text[match.end() : end if end >= 0 else len(text)]
            answer = _END_OF_STATEMENT.split(line, maxsplit=1)[0].strip(" \t\r*_:")
            if answer:
                return answer
    return None
