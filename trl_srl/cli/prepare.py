"""`trl-srl prepare`: data of any size → step rows on disk, a summary of what was kept and dropped, a look at them."""

import argparse
import json
import os
import re
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from ..preparing.parts import Recipe
    from ..preparing.rewriting import Rewriter


def _count_or_share(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def add_parser(subparsers: "argparse._SubParsersAction", name: str) -> None:
    from ..adapters import ADAPTERS
    from ..shards import FORMATS

    parser = subparsers.add_parser(
        name,
        help="turn expert solutions into step rows, or look at them",
        description="Turn expert solutions into step rows. The input has `problem` and `steps` (or TRL's `prompt` and "
        "`completions`), or a whole solution in one column that is cut here, or is a known data set (--adapter). "
        "Writes Parquet files that `trl-srl train --dataset_name DIR` reads. A killed run goes on where it stopped.",
    )
    parser.add_argument(
        "dataset",
        help="a .jsonl, .json, .csv or .parquet file, a quoted pattern of files, a folder, or a dataset on the Hub",
    )
    parser.add_argument("--output_dir", "-o", help="folder for the splits train and validation, and summary.json")
    parser.add_argument("--split", default="train", help="split of the dataset to read (default: train)")
    parser.add_argument("--name", help="name of the dataset's configuration")
    parser.add_argument(
        "--streaming",
        action="store_true",
        help="read rows as they are needed, without a copy in the cache of datasets",
    )
    parser.add_argument("--adapter", metavar="NAME", help=f"form of a known data set: {', '.join(ADAPTERS)}")
    parser.add_argument(
        "--adapter_options",
        metavar="JSON",
        help="options of the adapter, as in '{\"max_observation_length\": 20000}'; --style is one too",
    )
    parser.add_argument("--problem_column", default="problem", help="column of the problem (default: problem)")
    parser.add_argument("--solution_column", help="column of a solution in one text, to be cut into steps")
    parser.add_argument(
        "--answer_column", help="column of the final answer, kept for evaluation (default: answer, if there is one)"
    )
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
    parser.add_argument(
        "--history_window",
        type=int,
        default=2,
        help="how many of an agent's last actions and observations are in the prompt (default: 2)",
    )
    parser.add_argument("--model", help="model id or path whose tokenizer counts tokens and renders prompts")
    parser.add_argument("--max_prompt_length", type=int, help="longest prompt in tokens; needs --model")
    parser.add_argument(
        "--validation_size",
        type=_count_or_share,
        help="number of validation problems (1 or more), or their share (below 1); none by default",
    )
    parser.add_argument("--seed", type=int, default=42, help="seed of the validation split (default: 42)")
    parser.add_argument("--num_proc", type=int, help="processes to use")
    parser.add_argument("--format", default="parquet", choices=FORMATS, help="of the files (default: parquet)")
    parser.add_argument("--push_to_hub", metavar="ID", help="data set on the Hub to push the folder to as well")
    parser.add_argument("--private", action="store_true", help="make that data set private if it is new")
    parser.add_argument(
        "--inspect",
        action="store_true",
        help="print lengths, repetitions, examples of what was dropped, and three rows in full; without --output_dir "
        "nothing is written",
    )
    rewriting = parser.add_argument_group("rewriting solutions that are not step-wise")
    rewriting.add_argument(
        "--rewrite_with",
        "--rewrite-with",
        metavar="MODEL",
        help="model that rewrites solutions into titled steps: its name on the server "
        "of --rewrite_base_url, else a path or Hub id to load here",
    )
    rewriting.add_argument(
        "--rewrite_base_url",
        metavar="URL",
        help="OpenAI-compatible server, as in http://localhost:8000/v1; the key is "
        "read from the environment variable OPENAI_API_KEY",
    )
    rewriting.add_argument(
        "--rewrite_max_tokens", type=int, default=4096, help="longest rewritten solution in tokens (default: 4096)"
    )
    rewriting.add_argument("--rewrite_in_flight", type=int, default=8, help="requests at the same time (default: 8)")
    rewriting.add_argument(
        "--rewrite_cache", metavar="FILE", help="where replies are kept (default: in the Hugging Face cache)"
    )
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> None:
    from ..loading import load_rows, source_files
    from ..preparing.inspection_report import inspection_lines
    from ..preparing.prepare import prepare_step_rows
    from ..shards import is_shard_of, push_splits

    if args.output_dir is None and not args.inspect:
        args.usage_error("name a folder to write to with --output_dir, or look at the data with --inspect")
    if args.push_to_hub is not None:
        from huggingface_hub import HfApi

        if args.output_dir is None:
            args.usage_error("--push_to_hub pushes a folder: name it with --output_dir")
        # Before the work: a wrong id or token is said at once.
        HfApi().create_repo(args.push_to_hub, repo_type="dataset", private=args.private or None, exist_ok=True)
    tokenizer = None
    if args.model is not None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(args.model)
    recipe = _make_recipe(args, tokenizer)
    dataset = load_rows(args.dataset, split=args.split, name=args.name, streaming=args.streaming)
    for file in source_files(args.dataset):
        if args.output_dir is not None and is_shard_of(file, Path(args.output_dir)):
            raise ValueError(
                f"The rows of {file} would take the place of that file, which they are made of. Name another folder."
            )
    with tempfile.TemporaryDirectory() as nowhere:
        prepared = prepare_step_rows(
            dataset,
            args.output_dir or nowhere,
            recipe,
            source=args.dataset,
            identity={"model": args.model},
            validation_size=args.validation_size,
            seed=args.seed,
            num_proc=args.num_proc,
            file_format=args.format,
            inspect=args.inspect,
            write=args.output_dir is not None,
            tokenizer=tokenizer,
            tell=_tell,
        )
    sys.stdout.write(f"{prepared.source_rows:,} rows read from {args.dataset}\n{prepared.summary}\n")
    if prepared.inspection is not None:
        from rich.console import Console

        console = Console(highlight=False, soft_wrap=True)
        sys.stdout.write("\n")
        bar = "█" if console.is_terminal else "#"
        for line, style in inspection_lines(prepared.inspection, prepared.summary, tokenizer, bar):
            console.print(line, style=style or None, markup=False, emoji=False)
    for split, files in prepared.files.items():
        shards = f" … {files[-1].name}" if len(files) > 1 else ""
        sys.stdout.write(f"wrote {prepared.rows[split]:,} step rows to {files[0]}{shards}\n")
    if args.push_to_hub is not None:
        sys.stdout.write(f"pushed to {push_splits(Path(args.output_dir), prepared.files, args.push_to_hub)}\n")


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _make_recipe(args: argparse.Namespace, tokenizer: Any) -> "Recipe":
    from ..expansion import Options
    from ..preparing.parts import Recipe

    cuts = args.style != "auto" or args.split_regex
    if cuts and args.solution_column is None and args.adapter is None:
        raise ValueError(
            "--style and --split_regex say how to cut a solution: name its column with --solution_column."
        )
    if args.adapter is not None and (args.solution_column or args.answer_column or args.problem_column != "problem"):
        raise ValueError("--adapter knows the columns of its data set: leave out the options that name columns.")
    if args.max_prompt_length is not None and tokenizer is None:
        raise ValueError("--max_prompt_length counts tokens: name the model with --model.")
    try:
        style = re.compile(args.split_regex, re.MULTILINE) if args.split_regex else args.style
    except re.error as error:
        raise ValueError(f"--split_regex {args.split_regex!r} is no regular expression: {error}.") from error
    adapter_options = _read_adapter_options(args) | ({"style": style} if args.adapter and cuts else {})
    count_tokens = None
    if args.max_prompt_length is not None:
        from ..prompts import count_prompt_tokens

        count_tokens = partial(count_prompt_tokens, tokenizer=tokenizer)
    options = Options(
        include_last_step=args.include_last_step,
        title_hint=args.title_hint,
        system_prompt=args.system_prompt,
        history_window=args.history_window,
        max_prompt_length=args.max_prompt_length,
        count_tokens=count_tokens,
    )
    return Recipe(
        adapter=args.adapter,
        adapter_options=adapter_options,
        solution_column=args.solution_column,
        problem_column=args.problem_column,
        answer_column=args.answer_column,
        style=style,
        rewriter=_make_rewriter(args),
        options=options,
    )


def _read_adapter_options(args: argparse.Namespace) -> dict[str, Any]:
    if args.adapter_options is None:
        return {}
    try:
        options = json.loads(args.adapter_options)
    except json.JSONDecodeError:
        options = None
    if args.adapter is None or not isinstance(options, dict):
        raise ValueError(
            "--adapter_options are those of --adapter NAME, as a JSON object: '{\"max_observation_length\": 20000}'; "
            f"got {args.adapter_options!r}."
        )
    return options


def _make_rewriter(args: argparse.Namespace) -> "Rewriter | None":
    if args.rewrite_with is None:
        if args.rewrite_base_url is not None:
            raise ValueError("--rewrite_base_url names a server: name the model with --rewrite_with.")
        return None
    from huggingface_hub.constants import HF_HOME

    from ..preparing.rewriting import ReplyCache, Rewriter, RewritingModel
    from ..preparing.rewriting_models import LocalModel, ServerModel

    processes = args.num_proc or 1
    model: RewritingModel
    if args.rewrite_base_url is not None:
        in_flight = max(1, args.rewrite_in_flight // processes)
        model = ServerModel(
            args.rewrite_with, args.rewrite_base_url, max_in_flight=in_flight, max_tokens=args.rewrite_max_tokens
        )
    elif processes > 1:
        raise ValueError(
            "A local model rewrites in one process: leave out --num_proc, or serve it (--rewrite_base_url)."
        )
    else:
        model = LocalModel(args.rewrite_with, max_tokens=args.rewrite_max_tokens)
    cache = Path(args.rewrite_cache or os.path.join(HF_HOME, "trl_srl", "rewrites.sqlite"))
    return Rewriter(model, ReplyCache(cache))
