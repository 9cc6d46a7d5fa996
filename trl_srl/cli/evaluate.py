"""`trl-srl evaluate`: whole solutions, in one go or step by step, or with --steps the expert's single steps."""

import argparse
import sys
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from ..evaluation import Backend, Problem

FOR_SOLUTIONS = (
    "step_by_step",
    "benchmark",
    "num_samples",
    "problem_column",
    "answer_column",
    "max_steps",
    "no_asking",
)


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is too small: write 1 or more")
    return number


def add_parser(subparsers: "argparse._SubParsersAction", name: str) -> None:
    parser = subparsers.add_parser(
        name,
        help="evaluate a model on problems, or on held-out steps",
        description="Let a model solve problems and check its answers: greedy accuracy, avg@k and pass@k with 95 % "
        "intervals. With --steps, let it write the next step of held-out step rows instead and compare with the "
        "expert's. An evaluation with -o that was killed continues when it is called again.",
        epilog="Checking answers needs `pip install 'trl-srl[eval]'`. Two results are compared by `trl-srl compare`.",
    )
    parser.add_argument("--model", required=True, help="path or Hub id of a model, or of a PEFT adapter")
    parser.add_argument(
        "--dataset",
        help="a folder, file or Hub id: rows with a problem and its answer; for --steps step rows or trajectory rows",
    )
    parser.add_argument("--name", help="name of the dataset's configuration")
    parser.add_argument("--split", help="split to evaluate (default: validation, or the benchmark's)")
    parser.add_argument(
        "--benchmark",
        choices=["amc23", "aime24", "aime25", "minerva_math"],
        help="one of the paper's benchmarks, from the Hub or from a copy in --dataset",
    )
    parser.add_argument("--problem_column", help="column of the problem (default: problem or prompt)")
    parser.add_argument("--answer_column", help="column of the expected answer (default: answer)")
    parser.add_argument("--steps", action="store_true", help="evaluate single steps against the expert's")
    parser.add_argument(
        "--step_by_step", action="store_true", help="call the model for each step of a solution, as after SRL"
    )
    parser.add_argument(
        "--num_samples",
        type=int,
        help="samples of each problem for avg@k and pass@k (default: 0, or the benchmark's)",
    )
    parser.add_argument("--temperature", type=float, help="of the samples (default: 1), of --steps (default: 0)")
    parser.add_argument(
        "--max_completion_length",
        type=_positive,
        help="in tokens (default: 256 for a step, 2048 for a solution in one go)",
    )
    parser.add_argument("--max_steps", type=_positive, help="most steps of --step_by_step (default: 20)")
    parser.add_argument(
        "--no_asking",
        action="store_true",
        help="with --step_by_step, do not ask for the final answer after --max_steps",
    )
    parser.add_argument("--system_prompt", help="replaces the system prompt: give the one of the training")
    parser.add_argument("--backend", choices=["transformers", "vllm"], default="transformers", help="what generates")
    parser.add_argument(
        "--batch_size",
        type=_positive,
        help="completions generated at once (default: 16 with transformers, 256 with vllm)",
    )
    parser.add_argument(
        "--dtype",
        choices=["auto", "bfloat16", "float16", "float32"],
        default="auto",
        help="precision of the weights (default: auto, the checkpoint's; a T4 wants float16)",
    )
    parser.add_argument(
        "--load_in_4bit",
        action="store_true",
        help="weights in NF4, as in training: a quarter of the memory",
    )
    parser.add_argument(
        "--use_bnb_nested_quant",
        action="store_true",
        help="with --load_in_4bit: double quantisation, as in training",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed for sampling (default: 0)")
    parser.add_argument("--max_rows", type=_positive, help="evaluate only the first rows, or problems")
    parser.add_argument("--output_dir", "-o", help="folder for results.json and Parquet files with every completion")
    parser.add_argument("--report_to", nargs="+", default=[], help="trackers for the results: trackio, tensorboard, …")
    parser.add_argument("--project", default="trl-srl", help="project in the trackers (default: trl-srl)")


def _refuse(args: argparse.Namespace, why: str, names: tuple[str, ...]) -> None:
    """What would not be looked at is not taken in silence."""
    given = [f"--{name}" for name in names if getattr(args, name)]
    if given:
        raise ValueError(f"{why}: leave out {' and '.join(given)}.")


def run(args: argparse.Namespace) -> None:
    _refuse(args, "--steps evaluates single steps", FOR_SOLUTIONS if args.steps else ())
    _refuse(args, "Only --step_by_step counts steps", () if args.step_by_step else ("max_steps", "no_asking"))
    _refuse(args, "--load_in_4bit is missing", () if args.load_in_4bit else ("use_bnb_nested_quant",))
    if args.dataset is None and args.benchmark is None:
        raise ValueError("--dataset is missing: name a folder, a file or a Hub id, or a --benchmark.")
    from ..evaluation.results import print_results
    from ..evaluation.tracking import check_trackers, log_results

    check_trackers(args.report_to, args.output_dir or ".")
    results = _evaluate_steps(args) if args.steps else _evaluate_solutions(args)
    print_results(results)
    for step in results.get("similarity_by_step", []):
        interval, rows = f"{step['low']:.3f} to {step['high']:.3f}", f"{step['num_rows']:,} rows"
        sys.stdout.write(f"  step {step['step_index'] + 1}: similarity {step['value']:.3f} ({interval}; {rows})\n")
    if timed_out := results.get("answers_timed_out"):
        sys.stdout.write(f"{timed_out:,} answers took too long to check, and count as wrong\n")
    if args.output_dir is not None:
        sys.stdout.write(f"results.json and Parquet files are in {args.output_dir}\n")
    if args.report_to:
        log_results(results, args.report_to, args.project, args.output_dir or ".")


def _load_backend(args: argparse.Namespace) -> "Backend":
    from ..evaluation.backends import load_backend

    quantization = None
    if args.load_in_4bit:
        from transformers import AutoConfig
        from trl import ModelConfig, get_quantization_config

        from ..weights.adapter_loading import find_base, read_adapter

        adapter = read_adapter(args.model)
        config = find_base(args.model, adapter)[1] if adapter else AutoConfig.from_pretrained(args.model)
        # 4-bit layers compute in the precision of the other weights.
        dtype = str(config.dtype or "float32").removeprefix("torch.") if args.dtype == "auto" else args.dtype
        quantization = get_quantization_config(
            ModelConfig(dtype=dtype, load_in_4bit=True, use_bnb_nested_quant=args.use_bnb_nested_quant)
        )
    return load_backend(args.backend, args.model, args.batch_size, args.dtype, quantization)


def _evaluate_steps(args: argparse.Namespace) -> dict[str, Any]:
    from ..evaluation.step_files import evaluate_step_rows
    from ..formatting import format_trajectories
    from ..loading import load_rows
    from ..step_rows import check_step_rows, is_step_rows

    split = args.split or "validation"
    rows = load_rows(args.dataset, split=split, name=args.name)
    if is_step_rows(rows):
        if args.system_prompt is not None:
            raise ValueError("--system_prompt: step rows have their prompts already. Leave it out.")
        rows, summary = check_step_rows(rows)
    else:
        rows, summary = format_trajectories(rows, system_prompt=args.system_prompt)
    sys.stdout.write(f"{summary}\n")
    if args.max_rows is not None:
        rows = rows.select(range(min(args.max_rows, len(rows))))
    return evaluate_step_rows(
        _load_backend(args),
        rows,
        max_completion_length=args.max_completion_length or 256,
        temperature=args.temperature or 0.0,
        seed=args.seed,
        output_dir=args.output_dir,
        model=args.model,
        dataset=args.dataset,
        split=split,
    )


def _evaluate_solutions(args: argparse.Namespace) -> dict[str, Any]:
    from ..evaluation.answers import require_math_verify
    from ..evaluation.benchmarks import BENCHMARKS

    require_math_verify()  # before the model is loaded
    benchmark = None if args.benchmark is None else BENCHMARKS[args.benchmark]
    problems, dataset, split = _read_problems(args)
    from ..evaluation.solving import SolvingSettings, evaluate_solutions

    settings = SolvingSettings(
        step_by_step=args.step_by_step,
        num_samples=args.num_samples if args.num_samples is not None else benchmark.num_samples if benchmark else 0,
        temperature=1.0 if args.temperature is None else args.temperature,
        max_completion_length=args.max_completion_length or (256 if args.step_by_step else 2048),
        max_steps=20 if args.max_steps is None else args.max_steps,
        ask_for_answer=not args.no_asking,
        system_prompt=args.system_prompt,
        seed=args.seed,
    )
    return evaluate_solutions(
        _load_backend(args),
        problems,
        settings,
        output_dir=args.output_dir,
        model=args.model,
        dataset=dataset,
        split=split,
    )


def _read_problems(args: argparse.Namespace) -> "tuple[list[Problem], str, str]":
    """The problems, and the names of their dataset and split; says what was left out."""
    from ..evaluation.benchmarks import BENCHMARKS
    from ..evaluation.problems import read_problems
    from ..loading import load_rows

    benchmark = None if args.benchmark is None else BENCHMARKS[args.benchmark]
    split = args.split or (benchmark.split if benchmark else "validation")
    source = args.dataset or (benchmark.dataset if benchmark else "")
    rows = load_rows(source, split=split, name=args.name)
    problem_column = args.problem_column or (benchmark.problem_column if benchmark else None)
    answer_column = args.answer_column or (benchmark.answer_column if benchmark else None)
    problems, without = read_problems(rows, problem_column, answer_column)
    sys.stdout.write(f"{len(problems):,} problems" + (f"; {without:,} rows have no answer" if without else "") + "\n")
    if benchmark and len(problems) != benchmark.num_problems:
        sys.stdout.write(
            f"{args.benchmark} has {benchmark.num_problems} problems: do not compare these numbers with others.\n"
        )
    return problems[: args.max_rows], args.benchmark or args.dataset, split
