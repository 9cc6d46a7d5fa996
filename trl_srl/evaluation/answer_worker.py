"""Compares answers in a process of its own; run as a script by answers.py, and imports nothing of the package.

Writes `true` when it is ready, then reads lines `["answer", "expected"]` and writes for each `true` or `false`. If one
takes longer than the seconds of the first argument, the process ends: faulthandler's watchdog is a thread of C that no
long operation can hold up. Where the system can limit memory, it may not use more than 4 GiB.
"""

import contextlib
import faulthandler
import json
import os
import re
import sys
from typing import Any

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify


_E_NOTATION = re.compile(r"(\d)[eE]([+-]?\d+)\b")
_NUMBER = re.compile(r"\d[\d.,]*")


def read(text: str) -> list[Any]:
    """What math-verify reads in an answer: as LaTeX in a box, or else wherever it finds something in the text."""
    text = _E_NOTATION.sub(r"\1 \\times 10^{\2}", text)
    boxed = parse(f"\\boxed{{{text}}}", [LatexExtractionConfig(boxed_match_priority=0)], fallback_mode="no_fallback")
    return boxed or parse(text, [LatexExtractionConfig(), ExprExtractionConfig()], fallback_mode="no_fallback")


def is_equal(answer: str, expected: str) -> bool:
    """Whether two answers are equal, in the first of two readings in which they are."""
    gold = read(expected)
    if verify(gold, read(answer)):
        return True
    # "42 euros" is in a box a product of letters; as a text it holds the number 42, and no other.
    if len(_NUMBER.findall(answer)) != 1:
        return False
    plain = parse(answer, [ExprExtractionConfig()], fallback_mode="no_fallback")
    return bool(plain) and verify(gold, plain)


def main(seconds: float) -> None:
    with contextlib.suppress(ImportError, ValueError):  # not on Windows, and not above a limit that is lower already
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
    # Whatever the libraries print must not be taken for a reply.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(2, sys.stdout.fileno())
    print("true", file=replies, flush=True)
    for line in sys.stdin:
        answer, expected = json.loads(line)
        faulthandler.dump_traceback_later(seconds, exit=True)
        equal = is_equal(answer, expected)
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(equal), file=replies, flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
