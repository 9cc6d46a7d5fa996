"""`trl-srl evaluate`: how well a model writes the expert's next step on held-out step rows."""

import argparse
import json
import sys
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction", name: str) -> None:
    parser = subparsers.add_parser(
        name,
        help="evaluate a model on held-out steps",
        description="Let a model write the next step of held-out step rows and compare with the expert's.",
    )
    parser.add_argument("--model", required=True, help="path or Hub id of a model, or of a PEFT adapter")
    parser.add_argument("--dataset", required=True, help="step rows or trajectory rows: a folder, file or Hub id")
    parser.add_argument("--split", default="validation", help="split to evaluate (default: validation)")
    parser.add_argument("--max_completion_length", type=int, default=256, help="in tokens (default: 256)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 decodes greedily (default: 0)")
    parser.add_argument("--batch_size", type=int, default=16, help="completions generated at once (default: 16)")
    parser.add_argument("--seed", type=int, default=0, help="seed for sampling (default: 0)")
    parser.add_argument("--max_rows", type=int, help="evaluate only the first rows")
    parser.add_argument("--output", "-o", help="JSONL file for every completion, with its similarity")


def run(args: argparse.Namespace) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from ..evaluation import generate_steps, summarize_steps
    from ..formatting import format_trajectories
    from ..loading import load_rows
    from ..step_rows import check_step_rows, is_step_rows

    rows = load_rows(args.dataset, split=args.split)
    rows, summary = check_step_rows(rows) if is_step_rows(rows) else format_trajectories(rows)
    sys.stdout.write(f"{summary}\n")
    if args.max_rows is not None:
        rows = rows.select(range(min(args.max_rows, len(rows))))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype="auto", device_map=device)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    results = generate_steps(
        model,
        tokenizer,
        rows,
        max_completion_length=args.max_completion_length,
        temperature=args.temperature,
        batch_size=args.batch_size,
        seed=args.seed,
    )
    evaluation = summarize_steps(results)
    for name, value in evaluation._asdict().items():
        sys.stdout.write(f"{name:>18}  {value:.4f}\n" if isinstance(value, float) else f"{name:>18}  {value}\n")
    if args.output is not None:
        lines = [json.dumps(result._asdict(), ensure_ascii=False) for result in results]
        Path(args.output).write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
        sys.stdout.write(f"wrote {len(lines)} completions to {args.output}\n")
