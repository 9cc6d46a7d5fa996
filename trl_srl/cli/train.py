"""`trl-srl train`: SRL, RLVR, or one after the other, with TRL's parser. Options are the fields of its and our
dataclasses, `--config` reads YAML.

Also the entry point for several processes: `accelerate launch -m trl_srl.cli.train --config x.yaml`.
"""

import argparse
import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def add_parser(subparsers: "argparse._SubParsersAction", name: str) -> None:
    parser = subparsers.add_parser(
        name,
        help="train a model by SRL, and by RLVR afterwards",
        description="Train a model by SRL on step rows or trajectory rows. A block `rlvr:` in the file of --config "
        "adds a second stage on whole problems, which starts from exactly the first one's weights.",
        epilog="Needed: --model_name_or_path, --dataset_name (a folder of `trl-srl prepare`, a file, or a dataset id "
        "on the Hub) and --output_dir. Options are the fields of trl_srl.SRLConfig (learning_rate, num_generations, "
        "max_completion_length, dynamic_sampling, …), trl.ModelConfig (use_peft, lora_r, load_in_4bit, …) and "
        "trl.ScriptArguments (dataset_name, dataset_train_split, …); --config FILE reads them from YAML. "
        "`trl-srl train --help_all` lists every one. Several processes: accelerate launch -m trl_srl.cli.train …",
    )
    parser.add_argument("--config", help="YAML file with options, and perhaps a block `rlvr:` with those of RLVR")
    parser.add_argument("--stage", choices=["srl", "rlvr"], help="run this stage only")
    parser.add_argument("--help_all", action="store_true", help="list every option (imports torch and TRL)")


def run(args: argparse.Namespace) -> None:
    """Not reached: `trl_srl.cli.main` hands the arguments of `train` to `main` unread."""
    raise AssertionError("trl-srl train is parsed by TRL")


@contextmanager
def _one_line() -> Iterator[None]:
    """End with one line for what the user can mend."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        sys.stderr.write(f"trl-srl train: {error}\n")
        sys.exit(2)


def _end(trainer: Any) -> None:
    """Finish the trackers and the process group."""
    if hasattr(trainer, "end"):  # transformers 5.18
        trainer.end()


def main(argv: Sequence[str] | None = None) -> None:
    """
    Train. Takes the options as they stand on the command line.

    Args:
        argv (`list[str]`, *optional*):
            Arguments; `sys.argv[1:]` when not given.
    """
    from accelerate.utils.memory import clear_device_cache

    from .stage_options import make_parser, read_command
    from .stages import choose_start, finish_stage, is_finished, make_rlvr_trainer, make_srl_trainer

    arguments = list(sys.argv[1:] if argv is None else argv)
    if "--help_all" in arguments:
        make_parser("rlvr" if "rlvr" in arguments else "srl").parse_args(["--help"])
    with _one_line():
        command = read_command(arguments)
        srl, rlvr = command.stages.get("srl"), command.stages.get("rlvr")
        if srl is not None and rlvr is not None and is_finished(srl):
            sys.stdout.write(f"The first stage is complete in {srl['output_dir']}; it is not run again.\n")
            srl = None
    if srl is not None:
        with _one_line():
            trainer = make_srl_trainer(srl)
            start = choose_start(trainer, lenient=rlvr is not None)
        if not finish_stage(trainer, srl, start):
            return
        trainer.accelerator.free_memory()
        if rlvr is None:
            _end(trainer)
        del trainer
        gc.collect()
        clear_device_cache()
    if rlvr is not None:
        with _one_line():
            trainer = make_rlvr_trainer(rlvr, chained=command.chained)
            start = choose_start(trainer, lenient=command.chained)
        if finish_stage(trainer, rlvr, start):
            _end(trainer)


if __name__ == "__main__":
    main()
