r"""Final answers in solutions: where one stands, and whether a text holds it. For looking at data and for rewriting;
whether a model's answer is right is another question, and math-verify's.

Time is linear in the length of every text.
"""

import re
from decimal import Decimal, InvalidOperation


# A sign counts unless something stands before it: "x-3" and "5-3" hold 3, "= -3" holds -3.
_NUMBER = re.compile(r"(?:(?<![\w)\]}.])[-\u2212])?(?:[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])|[0-9]++)(?:\.[0-9]++)?")
_BOXED = re.compile(r"\\(?:boxed|fbox)[ \t]?(?=\{)")
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


def _boxed(text: str) -> str | None:
    """What stands in the last `\\boxed{…}` that is closed; of a hostile number of open ones, a few are looked at."""
    for match in reversed(list(_BOXED.finditer(text))[-20:]):
        depth, start = 0, match.end()
        for place in range(start, min(len(text), start + 1000)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth == 0:
                return text[start + 1 : place].strip()
    return None


def final_answer(text: str) -> str:
    r"""
    The final answer of a solution: what stands in its last `\boxed{…}`, else its last number, else `""`.

    Example:

    ```python
    >>> from trl_srl.answers import final_answer
    >>> final_answer(r"So $x = \boxed{\frac{1}{2}}$, found in 3 steps.")
    '\\frac{1}{2}'
    >>> final_answer("In all 1,250 clips.")
    '1,250'

    ```
    """
    boxed = _boxed(text)
    if boxed is not None:
        return boxed
    numbers = _NUMBER.findall(text)
    return numbers[-1] if numbers else ""


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
    if not wanted:
        return True
    start = there.find(wanted)
    while start >= 0:
        end = start + len(wanted)
        if not (wanted[0].isdigit() and there[start - 1 : start].isdigit()) and not (
            wanted[-1].isdigit() and there[end : end + 1].isdigit()
        ):
            return True
        start = there.find(wanted, start + 1)
    return False
