"""`trl-srl plot`: runs beside each other as a picture."""

import argparse
import re
import sys
from pathlib import Path


_SEED = re.compile(r"[-_.]?seed[-_.]?\d+$")


def add_parser(subparsers: "argparse._SubParsersAction", name: str) -> None:
    parser = subparsers.add_parser(
        name,
        help="compare runs in a picture",
        description="Draw the curves of runs, one panel for each metric. Runs of one name are drawn as one line, "
        "their mean, with a band over them. Needs the package matplotlib.",
        epilog="A run is DIR or NAME=DIR. Without a name it is the folder's, less an ending like -seed1: "
        "`trl-srl plot runs/srl-seed* RLVR=runs/a RLVR=runs/b` draws two lines.",
    )
    parser.add_argument("runs", nargs="+", metavar="[NAME=]DIR", help="output_dir of a run")
    parser.add_argument("--output", "-o", default="plot.png", help="a .png, .svg or .pdf (default: plot.png)")
    parser.add_argument(
        "--metrics", nargs="+", metavar="METRIC", help="names in the trainer's log, one panel for each"
    )
    parser.add_argument(
        "--band",
        choices=["min-max", "std"],
        default="min-max",
        help="over the runs of one name: lowest to highest (default), or mean ± standard deviation",
    )
    parser.add_argument("--smooth", type=int, default=1, help="mean over so many logged values (default: 1)")


def name_and_folder(run: str) -> tuple[str, str]:
    """
    `NAME=DIR`, or a folder's own name without the seed.

    ```python
    >>> from trl_srl.cli.plot import name_and_folder
    >>> name_and_folder("SRL=runs/a"), name_and_folder("runs/srl-seed1")
    (('SRL', 'runs/a'), ('srl', 'runs/srl-seed1'))

    ```
    """
    name, equals, folder = run.partition("=")
    if equals and not Path(run).exists():
        return name, folder
    own = Path(run).resolve().name
    return _SEED.sub("", own) or own, run


def run(args: argparse.Namespace) -> None:
    from ..plots import plot_runs
    from ..run_folder import find_run

    groups: dict[str, list] = {}
    for name, folder in map(name_and_folder, args.runs):
        found = find_run(folder)
        if not found.log:
            raise ValueError(
                f"{folder} has rollouts, but no log (trainer_state.json, written when a run ends and in checkpoints)."
            )
        groups.setdefault(name, []).append(found.log)
    left_out = plot_runs(groups, args.output, metrics=args.metrics, band=args.band, smooth=args.smooth)
    lines = [f"left out: {what}" for what in left_out]
    drawn = ", ".join(f"{name} ({len(logs)} run{'s' * (len(logs) > 1)})" for name, logs in groups.items())
    sys.stdout.write("\n".join([*lines, f"wrote {args.output}: {drawn}"]) + "\n")
