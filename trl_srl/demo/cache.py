"""Folders that are built once."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/trl-srl`, or `~/.cache/trl-srl`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trl-srl"


def cached_folder(name: str, build: Callable[[Path], None], cache_dir: str | Path | None = None) -> Path:
    """
    The folder `name` of the cache, built when it is not there.

    Args:
        name (`str`):
            Name that says everything the content depends on.
        build (`Callable[[Path], None]`):
            Fills an empty folder. It works on a temporary one that is renamed when complete, so that an interrupted
            build leaves nothing behind that looks finished.
        cache_dir (`str` or `Path`, *optional*):
            The cache, by default [`default_cache_dir`].

    Returns:
        `Path`: the complete folder.
    """
    folder = Path(cache_dir or default_cache_dir()) / name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    try:
        build(unfinished)
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process was faster; its folder is as good
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder
