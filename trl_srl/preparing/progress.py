"""Progress bars: ours over a whole command, and none of those that `datasets` shows for its pieces."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


@contextmanager
def progress(description: str, total: int | None, unit: str = "rows") -> Iterator[Callable[[int], Any]]:
    """
    Show on stderr how far the block is; what takes less than a second says nothing. Where stderr is no terminal, there
    is something to read every ten seconds.

    Args:
        description (`str`):
            What is being done.
        total (`int`, *optional*):
            How much there is to do, `None` when nobody knows.
        unit (`str`, *optional*, defaults to `"rows"`):
            What is counted.

    Returns:
        `Callable[[int], Any]`: to be told how many more are done.
    """
    every = 0.1 if sys.stderr.isatty() else 10.0
    with tqdm(total=total, desc=description, unit=f" {unit}", delay=1, mininterval=every) as bar:
        yield bar.update


@contextmanager
def without_dataset_bars() -> Iterator[None]:
    """Without the bars of `datasets`."""
    from datasets import disable_progress_bars, enable_progress_bars, is_progress_bar_enabled

    were_enabled = is_progress_bar_enabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if were_enabled:
            enable_progress_bars()
