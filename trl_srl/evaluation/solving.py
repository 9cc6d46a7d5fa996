"""Solution-level evaluation: greedy and sampled solutions of every problem, checked, counted, and resumed when killed.

Problems are solved in chunks. A finished chunk is in the journal; an evaluation that was killed goes on with the next
one and ends with the same numbers, because the seed of a chunk depends on its place alone.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..shards import write_json
from ..step_rows import digest
from .answers import AnswerChecker
from .journal import Journal
from .problems import Problem
from .results import (
    PROBLEMS_FILE,
    RESULTS_FILE,
    about_this_run,
    as_metric,
    describe_evaluation,
    finished_results,
    write_parquet,
)
from .solutions import Solution, solve_in_one_go, solve_step_by_step
from .statistics import mean_interval, pass_at_k, powers_of_two


if TYPE_CHECKING:
    from .backends import Backend

BATCHES_PER_CHUNK = 4  # what a kill can cost, against batches that are not full


@dataclass(frozen=True)
class SolvingSettings:
    """
    How problems are solved. All of it is written into `results.json`.

    Attributes:
        step_by_step (`bool`): Whether the model is called for each step, or once for the whole solution.
        num_samples (`int`): Samples of each problem beside the greedy solution, for avg@k and pass@k.
        temperature (`float`): Of the samples. The paper gives none for its avg@32; ours is that of the training.
        max_completion_length (`int`): Limit in tokens of one completion.
        max_steps (`int`), ask_for_answer (`bool`): As in [`solve_step_by_step`].
        system_prompt (`str`, *optional*): Replaces ours, or that of the step rows.
        seed (`int`): Seed of the samples.
    """

    step_by_step: bool = False
    num_samples: int = 0
    temperature: float = 1.0
    max_completion_length: int = 2048
    max_steps: int = 20
    ask_for_answer: bool = True
    system_prompt: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_samples < 0 or self.max_completion_length < 1 or self.max_steps < 1:
            raise ValueError(
                f"num_samples={self.num_samples} must be 0 or more, max_completion_length="
                f"{self.max_completion_length} and max_steps={self.max_steps} 1 or more."
            )
        if self.num_samples and self.temperature <= 0:
            raise ValueError(
                f"With temperature={self.temperature} all {self.num_samples} samples of a problem would be the greedy "
                "solution. Write a temperature above 0, or num_samples=0."
            )


def evaluate_solutions(
    backend: "Backend",
    problems: Sequence[Problem],
    settings: SolvingSettings | None = None,
    *,
    output_dir: str | Path | None = None,
    model: str = "",
    dataset: str = "",
    split: str = "",
) -> dict[str, Any]:
    """
    Solve problems, check the answers and say what the model can do, with 95 % intervals.

    Args:
        backend ([`Backend`]):
            What writes.
        problems (`list[Problem]`):
            What to solve, see [`read_problems`].
        settings ([`SolvingSettings`], *optional*):
            How.
        output_dir (`str` or `Path`, *optional*):
            Where `results.json`, `problems.parquet` and `solutions.parquet` are written. An evaluation that was killed
            continues from the journal there; a finished one with the same settings is not run again.
        model, dataset, split (`str`, *optional*):
            Names for `results.json`, and part of what makes two evaluations the same; with `output_dir` the model
            needs one.

    Returns:
        `dict`: what `results.json` holds. Its metrics: `greedy_accuracy`; with samples `avg@k`, the mean share of
        right samples, and `pass@k`, unbiased; of the greedy solutions `answered_rate`, `malformed_rate` (step by
        step), `truncated_rate`, `mean_steps`, `mean_tokens`. A solution without a final answer is wrong.

    Raises:
        `ImportError`: when math-verify is missing; `ValueError`: when `output_dir` holds another evaluation,
        or is given without `model`.
    """
    settings = settings or SolvingSettings()
    if not problems:
        raise ValueError("There is no problem to solve.")
    identity = {
        **describe_evaluation("solutions", backend, asdict(settings), output_dir, model, dataset, split),
        "num_problems": len(problems),
        "problems": digest([list(problem) for problem in problems]),
    }
    journal, folder = None, None if output_dir is None else Path(output_dir)
    if folder is not None:
        finished = finished_results(folder, identity)
        if finished is not None:
            return finished
        folder.mkdir(parents=True, exist_ok=True)
        journal = Journal(folder / "journal.jsonl", identity)
    with AnswerChecker() as checker:
        chunks = list(_solve_all(backend, problems, settings, checker, journal))
    records = [record for chunk in chunks for record in chunk["records"]]
    results = {
        **identity,
        "metrics": {name: as_metric(value) for name, value in summarize_solutions(records).items()},
        "answers_timed_out": sum(chunk["answers_timed_out"] for chunk in chunks),
        **about_this_run(),
    }
    if folder is not None:
        write_parquet(folder / "solutions.parquet", list(_solution_rows(records)))
        write_parquet(folder / PROBLEMS_FILE, [_problem_row(record) for record in records])
        write_json(folder / RESULTS_FILE, results)
        (folder / "journal.jsonl").unlink()
    return results


def _solve_all(
    backend: "Backend",
    problems: Sequence[Problem],
    settings: SolvingSettings,
    checker: AnswerChecker,
    journal: Journal | None,
) -> Iterator[dict[str, Any]]:
    """Chunks of [`_solve_chunk`]: from the journal as far as it goes, then solved now."""
    from transformers.utils import logging

    size = max(1, BATCHES_PER_CHUNK * backend.batch_size // (1 + settings.num_samples))
    chunks = [problems[start : start + size] for start in range(0, len(problems), size)]
    done = [] if journal is None else journal.chunks
    solved_before = sum(map(len, chunks[: len(done)]))
    with logging.tqdm(total=len(problems), desc="Solving", unit="problem", initial=solved_before) as progress:
        yield from done
        for number, chunk in enumerate(chunks[len(done) :], start=len(done)):
            solved = _solve_chunk(backend, chunk, settings, checker, seed=f"{settings.seed}/{number}")
            if journal is not None:
                journal.append(solved)
            progress.update(len(chunk))
            yield solved


def _solve_chunk(
    backend: "Backend", problems: Sequence[Problem], settings: SolvingSettings, checker: AnswerChecker, seed: str
) -> dict[str, Any]:
    """A record for each problem, and how many answers took too long to check."""
    common: dict[str, Any] = {
        "max_completion_length": settings.max_completion_length,
        "system_prompt": settings.system_prompt,
        "seed": random.Random(seed).getrandbits(31),
    }
    solve = (
        partial(solve_step_by_step, max_steps=settings.max_steps, ask_for_answer=settings.ask_for_answer, **common)
        if settings.step_by_step
        else partial(solve_in_one_go, **common)
    )
    copies = [problem for problem in problems for _ in range(settings.num_samples)]
    solutions = solve(backend, problems)
    solutions += solve(backend, copies, temperature=settings.temperature) if copies else []
    of_problem = [*problems, *copies]
    timed_out_before = checker.timed_out
    correct = checker.check([solution.answer for solution in solutions], [problem.answer for problem in of_problem])
    outcomes = [_outcome(solution, right) for solution, right in zip(solutions, correct, strict=True)]
    greedy, sampled, k = outcomes[: len(problems)], outcomes[len(problems) :], settings.num_samples
    records = [
        {
            "problem_id": problem.problem_id,
            "problem": problem.problem if isinstance(problem.problem, str) else problem.problem[-1]["content"],
            "answer": problem.answer,
            "greedy": greedy[place],
            "samples": sampled[place * k : (place + 1) * k],
        }
        for place, problem in enumerate(problems)
    ]
    return {"records": records, "answers_timed_out": checker.timed_out - timed_out_before}


def _outcome(solution: Solution, correct: bool) -> dict[str, Any]:
    fields = solution._asdict()
    return {"correct": correct, "final_answer": fields.pop("answer"), **fields}


def _problem_row(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "problem_id": record["problem_id"],
        "problem": record["problem"],
        "answer": record["answer"],
        "greedy_correct": record["greedy"]["correct"],
        "num_samples": len(record["samples"]),
        "num_correct": sum(sample["correct"] for sample in record["samples"]),
    }


def _solution_rows(records: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for record in records:
        for decoding, outcomes in (("greedy", [record["greedy"]]), ("sampled", record["samples"])):
            for number, outcome in enumerate(outcomes):
                yield {"problem_id": record["problem_id"], "decoding": decoding, "sample": number, **outcome}


def summarize_solutions(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Metrics by name: an [`Interval`] where chance has a part in it, a number elsewhere."""
    greedy = [record["greedy"] for record in records]
    metrics: dict[str, Any] = {"greedy_accuracy": mean_interval([[outcome["correct"]] for outcome in greedy])}
    samples = [[sample["correct"] for sample in record["samples"]] for record in records]
    k = len(samples[0])
    if k:
        metrics[f"avg@{k}"] = mean_interval(samples)
        for some in powers_of_two(k):
            metrics[f"pass@{some}"] = mean_interval([[pass_at_k(k, sum(one), some)] for one in samples])
    for name, ending in (("malformed_rate", "malformed"), ("truncated_rate", "truncated")):
        metrics[name] = mean_interval([[outcome["ending"] == ending] for outcome in greedy])
    metrics["answered_rate"] = mean_interval([[outcome["final_answer"] is not None] for outcome in greedy])
    metrics["mean_steps"] = sum(len(outcome["steps"]) for outcome in greedy) / len(greedy)
    metrics["mean_tokens"] = sum(outcome["num_tokens"] for outcome in greedy) / len(greedy)
    return metrics
