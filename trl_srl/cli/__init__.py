"""Command line: `trl-srl COMMAND`. One file for each command; heavy imports stay inside."""

import argparse
import sys
from collections.abc import Sequence

from . import card, compare, demo, evaluate, memory, merge, plot, prepare, report, train
from .quiet import hush


COMMANDS = {
    "prepare": prepare,
    "memory": memory,
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "report": report,
    "plot": plot,
    "card": card,
    "merge": merge,
    "demo": demo,
}
# What Ctrl-C leaves to go on from.
GOES_ON = {
    "prepare": " The same command goes on where it stopped.",
    "evaluate": " With --output_dir, the same command goes on where it stopped.",
    "train": " If there is a checkpoint, --resume_from_checkpoint true goes on from it.",
}


def main(argv: Sequence[str] | None = None) -> None:
    """
    Run `trl-srl`. What a user can mend (values, files, packages) ends in one line and exit code 2, a
    model that cannot learn in one line and exit code 1, Ctrl-C in one line and exit code 130; all else keeps its
    traceback.

    Args:
        argv (`list[str]`, *optional*):
            Arguments; `sys.argv[1:]` when not given.
    """
    from .. import __version__

    parser = argparse.ArgumentParser(
        prog="trl-srl",
        description="Supervised Reinforcement Learning (SRL) for TRL: learn an expert's solutions step by step.",
        epilog="`trl-srl COMMAND --help` shows a command's options.",
    )
    parser.add_argument("--version", action="version", version=f"trl-srl {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        module.add_parser(subparsers, name)
    arguments = list(sys.argv[1:] if argv is None else argv)
    hush()
    try:
        if arguments[:1] == ["train"] and not {"-h", "--help"} & set(arguments):
            # Its options are the fields of TRL's and our dataclasses: TRL's own parser reads them.
            train.main(arguments[1:])
            return
        args, rest = parser.parse_known_args(arguments)
        if args.command == "memory":
            args.train_options = rest
        elif rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        try:
            COMMANDS[args.command].run(args)
        except (ValueError, TypeError, OSError, ImportError) as error:
            parser.exit(2, f"trl-srl {args.command}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"\ntrl-srl {arguments[0]}: interrupted.{GOES_ON.get(arguments[0], '')}\n")
