"""`trl-srl merge`: an adapter and its base model → one verified model."""

import argparse
import signal
import sys


def add_parser(subparsers: "argparse._SubParsersAction", name: str) -> None:
    parser = subparsers.add_parser(
        name,
        help="merge an adapter into its base model, and verify the result",
        description="Merge a trained adapter (LoRA, QLoRA) into its base model in 16 bit, load the result again and "
        "compare its logits with the adapter's and the base model's. On failure nothing is left behind.",
    )
    parser.add_argument("adapter", help="folder of the adapter, or its id on the Hub")
    parser.add_argument(
        "--output_dir", "-o", required=True, help="folder for the merged model: empty, or not there yet"
    )
    parser.add_argument("--base_model", help="where the base model is, if not where the adapter says")
    parser.add_argument(
        "--dtype",
        choices=["bfloat16", "float16", "float32"],
        help="precision of the merged weights (default: the base model's own if that has 16 bits, else bfloat16)",
    )


def run(args: argparse.Namespace) -> None:
    from ..model_card import copy_card
    from ..weights.merging import merge_adapter

    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # then too, as by Ctrl-C, nothing is left behind
    try:
        report = merge_adapter(args.adapter, args.output_dir, base_model=args.base_model, dtype=args.dtype)
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.stdout.write(f"{report}\n")
    copy_card(args.adapter, args.output_dir)
