"""What is measured while a run is alive: time and hardware of its parts, and the size of the model."""

import os
import time
from typing import Any

from transformers import TrainerCallback

from ..evaluation.results import processor_name


class TrainingClock(TrainerCallback):
    """
    Which steps were made on which hardware, and in how much time.

    `parts` goes into checkpoints; a resumed run puts it into `earlier`, so that the card of a run which was killed
    tells of all its parts. Steps that were lost and made again are in no part.
    """

    def __init__(self, hardware: str):
        self.hardware = hardware
        self.earlier: list[dict[str, Any]] = []
        self._began: float | None = None
        self._ended: float | None = None
        self._first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began, self._ended, self._first_step = time.monotonic(), None, state.global_step
        if not state.global_step:
            self.earlier = []

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._ended = time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether the last training has come to its end."""
        return self._ended is not None

    def parts(self, step: int) -> list[dict[str, Any]]:
        """All parts up to `step`, with evaluations and checkpoints in their time."""
        if self._began is None or step == self._first_step:
            return self.earlier
        seconds = (self._ended or time.monotonic()) - self._began
        part = {"first_step": self._first_step + 1, "last_step": step, "seconds": round(seconds, 1)}
        return [*self.earlier, part | {"hardware": self.hardware}]


def describe_hardware(device: Any, num_processes: int) -> str:
    """The hardware that trains, in words: `2 x NVIDIA H100 80GB HBM3`."""
    if device.type == "cuda":
        import torch

        return f"{num_processes} x {torch.cuda.get_device_name(device)}"
    if device.type != "cpu":
        return f"{num_processes} x {device.type}"
    processes = f", {num_processes} processes" if num_processes > 1 else ""
    return f"CPU {processor_name()}, {os.cpu_count()} cores{processes}"


def count_parameters(model: Any) -> tuple[int, int]:
    """All parameters and the trainable ones, of a model that is not yet wrapped; whole also under DeepSpeed ZeRO-3."""
    sharded = [parameter for parameter in model.parameters() if hasattr(parameter, "ds_numel")]
    if sharded:
        return sum(p.ds_numel for p in sharded), sum(p.ds_numel for p in sharded if p.requires_grad)
    return model.num_parameters(), model.num_parameters(only_trainable=True)
