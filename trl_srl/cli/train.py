"""`trl-srl train`: SRL with TRL's parser. Options are the fields of its and our dataclasses, `--config` reads YAML.

Also the entry point for several processes: `accelerate launch -m trl_srl.cli.train --config x.yaml`.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from ..trainer import SRLTrainer


def add_parser(subparsers: "argparse._SubParsersAction", name: str) -> None:
    parser = subparsers.add_parser(
        name,
        help="train a model by SRL",
        description="Train a model by SRL on step rows or trajectory rows.",
        epilog="Needed: --model_name_or_path, --dataset_name (a folder of `trl-srl prepare`, a file, or a dataset id "
        "on the Hub) and --output_dir. Options are the fields of trl_srl.SRLConfig (learning_rate, num_generations, "
        "max_completion_length, dynamic_sampling, …), trl.ModelConfig (use_peft, lora_r, load_in_4bit, …) and "
        "trl.ScriptArguments (dataset_name, dataset_train_split, …); --config FILE reads them from YAML. "
        "`trl-srl train --help_all` lists every one. Several processes: accelerate launch -m trl_srl.cli.train …",
    )
    parser.add_argument("--config", help="YAML file with options")
    parser.add_argument("--help_all", action="store_true", help="list every option (imports torch and TRL)")


def run(args: argparse.Namespace) -> None:
    """Not reached: `trl_srl.cli.main` hands the arguments of `train` to `main` unread."""
    raise AssertionError("trl-srl train is parsed by TRL")


def _make_trainer(argv: list[str]) -> "tuple[SRLTrainer, str]":
    """The trainer that the options describe, and the name of its dataset. Ends with one line if they cannot work."""
    from trl import ModelConfig, ScriptArguments, TrlParser, get_peft_config, get_quantization_config

    from ..config import SRLConfig
    from ..loading import load_rows
    from ..trainer import SRLTrainer

    parser = TrlParser((ScriptArguments, SRLConfig, ModelConfig), prog="trl-srl train")
    try:
        script_args, args, model_args = parser.parse_args_and_config(argv)
        for option, value in (
            ("model_name_or_path", model_args.model_name_or_path),
            ("dataset_name", script_args.dataset_name),
        ):
            if value is None:
                raise ValueError(f"--{option} is missing: name it on the command line or in the file of --config.")
        args.model_init_kwargs = {
            "revision": model_args.model_revision,
            "attn_implementation": model_args.attn_implementation,
            "dtype": model_args.dtype,
        } | (args.model_init_kwargs or {})
        load = partial(
            load_rows,
            script_args.dataset_name,
            name=script_args.dataset_config,
            streaming=script_args.dataset_streaming,
        )
        trainer = SRLTrainer(
            model=model_args.model_name_or_path,
            args=args,
            train_dataset=load(split=script_args.dataset_train_split),
            eval_dataset=load(split=script_args.dataset_test_split) if args.eval_strategy != "no" else None,
            quantization_config=get_quantization_config(model_args),
            peft_config=get_peft_config(model_args),
        )
    except (ValueError, TypeError, OSError, ImportError) as error:
        parser.exit(2, f"trl-srl train: {error}\n")
    return trainer, script_args.dataset_name


def main(argv: Sequence[str] | None = None) -> None:
    """
    Train. Takes the options as they stand on the command line.

    Args:
        argv (`list[str]`, *optional*):
            Arguments; `sys.argv[1:]` when not given.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    trainer, dataset_name = _make_trainer(["--help"] if "--help_all" in arguments else arguments)
    args, trainer.dataset_name = trainer.args, dataset_name
    resume = {"true": True, "false": None}.get(str(args.resume_from_checkpoint).lower(), args.resume_from_checkpoint)
    from ..selection import NothingToLearnError

    try:
        trainer.train(resume_from_checkpoint=resume)
    except NothingToLearnError as error:
        sys.exit(f"trl-srl train: {error}")
    if trainer.interrupted:
        trainer.accelerator.print(
            f"Stopped by SIGTERM after step {trainer.state.global_step} of {trainer.state.max_steps}, with a "
            f"checkpoint in {args.output_dir}. Go on with --resume_from_checkpoint true."
        )
        return
    trainer.save_model(args.output_dir)
    trainer.accelerator.print(f"Model saved to {args.output_dir}.")
    if args.push_to_hub:
        trainer.push_to_hub()
    if hasattr(trainer, "end"):  # transformers 5.18: finishes the trackers and the process group
        trainer.end()


if __name__ == "__main__":
    main()
