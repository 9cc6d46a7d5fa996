"""Options of `trl-srl train`: one YAML file and the command line → the options of each stage.

The top of the file holds for SRL, the first stage. A block `rlvr:` makes a second stage; what the top and the command
line say holds for it too, except for what is SRL's own and `OWN_TO_EACH_STAGE`, and the block comes last. With --stage
the command line is that stage's, and comes last.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, NamedTuple

import yaml
from trl import ModelConfig, ScriptArguments, TrlParser

from ..config import DynamicSamplingConfig, SRLConfig


STAGES = ("srl", "rlvr")
OWN_TO_EACH_STAGE = {
    "output_dir",
    "run_name",
    "hub_model_id",
    "resume_from_checkpoint",
    "model_name_or_path",
    "reward_weights",
    "load_best_model_at_end",
    "metric_for_best_model",
    "greater_is_better",
}


@dataclass
class RLVRArguments:
    """
    What a second stage has beside the fields of [`DynamicSamplingConfig`], `ModelConfig` and `ScriptArguments`.

    Parameters:
        adapter (`str`, *optional*, defaults to `"continue"`):
            What becomes of the first stage's adapter: `"continue"` trains it further; `"merge"` merges it into the
            base model (verified, in `<output_dir>/_start`) and trains a new one.
        system_prompt (`str`, *optional*):
            Replaces the system prompt of [`make_problem_rows`].
    """

    adapter: str = field(
        default="continue",
        metadata={
            "help": "What becomes of the first stage's adapter: 'continue' or 'merge' (and a new one).",
            "choices": ["continue", "merge"],
        },
    )
    system_prompt: str | None = field(
        default=None, metadata={"help": "Replaces the system prompt that asks for a whole solution."}
    )


CLASSES = {
    "srl": (ScriptArguments, SRLConfig, ModelConfig),
    "rlvr": (ScriptArguments, DynamicSamplingConfig, ModelConfig, RLVRArguments),
}


class Command(NamedTuple):
    """
    What is to be run.

    Attributes:
        stages (`dict[str, dict]`): The options that were written for each stage, in order.
        chained (`bool`): Whether a second stage starts from the first one of the same file.
    """

    stages: dict[str, dict[str, Any]]
    chained: bool


def option_names(stage: str) -> set[str]:
    """Names of the options of a stage."""
    return {option.name for cls in CLASSES[stage] for option in fields(cls)}


def _check_names(options: Mapping[str, Any], stage: str, place: str) -> None:
    known = option_names(stage)
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise ValueError(
                f"{place}: there is no option {name!r}"
                + (f"; did you mean {near[0]!r}?" if near else ".")
                + " `trl-srl train --help_all` lists them."
            )


def _given(argv: Sequence[str], stage: str) -> dict[str, Any]:
    """The options that stand on the command line, and no defaults."""
    unset = object()
    given = make_parser(stage).parse_args(list(argv), argparse.Namespace(**dict.fromkeys(option_names(stage), unset)))
    return {name: value for name, value in vars(given).items() if value is not unset}


def make_parser(stage: str) -> TrlParser:
    """The parser of a stage; its `exit` ends the command, an error in one line instead of below all options."""
    parser = TrlParser(CLASSES[stage], prog="trl-srl train")
    parser.error = lambda message: parser.exit(
        2, f"trl-srl: {message}. `trl-srl train --help_all` lists the options.\n"
    )
    return parser


def read_command(argv: Sequence[str]) -> Command:
    """
    Read the command line and the file it names.

    Args:
        argv (`list[str]`):
            Arguments of `trl-srl train`.

    Raises:
        `ValueError`: for what no stage knows, with the nearest name.
    """
    ours = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog="trl-srl train")
    ours.add_argument("--config")
    ours.add_argument("--stage", choices=STAGES)
    own, rest = ours.parse_known_args(list(argv))
    file: dict[str, Any] = {}
    if own.config is not None:
        with open(own.config, encoding="utf-8") as text:
            try:
                file = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ValueError(f"{own.config} is no YAML: {error}") from error
        if not isinstance(file, dict):
            raise ValueError(f"{own.config} must hold options, `name: value` on each line.")
    for name, value in file.pop("env", {}).items():  # as TRL's parser does
        os.environ[name] = str(value)
    block = file.pop("rlvr", None)
    if block is not None and not isinstance(block, dict):
        raise ValueError(f"{own.config}: `rlvr:` must hold options, indented, `name: value` on each line.")
    if block is None:
        stage = own.stage or "srl"
        if stage == "rlvr":  # a file of SRL's, such as a preset, will do: what only SRL has is left out
            only_srl = sorted((option_names("srl") - option_names("rlvr")) & file.keys())
            if only_srl:
                sys.stdout.write(f"{own.config}: left out for RLVR, as SRL's own: {', '.join(only_srl)}.\n")
            file = {name: value for name, value in file.items() if name not in only_srl}
        _check_names(file, stage, str(own.config))
        return Command({stage: file | _given(rest, stage)}, chained=False)
    _check_names(file, "srl", str(own.config))
    _check_names(block, "rlvr", f"{own.config}, rlvr")
    # With --stage the command line is that stage's, else it is the first one's, and so the second's as the top is.
    first = file if own.stage == "rlvr" else file | _given(rest, "srl")
    shared = option_names("rlvr") - {option.name for option in fields(RLVRArguments)} - OWN_TO_EACH_STAGE
    second: dict[str, Any] = {name: value for name, value in first.items() if name in shared}
    if first.get("output_dir"):
        second |= {"model_name_or_path": first["output_dir"], "output_dir": f"{first['output_dir']}-rlvr"}
    if "resume_from_checkpoint" in first:
        second["resume_from_checkpoint"] = first["resume_from_checkpoint"]
    second |= block
    if own.stage == "rlvr":
        given = _given(rest, "rlvr")
        return Command({"rlvr": second | given}, chained="model_name_or_path" not in block | given)
    if own.stage == "srl":
        return Command({"srl": first}, chained=False)
    if str(first.get("resume_from_checkpoint", False)).lower() not in ("true", "false", "none"):
        raise ValueError(
            f"resume_from_checkpoint={first['resume_from_checkpoint']} names a checkpoint, but not of which stage. "
            "Write --stage srl or --stage rlvr with it, or --resume_from_checkpoint true."
        )
    if "model_name_or_path" in block:
        raise ValueError(
            "rlvr: model_name_or_path is the first stage's result by itself. Leave it out, or write --stage rlvr."
        )
    return Command({"srl": first, "rlvr": second}, chained=True)


def as_dataclasses(stage: str, options: Mapping[str, Any]) -> tuple[Any, ...]:
    """The dataclasses of a stage from its options, as TRL's parser would make them of a file."""
    parser = make_parser(stage)
    parser.set_defaults_with_config(**options)
    return parser.parse_args_into_dataclasses(args=[])


def parse_options(stage: str, options: Mapping[str, Any]) -> tuple[Any, ...]:
    """
    The dataclasses of a stage that is to be run.

    Raises:
        `ValueError`: if an option is missing, or a value cannot be.
    """
    for name in ("model_name_or_path", "dataset_name", "output_dir"):
        if options.get(name) is None:
            raise ValueError(f"--{name} is missing: name it on the command line or in the file of --config.")
    parsed = as_dataclasses(stage, options)
    _, args, model_args, *_ = parsed
    args.model_init_kwargs = {
        "revision": model_args.model_revision,
        "attn_implementation": model_args.attn_implementation,
        "dtype": model_args.dtype,
    } | (args.model_init_kwargs or {})
    return parsed
