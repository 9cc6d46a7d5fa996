"""`trl-srl prepare`: expert solutions → step rows on disk, with a summary of what was kept and dropped."""

import argparse
import json
import re
import sys
from functools import partial
from pathlib import Path


def _count_or_share(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def add_parser(subparsers: "argparse._SubParsersAction", name: str) -> None:
    parser = subparsers.add_parser(
        name,
        help="turn expert solutions into step rows",
        description="Turn expert solutions into step rows. The input has `problem` and `steps` (or TRL's `prompt` and "
        "`completions`), or a whole solution in one column that is cut here. Writes Parquet files that "
        "`trl-srl train --dataset_name DIR` reads.",
    )
    parser.add_argument("dataset", help="a .jsonl, .json, .csv or .parquet file, a folder, or a dataset id on the Hub")
    parser.add_argument(
        "--output_dir", "-o", required=True, help="folder for train.parquet, validation.parquet, summary.json"
    )
    parser.add_argument("--split", default="train", help="split of the dataset to read (default: train)")
    parser.add_argument("--name", help="name of the dataset's configuration")
    parser.add_argument("--problem_column", default="problem", help="column of the problem (default: problem)")
    parser.add_argument("--solution_column", help="column of a solution in one text, to be cut into steps")
    parser.add_argument("--answer_column", help="column of the final answer, kept for evaluation")
    parser.add_argument(
        "--style",
        default="auto",
        help="how steps are marked in --solution_column: auto, numbered, titled, headings, paragraphs or lines "
        "(default: auto)",
    )
    parser.add_argument(
        "--split_regex", help="instead of --style: a regular expression that matches where steps begin"
    )
    parser.add_argument("--include_last_step", action="store_true", help="make the last step a target too")
    parser.add_argument("--title_hint", action="store_true", help="give the next step's title in the prompt")
    parser.add_argument("--system_prompt", help="replaces the system prompt")
    parser.add_argument("--model", help="model id or path whose tokenizer counts --max_prompt_length")
    parser.add_argument("--max_prompt_length", type=int, help="longest prompt in tokens; needs --model")
    parser.add_argument(
        "--validation_size",
        type=_count_or_share,
        help="number of validation problems (1 or more), or their share (below 1); none by default",
    )
    parser.add_argument("--seed", type=int, default=42, help="seed of the validation split (default: 42)")
    parser.add_argument("--num_proc", type=int, help="processes to use")


def run(args: argparse.Namespace) -> None:
    from ..formatting import format_trajectories
    from ..loading import load_rows, split_solutions
    from ..step_rows import split_by_problem

    if args.solution_column is None and (args.style != "auto" or args.split_regex):
        raise ValueError(
            "--style and --split_regex say how to cut a solution: name its column with --solution_column."
        )
    limit = {}
    if args.max_prompt_length is not None:
        if args.model is None:
            raise ValueError("--max_prompt_length counts tokens: name the model with --model.")
        from transformers import AutoTokenizer

        from ..prompts import count_prompt_tokens

        count = partial(count_prompt_tokens, tokenizer=AutoTokenizer.from_pretrained(args.model))
        limit = {"max_prompt_length": args.max_prompt_length, "count_tokens": count}
    dataset = load_rows(args.dataset, split=args.split, name=args.name)
    source_rows = len(dataset)
    if args.solution_column is not None:
        try:
            style = re.compile(args.split_regex, re.MULTILINE) if args.split_regex else args.style
        except re.error as error:
            raise ValueError(f"--split_regex {args.split_regex!r} is no regular expression: {error}.") from error
        answer_column = args.answer_column
        if answer_column is None and "answer" in dataset.column_names and args.solution_column != "answer":
            answer_column = "answer"
        dataset = split_solutions(
            dataset, args.solution_column, args.problem_column, answer_column, style=style, num_proc=args.num_proc
        )
    else:
        renamed = {args.problem_column: "problem", args.answer_column: "answer"}
        dataset = dataset.rename_columns({old: new for old, new in renamed.items() if old and old != new})
    step_rows, summary = format_trajectories(
        dataset,
        include_last_step=args.include_last_step,
        title_hint=args.title_hint,
        system_prompt=args.system_prompt,
        num_proc=args.num_proc,
        **limit,
    )
    splits = {"train": step_rows}
    if args.validation_size is not None:
        splits = split_by_problem(step_rows, args.validation_size, seed=args.seed)
    output = Path(args.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation"):
        file = output / f"{split}.parquet"
        file.unlink(missing_ok=True)  # a validation split of an earlier run would overlap with this training split
        if split in splits:
            splits[split].to_parquet(file)
    (output / "summary.json").write_text(
        json.dumps(
            {
                "source": args.dataset,
                "source_rows": source_rows,
                "step_rows": summary.rows,
                "problems": len(summary.problems),
                "trimmed": summary.trimmed,
                "dropped": dict(summary.dropped),
                "splits": {split: len(rows) for split, rows in splits.items()},
            },
            indent=2,
        )
    )
    sys.stdout.write(f"{source_rows:,} rows read from {args.dataset}\n{summary}\n")
    for split, rows in splits.items():
        sys.stdout.write(f"wrote {len(rows):,} step rows to {output / split}.parquet\n")
