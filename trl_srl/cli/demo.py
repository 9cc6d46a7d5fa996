"""`trl-srl demo`: the whole job on real expert solutions, on a CPU in minutes."""

import argparse


def add_parser(subparsers: "argparse._SubParsersAction", name: str) -> None:
    parser = subparsers.add_parser(name, help="run the whole job on real expert solutions")
    parser.add_argument("--output_dir", "-o", default="runs/demo")


def run(args: argparse.Namespace) -> None:
    from ..demo.run import run_demo

    run_demo(args.output_dir)
