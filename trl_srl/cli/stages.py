"""The two stages of `trl-srl train`: making their trainers from options, and running one to its end."""

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import PartialState
from trl import get_peft_config, get_quantization_config

from ..dynamic_sampling import DynamicSamplingTrainer
from ..interruptions import read_marker
from ..loading import load_rows
from ..problem_rows import make_problem_rows
from ..selection import NothingToLearnError
from ..trainer import SRLTrainer
from ..weights.adapter_loading import read_adapter
from ..weights.handover import MARKER, check_handover, read_handover, trainer_logits, write_handover
from ..weights.merging import merge_adapter
from .stage_options import parse_options


def _loader(script_args: Any) -> Any:
    return partial(
        load_rows,
        script_args.dataset_name,
        name=script_args.dataset_config,
        streaming=script_args.dataset_streaming,
    )


def _new_adapter(model_args: Any) -> Any:
    """TRL's `peft_config`, which also remembers the revision of the base model: PEFT would not see it."""
    config = get_peft_config(model_args)
    if config is not None and model_args.model_revision != "main":
        config.revision = model_args.model_revision
    return config


def make_srl_trainer(options: Mapping[str, Any]) -> SRLTrainer:
    """The trainer of the first stage, from its options."""
    script_args, args, model_args = parse_options("srl", options)
    load = _loader(script_args)
    trainer = SRLTrainer(
        model=model_args.model_name_or_path,
        args=args,
        train_dataset=load(split=script_args.dataset_train_split),
        eval_dataset=load(split=script_args.dataset_test_split) if args.eval_strategy != "no" else None,
        quantization_config=get_quantization_config(model_args),
        peft_config=_new_adapter(model_args),
    )
    trainer.dataset_name = script_args.dataset_name
    return trainer


def make_rlvr_trainer(options: Mapping[str, Any], chained: bool = False) -> DynamicSamplingTrainer:
    """
    The trainer of the second stage. It starts from the first one's weights, or `ValueError` is raised.

    Args:
        options (`dict[str, Any]`):
            Its options; `model_name_or_path` is the first stage's result, an adapter or a complete model.
        chained (`bool`, *optional*, defaults to `False`):
            Whether the first stage is one of ours, which must be complete.
    """
    from trl.rewards import accuracy_reward

    script_args, args, model_args, rlvr_args = parse_options("rlvr", options)
    first = start = model_args.model_name_or_path
    handover = read_handover(first)
    if chained and handover is None:
        raise ValueError(
            f"The first stage in {first} is not complete: there is no {MARKER}. Run it first: leave --stage out, or "
            "write --stage srl."
        )
    has_adapter = read_adapter(first, model_args.model_revision) is not None
    merge = rlvr_args.adapter == "merge"
    if merge and not has_adapter:
        raise ValueError(
            f"adapter: merge, but {first} holds no adapter. Leave `adapter` out: the whole model is trained further."
        )
    load, said = _loader(script_args), []
    datasets = {}
    for which, split in (("train", script_args.dataset_train_split), ("eval", script_args.dataset_test_split)):
        if which == "train" or args.eval_strategy != "no":
            datasets[which], summary = make_problem_rows(load(split=split), system_prompt=rlvr_args.system_prompt)
            said.append(f"RLVR {which} data: {summary}")
    started_from = None if handover is None else hashlib.sha256(Path(first, MARKER).read_bytes()).hexdigest()
    if merge:
        start = _merged_start(first, started_from, args, model_args, said)
    trainer = DynamicSamplingTrainer(
        model=start,
        reward_funcs=accuracy_reward,
        args=args,
        train_dataset=datasets["train"],
        eval_dataset=datasets.get("eval"),
        quantization_config=get_quantization_config(model_args),
        peft_config=None if has_adapter and not merge else _new_adapter(model_args),
    )
    trainer.check_batch_fits()
    trainer.dataset_name, trainer.first_stage, trainer.started_from = script_args.dataset_name, first, started_from
    report = None if handover is None else check_handover(trainer, handover, merge)
    said.append(str(report) if report else f"Not checked whether this starts as {first} ended: it left no logits.")
    trainer.accelerator.print("\n".join(said))
    return trainer


def _merged_start(adapter: str, started_from: str | None, args: Any, model_args: Any, said: list[str]) -> str:
    """The first stage's adapter merged into its base model, by one process; a run that goes on finds it again."""
    start = Path(args.output_dir, "_start")
    made_of = start / "_started_from"
    quantised = model_args.load_in_4bit or model_args.load_in_8bit
    dtype = None if quantised or model_args.dtype == "auto" else model_args.dtype
    state = PartialState()
    is_made = made_of.is_file() and made_of.read_text(encoding="utf-8") == (started_from or "")
    state.wait_for_everyone()  # all have looked
    if state.is_main_process and not (is_made and _resume(args)):
        shutil.rmtree(start, ignore_errors=True)
        said.append(str(merge_adapter(adapter, start, dtype=dtype)))
        made_of.write_text(started_from or "", encoding="utf-8")
    state.wait_for_everyone()
    return str(start)


def _resume(args: Any) -> str | bool:
    """What to resume from: a checkpoint, True for the newest complete one, or False."""
    wanted = args.resume_from_checkpoint
    return {"true": True, "false": False, "none": False}.get(str(wanted).lower(), wanted)


def choose_start(trainer: DynamicSamplingTrainer, lenient: bool = False) -> str | None:
    """
    The checkpoint that `train` is to resume from, None for none.

    Args:
        trainer ([`DynamicSamplingTrainer`]):
            The stage's trainer.
        lenient (`bool`, *optional*, defaults to `False`):
            Whether to begin at the start when there is no checkpoint to resume from: of two stages, either may have
            been interrupted.

    Raises:
        `ValueError`: if there is no complete checkpoint where one is asked for, or it belongs to another result of
            the first stage.
    """
    wanted = _resume(trainer.args)
    try:
        found = trainer.find_checkpoint(wanted)
    except ValueError:
        if lenient and wanted is True:
            return None
        raise
    is_ours = trainer.accelerator.is_main_process and found is not None  # only its disk must have the marker
    if is_ours and read_marker(Path(str(found)))["started_from"] != trainer.started_from:
        raise ValueError(
            f"{found} goes on from another result of the first stage than {trainer.first_stage} holds now. Remove the "
            "checkpoint-* folders there, leave --resume_from_checkpoint out, or name another output_dir."
        )
    return found


def finish_stage(trainer: DynamicSamplingTrainer, options: Mapping[str, Any], resume: str | None) -> bool:
    """
    Train, save and push; mark a first stage as complete.

    Args:
        trainer ([`DynamicSamplingTrainer`]):
            The stage's trainer, before training.
        options (`dict[str, Any]`):
            Its options.
        resume (`str` or `None`):
            What [`choose_start`] says.

    Returns:
        `bool`: whether it came to its end; if not, SIGTERM has interrupted it.
    """
    args = trainer.args
    if trainer.is_world_process_zero():
        Path(args.output_dir, MARKER).unlink(missing_ok=True)
    before = trainer_logits(trainer)
    try:
        trainer.train(resume_from_checkpoint=resume)
    except NothingToLearnError as error:
        sys.exit(f"trl-srl train: {error}")
    if trainer.interrupted:
        trainer.accelerator.print(
            f"Stopped by SIGTERM after step {trainer.state.global_step} of {trainer.state.max_steps}, with a "
            f"checkpoint in {args.output_dir}. Go on with --resume_from_checkpoint true."
        )
        return False
    trainer.save_model(args.output_dir)
    write_handover(trainer, args.output_dir, before, _lasting(options))
    trainer.accelerator.wait_for_everyone()  # the main process saves, and all of them read it for the second stage
    trainer.accelerator.print(f"Model saved to {args.output_dir}.")
    if args.push_to_hub:
        trainer.push_to_hub()
    return True


def _lasting(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that describe a run, as JSON gives them back."""
    described = {name: value for name, value in options.items() if name != "resume_from_checkpoint"}
    return json.loads(json.dumps(described, default=str))


def is_finished(options: Mapping[str, Any]) -> bool:
    """Whether a first stage with these options is complete; `ValueError` if one with others is."""
    handover = read_handover(options["output_dir"]) if options.get("output_dir") else None
    if handover is None:
        return False
    wanted, had = _lasting(options), handover.options
    changed = sorted(name for name in wanted.keys() | had.keys() if wanted.get(name) != had.get(name))
    if changed:
        told = ", ".join(f"{name}: {had.get(name)!r} → {wanted.get(name)!r}" for name in changed)
        raise ValueError(
            f"{options['output_dir']} holds a finished first stage with other options ({told}). For the second stage "
            f"alone write --stage rlvr; to run the first again remove {MARKER} and the checkpoint-* folders there, or "
            "name another output_dir."
        )
    return True
