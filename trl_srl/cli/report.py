"""`trl-srl report`: a run as one HTML page."""

import argparse
import sys


def add_parser(subparsers: "argparse._SubParsersAction", name: str) -> None:
    parser = subparsers.add_parser(
        name,
        help="make an HTML page of a run",
        description="Make one HTML page of a training run, which opens from disk and loads nothing: curves, "
        "similarity by step index, and a browser of its rollouts beside the expert's steps.",
    )
    parser.add_argument("run_dir", help="output_dir of the run")
    parser.add_argument("--output", "-o", default="report.html", help="file to write (default: report.html)")
    parser.add_argument(
        "--max_rollouts",
        type=int,
        help="rollouts to browse at most; of more, whole groups at equal distances are taken (default: 10000)",
    )


def run(args: argparse.Namespace) -> None:
    from ..report import write_report

    limit = {} if args.max_rollouts is None else {"max_rollouts": args.max_rollouts}
    report = write_report(args.run_dir, args.output, **limit)
    left_out = f" of {report.total:,}; the others are in the curves only" if report.shown < report.total else ""
    sys.stdout.write(
        f"wrote {report.path} ({report.size / 1e6:.1f} MB): {report.shown:,} rollouts to browse{left_out}\n"
    )
