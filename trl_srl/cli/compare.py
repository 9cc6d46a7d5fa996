"""`trl-srl compare`: whether one model is better than another on the same problems, or chance will do."""

import argparse
import sys


def add_parser(subparsers: "argparse._SubParsersAction", name: str) -> None:
    parser = subparsers.add_parser(
        name,
        help="compare two evaluations with a paired test",
        description="Compare two models, or two checkpoints of one, on the same problems. Greedy accuracy is tested "
        "by McNemar's exact test, the other measures by a sign-flip permutation test over problems.",
    )
    parser.add_argument("first", help="output folder of `trl-srl evaluate -o`, for instance of the model before SRL")
    parser.add_argument("second", help="the same of the other model")


def run(args: argparse.Namespace) -> None:
    from ..evaluation.comparison import compare_results

    comparisons, notes = compare_results(args.first, args.second)
    sys.stdout.write(f"first:  {args.first}\nsecond: {args.second}\n")
    sys.stdout.write("".join(f"Attention: {note}.\n" for note in notes))
    sys.stdout.write("".join(f"{comparison}\n" for comparison in comparisons))
