"""How far a long command is: a bar with a rate in a terminal, otherwise a plain line now and then. On stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


SECONDS_BETWEEN_LINES = 10.0


def _rate(rate: float) -> str:
    """Three digits, and never an exponent."""
    return f"{rate:.3g}" if rate < 100 else f"{rate:,.0f}"


def describe(description: str, done: int, total: int | None, seconds: float, unit: str) -> str:
    """
    One line about the progress so far.

    ```python
    >>> from trl_srl.preparing.progress import describe
    >>> describe("Formatting", 1200, 5000, 10.0, "rows")
    'Formatting: 1,200 of 5,000 rows, 120 rows/s, 0:00:32 left'
    >>> describe("Formatting", 1200, None, 10.0, "rows")
    'Formatting: 1,200 rows, 120 rows/s'

    ```
    """
    rate = done / seconds if seconds > 0 else 0.0
    known = total is not None and total >= done
    line = f"{description}: {done:,}{f' of {total:,}' if known else ''} {unit}, {_rate(rate)} {unit}/s"
    if known and total is not None and rate:
        left = round((total - done) / rate)
        line += f", {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
    return line


@contextmanager
def progress(description: str, total: int | None, unit: str = "rows") -> Iterator[Callable[[int], None]]:
    """
    Show progress while the block runs.

    Args:
        description (`str`):
            What is being done.
        total (`int`, *optional*):
            How much there is to do, `None` when nobody knows.
        unit (`str`, *optional*, defaults to `"rows"`):
            What is counted.

    Returns:
        `Callable[[int], None]`: to be told how many more are done.
    """
    if not sys.stderr.isatty():
        started = last = time.monotonic()
        done = 0

        def advance(count: int) -> None:
            nonlocal done, last
            done += count
            now = time.monotonic()
            if now - last >= SECONDS_BETWEEN_LINES:
                last = now
                sys.stderr.write(describe(description, done, total, now - started, unit) + "\n")

        yield advance
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{{task.fields[rate]}} {unit}/s"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, rate="0")

        def advance_bar(count: int) -> None:
            bar.advance(task, count)
            bar.update(task, rate=_rate(bar.tasks[0].completed / max(bar.tasks[0].elapsed or 0.0, 1e-9)))

        yield advance_bar
