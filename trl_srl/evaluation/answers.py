"""Whether a final answer equals the expected one.

Equality is math-verify's. It reads untrusted text with sympy, guards itself with signals, which work in a main thread
only, and cannot interrupt a big power. So it runs in a process of its own (answer_worker.py), which is ended when one
answer takes too long.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..answers import find_final_answer, require_math_verify


MAX_ANSWER_LENGTH = 1_000  # characters; what is longer is no answer, and only takes time


def same_text(answer: str, expected: str) -> bool:
    """Whether two answers are equal as texts, without outer white space, case and a final full stop."""
    return answer.strip().rstrip(".").casefold() == expected.strip().rstrip(".").casefold()


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
        `ImportError`: when math-verify is not installed, or when [`check`] cannot start it.

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
        process = subprocess.Popen(
            [sys.executable, "-P", worker, str(self.seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        assert process.stdout is not None
        if not process.stdout.readline():  # or every answer would be wrong
            process.communicate()
            raise ImportError(
                "math-verify is installed but does not start: `python -c 'import math_verify'` says why."
            )
        return process

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
