"""Command line: `trl-srl COMMAND`. One file for each command; heavy imports stay inside."""

import argparse
import sys
from collections.abc import Sequence

from . import compare, demo, evaluate, prepare, train


COMMANDS = {"prepare": prepare, "train": train, "evaluate": evaluate, "compare": compare, "demo": demo}


def main(argv: Sequence[str] | None = None) -> None:
    """
    Run `trl-srl`. What a user can mend (values, files, packages) ends in one line and exit code 2, a
    model that cannot learn in one line and exit code 1; all else keeps its traceback.

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
    if arguments[:1] == ["train"] and not {"-h", "--help"} & set(arguments):
        # Its options are the fields of TRL's and our dataclasses: TRL's own parser reads them.
        train.main(arguments[1:])
        return
    args = parser.parse_args(arguments)
    try:
        COMMANDS[args.command].run(args)
    except (ValueError, TypeError, OSError, ImportError) as error:
        parser.exit(2, f"trl-srl {args.command}: {error}\n")
