"""Checkpoints that are whole, and a SIGTERM that leaves one behind.

A run may be killed while it writes a checkpoint. `dynamic_sampling.json` is therefore written last, in one piece, and
names every file that was there: a folder without it, or that has lost one of those files, is never resumed from.
"""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from .shards import write_json


MARKER = "dynamic_sampling.json"


def mark_complete(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` and the names of all files into the marker, which appears as a whole or not at all."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    write_json(folder / MARKER, state | {"files": [name for name in files if not name.startswith(MARKER)]})


def mark_incomplete(folder: Path) -> None:
    """Take the marker away, before anything in the folder is written anew."""
    (folder / MARKER).unlink(missing_ok=True)


def read_marker(folder: Path) -> dict[str, Any]:
    """The state that [`mark_complete`] wrote."""
    return json.loads((folder / MARKER).read_text(encoding="utf-8"))


def why_incomplete(folder: Path) -> str | None:
    """What a checkpoint lacks, or None if it is whole."""
    if not folder.is_dir():
        return "there is no such folder"
    if not (folder / MARKER).is_file():
        return f"it has no {MARKER}, which is written last, so it was cut short (or is no checkpoint of this trainer)"
    lost = [name for name in read_marker(folder).get("files", []) if not (folder / name).is_file()]
    return f"it has lost {', '.join(lost)}" if lost else None


def newest_complete(output_dir: Path) -> tuple[Path | None, dict[Path, str]]:
    """The checkpoint of the highest step that is whole, and why those of higher steps are not."""
    passed_over: dict[Path, str] = {}
    steps = {path: path.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-") for path in output_dir.glob("checkpoint-*")}
    for folder in sorted((p for p, step in steps.items() if step.isdecimal()), key=lambda p: -int(steps[p])):
        why = why_incomplete(folder)
        if why is None:
            return folder, passed_over
        passed_over[folder] = why
    return None, passed_over


def choose_checkpoint(wanted: str | Path | bool, output_dir: Path) -> tuple[Path | None, str]:
    """
    The checkpoint to resume from: the one named, or for `True` the newest complete one in `output_dir`.

    With it, what was passed over; None with the reason if there is none to resume from.
    """
    if not isinstance(wanted, bool):
        why = why_incomplete(Path(wanted))
        if why is None:
            return Path(wanted), ""
        return None, (
            f"Cannot resume from {wanted}: {why}. Name another checkpoint, or write resume_from_checkpoint=True for "
            "the newest complete one."
        )
    found, passed_over = newest_complete(output_dir)
    lacks = "; ".join(f"{folder}: {why}" for folder, why in passed_over.items())
    if found is None:
        return None, f"There is no complete checkpoint in {output_dir} to resume from. {lacks}".strip()
    return found, f"Resuming from {found}. Passed over as incomplete: {lacks}." if lacks else ""


class SaveOnSigterm(TrainerCallback):
    """
    After a SIGTERM, save a checkpoint at the end of the step and stop: an ordinary checkpoint, at the same step on
    every process.

    transformers' `JITCheckpointCallback` (`enable_jit_checkpoint`) decides on each process by itself, so that two
    processes could stop at different steps and wait for each other, and may save between the backward pass and the
    optimizer's step, from where a run cannot be continued exactly.

    Args:
        accelerator ([`~accelerate.Accelerator`]):
            The trainer's, by which the processes agree.
    """

    def __init__(self, accelerator: Accelerator):
        self._accelerator = accelerator
        self._received = self.stopped = False

    def _receive(self, signum: int, frame: Any) -> None:
        self._received = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM, unless it is somebody else's already or this is not the main thread, which alone may."""
        self._received = self.stopped = False
        free = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        ours = free and threading.current_thread() is threading.main_thread()
        if ours:
            signal.signal(signal.SIGTERM, self._receive)
        try:
            yield
        finally:
            if ours:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        received = torch.tensor([self._received], device=self._accelerator.device)
        if self._accelerator.gather(received).any():
            self.stopped = control.should_save = control.should_training_stop = True
