"""Final answers: how one is recognised in what a model writes, and whether it equals the expected one.

Equality is math-verify's. It reads untrusted text with sympy, guards itself with signals, which work in a main thread
only, and cannot interrupt a big power. So it runs in a process of its own (answer_worker.py), which is ended when one
answer takes too long.
"""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..prompts import THINK_CLOSE, THINK_OPEN


MAX_ANSWER_LENGTH = 1_000  # characters; what is longer is no answer, and only takes time

_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"(?<!\\)[{}]")
_STATED = re.compile(r"\banswer(?:\s+is[ \t]*:?|[ \t]*:)", re.IGNORECASE)
_GSM8K = re.compile(r"^[ \t]*####", re.MULTILINE)
# Not the one in "3.5": a full stop ends the statement where white space follows it, perhaps after a closing mark.
_END_OF_STATEMENT = re.compile(r"\.(?=[*_)\]\"'`]*(?:\s|$))")


def _boxed(text: str) -> str | None:
    """Content of the last box whose braces close; one pass, since a broken model may open thousands."""
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
    >>> from trl_srl.evaluation import find_final_answer
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
    boxed = _boxed(text)
    if boxed is not None:
        return boxed
    for pattern in (_GSM8K, _STATED):
        for match in reversed(list(pattern.finditer(text))):
            line = text[match.end() :].partition("\n")[0]
            answer = _END_OF_STATEMENT.split(line, maxsplit=1)[0].strip(" \t\r*_:")
            if answer:
                return answer
    return None


def same_text(answer: str, expected: str) -> bool:
    """Whether two answers are equal as texts, without outer white space, case and a final full stop."""
    return answer.strip().rstrip(".").casefold() == expected.strip().rstrip(".").casefold()


def require_math_verify() -> None:
    """Raise `ImportError`, with the remedy, when math-verify is not installed."""
    if importlib.util.find_spec("math_verify") is None:
        raise ImportError("Checking answers needs the package math-verify: pip install 'trl-srl[eval]'")


class AnswerChecker:
    r"""
    Checks answers with math-verify in a process of its own, which lives as long as the checker.

    A context manager. It can be used in any thread. An answer that takes more than `seconds`, or ends the process
    otherwise, is wrong and counted in `timed_out`.

    Args:
        seconds (`float`, *optional*, defaults to `20.0`):
            Longest time for one answer. math-verify's own limits (5 seconds each for reading and for comparing) are
            reached first, except inside a single long operation.

    Raises:
        `ImportError`: when math-verify is not installed.

    Example:

    ```python
    >>> from trl_srl.evaluation import AnswerChecker
    >>> with AnswerChecker() as checker:
    ...     checker.check(["0.5", "2/3", None], ["\\frac{1}{2}", "0.5", "1"])
    [True, False, False]

    ```
    """

    def __init__(self, seconds: float = 20.0) -> None:
        require_math_verify()
        self.seconds = seconds
        self.timed_out = 0
        self._process: subprocess.Popen[str] | None = None

    def _start(self) -> "subprocess.Popen[str]":
        worker = str(Path(__file__).with_name("answer_worker.py"))
        # -P: the folder of the worker must not come before the standard library.
        return subprocess.Popen(
            [sys.executable, "-P", worker, str(self.seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )

    def _ask(self, answer: str, expected: str) -> bool:
        if self._process is None:
            self._process = self._start()
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps([answer, expected]) + "\n")
            self._process.stdin.flush()
            reply = self._process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        if not reply:  # the process ended itself
            self.close()
            self.timed_out += 1
            return False
        return bool(json.loads(reply))

    def check(self, answers: Sequence[str | None], expected: Sequence[str]) -> list[bool]:
        """
        Which answers are right.

        Args:
            answers (`list[str | None]`):
                N answers as [`find_final_answer`] gives them. `None` is wrong, and so is one of more than
                `MAX_ANSWER_LENGTH` (1,000) characters unless it is the expected text.
            expected (`list[str]`):
                The N expected answers, as plain text or LaTeX. One that math-verify cannot read is compared as a text.

        Returns:
            `list[bool]`: N times whether the answer is right.
        """
        return [
            answer is not None
            and (same_text(answer, right) or (len(answer) <= MAX_ANSWER_LENGTH and self._ask(answer, right)))
            for answer, right in zip(answers, expected, strict=True)
        ]

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> "AnswerChecker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def expected_answer(value: Any) -> str:
    """An expected answer as a text: what stands in a box, after `####` or after "answer is", or all of it."""
    text = str(value).strip()
    return find_final_answer(text) or text
