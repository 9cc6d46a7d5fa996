"""SRL → RLVR: the second stage starts from exactly what the first one learned, or does not start.

When a first stage has finished and saved its model, `_handover.logits` (a safetensors file) is written beside it, last
and in one piece: what the model said to the probe texts before and after the training, and the options of the run. So
it marks the stage as complete, and the second stage compares what it starts from. (The Hub upload of transformers
leaves out names that begin with an underscore.)
"""

import json
import os
import platform
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import Trainer

from .merging import TOLERANCES
from .probe import probe_logits, relative_difference


MARKER = "_handover.logits"  # not *.safetensors, which vLLM would take for weights
# Of what the first stage has changed, this much may be missing where the second starts. With the same weights on the
# same machine nothing is missing, on another one what its kernels round otherwise, at most TOLERANCES; merged weights,
# rounded and perhaps quantised anew, must be nearer to the first stage's result than to the model this began with. The
# number is ours.
SAME_WEIGHTS = 0.1


class Handover(NamedTuple):
    """
    What a first stage leaves to the next.

    Attributes:
        before, after (`torch.Tensor`): Its logits on the probe texts before and after the training; None if they
            could not be computed (weights that are sharded between processes).
        options (`dict`): The options of its run.
        machine (`str`): What has computed them.
    """

    before: torch.Tensor | None
    after: torch.Tensor | None
    options: dict[str, Any]
    machine: str


def describe_arithmetic(trainer: Trainer) -> str:
    """What decides how logits are rounded: the device, and the versions of the packages that compute on it."""
    device = trainer.args.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{name}, torch {torch.__version__}, transformers {transformers.__version__}"


def trainer_logits(trainer: Trainer) -> torch.Tensor | None:
    """
    The logits of a trainer's model on the probe texts, in the precision it trains in.

    None with FSDP and DeepSpeed, where no process has a whole model, and where the model is not on its device before
    training (`bf16_full_eval`).
    """
    model: Any = trainer.model
    elsewhere = model.device.type != trainer.args.device.type
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled or elsewhere:
        return None
    with trainer.accelerator.autocast():
        return probe_logits(model, getattr(trainer.processing_class, "tokenizer", trainer.processing_class))


def write_handover(trainer: Trainer, folder: str | Path, before: torch.Tensor | None, options: dict[str, Any]) -> None:
    """
    Mark a first stage as complete. Call it after `save_model`, on every process.

    Args:
        trainer ([`~transformers.Trainer`]):
            The trainer, after training.
        folder (`str` or `Path`):
            Where its model was saved.
        before (`torch.Tensor`, *optional*):
            [`trainer_logits`] before training.
        options (`dict[str, Any]`):
            Options of the run, as JSON.
    """
    after = trainer_logits(trainer)
    if not trainer.is_world_process_zero():
        return
    tensors = {} if before is None or after is None else {"before": before, "after": after}
    unfinished = Path(folder, f"{MARKER}.tmp")
    metadata = {"options": json.dumps(options, default=str, sort_keys=True), "machine": describe_arithmetic(trainer)}
    save_file(tensors, unfinished, metadata=metadata)
    os.replace(unfinished, Path(folder, MARKER))


def read_handover(folder: str | Path) -> Handover | None:
    """What [`write_handover`] wrote into a folder; None if that stage is not complete (or was not run by us)."""
    file = Path(folder, MARKER)
    if not file.is_file():
        return None
    with safe_open(file, "pt") as tensors:
        before, after = (tensors.get_tensor(n) if n in tensors.keys() else None for n in ("before", "after"))  # noqa: SIM118
        metadata = tensors.metadata()
        return Handover(before, after, json.loads(metadata["options"]), metadata["machine"])


class HandoverReport(NamedTuple):
    """
    How a second stage's start compares with the first stage's result, by logits.

    Attributes:
        change (`float`): How far the first stage has moved its model, relative to the norm of the logits.
        from_before (`float`): How far the second stage starts from where the first began.
        from_after (`float`): How far it starts from where the first ended.
    """

    change: float
    from_before: float
    from_after: float

    def __str__(self) -> str:
        return (
            f"The second stage starts {self.from_after:.1e} from where the first ended, {self.from_before:.1e} from "
            f"where it began; the first stage moved {self.change:.1e} (relative difference of the logits)."
        )


def check_handover(trainer: Trainer, handover: Handover, merged: bool = False) -> HandoverReport | None:
    """
    Check that a second stage starts from what the first one learned. Call it before `train`.

    Args:
        trainer ([`~transformers.Trainer`]):
            The second stage's trainer.
        handover ([`Handover`]):
            What the first stage left.
        merged (`bool`, *optional*, defaults to `False`):
            Whether an adapter was merged in between, so that the weights are rounded.

    Returns:
        [`HandoverReport`] or `None`: `None` if it cannot be computed (sharded weights).

    Raises:
        `ValueError`: if the second stage starts from something else.
    """
    start = trainer_logits(trainer)
    if start is None or handover.before is None or handover.after is None:
        return None
    report = HandoverReport(
        change=relative_difference(handover.after, handover.before),
        from_before=relative_difference(start, handover.before),
        from_after=relative_difference(start, handover.after),
    )
    if merged and report.from_after >= report.from_before:
        raise ValueError(
            f"Merging has lost what the first stage learned. {report} Weights that are quantised again after merging "
            "round small changes away: train the adapter further (adapter: continue), or do not quantise the second "
            "stage (load_in_4bit: false)."
        )
    allowed = max(SAME_WEIGHTS * report.change, 1e-6)
    if handover.machine != describe_arithmetic(trainer) and report.from_after < report.from_before:
        model: Any = trainer.model
        precision = "bfloat16" if trainer.args.bf16 else "float16" if trainer.args.fp16 else str(model.dtype)
        allowed = max(allowed, TOLERANCES[precision.removeprefix("torch.")])
    if not merged and report.from_after > allowed:
        raise ValueError(
            f"The second stage does not start from the first one's weights. {report} Load the model as the first "
            "stage did: the same base model, precision (dtype, bf16, fp16) and quantisation (load_in_4bit)."
        )
    return report
