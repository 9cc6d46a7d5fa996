"""Step-level evaluation with its files: `results.json`, one row for each completion, one for each problem."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..shards import write_json
from ..step_rows import digest
from .results import (
    PROBLEMS_FILE,
    RESULTS_FILE,
    about_this_run,
    as_metric,
    describe_evaluation,
    finished_results,
    write_parquet,
)
from .statistics import mean_interval
from .steps import RATES, StepResult, grouped, mean, named_means, step_intervals, write_next_steps


if TYPE_CHECKING:
    from datasets import Dataset

    from .backends import Backend


def evaluate_step_rows(
    backend: "Backend",
    step_rows: "Dataset",
    *,
    max_completion_length: int = 256,
    temperature: float = 0.0,
    seed: int = 0,
    output_dir: str | Path | None = None,
    model: str = "",
    dataset: str = "",
    split: str = "",
) -> dict[str, Any]:
    """
    Let a model write the next step of every step row, and say what it can do, with 95 % intervals over problems.

    Args:
        backend ([`Backend`]), step_rows ([`~datasets.Dataset`]), max_completion_length, temperature, seed:
            As in [`write_next_steps`].
        output_dir (`str` or `Path`, *optional*):
            Where `results.json`, `steps.parquet` and `problems.parquet` are written. A finished evaluation with the
            same settings is not run again.
        model, dataset, split (`str`, *optional*):
            Names for `results.json`; with `output_dir` the model needs one.

    Returns:
        `dict`: what `results.json` holds: `metrics` as in [`StepEvaluation`], and `similarity_by_step`, a list with
        `step_index`, `num_rows` and the mean similarity with its interval.
    """
    settings: dict[str, Any] = {
        "max_completion_length": max_completion_length,
        "temperature": temperature,
        "seed": seed,
    }
    identity = {
        **describe_evaluation("steps", backend, settings, output_dir, model, dataset, split),
        "num_rows": len(step_rows),
        "rows": digest([[row["prompt"], row["expert_action"]] for row in step_rows]),
    }
    folder = None if output_dir is None else Path(output_dir)
    finished = None if folder is None else finished_results(folder, identity)
    if finished is not None:
        return finished
    steps = write_next_steps(backend, step_rows, **settings)
    intervals = step_intervals(steps)
    results = {
        **identity,
        "metrics": {name: as_metric(intervals.get(name, value)) for name, value in named_means(steps).items()},
        "similarity_by_step": _similarities_by_step(steps),
        **about_this_run(),
    }
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_parquet(folder / "steps.parquet", [step._asdict() for step in steps])
        write_parquet(folder / PROBLEMS_FILE, _problem_rows(steps))
        write_json(folder / RESULTS_FILE, results)
    return results


def _similarities_by_step(steps: list[StepResult]) -> list[dict[str, Any]]:
    similarities = grouped(steps, RATES["similarity"], by="step_index")
    return [
        {"step_index": index, "num_rows": len(values), **as_metric(mean_interval([[value] for value in values]))}
        for index, values in sorted(similarities.items())
    ]


def _problem_rows(steps: list[StepResult]) -> list[dict[str, Any]]:
    names = ("similarity", "exact_step_rate", "format_rate", "truncated_rate")
    measured = {name: grouped(steps, RATES[name]) for name in names}
    return [
        {
            "problem_id": problem_id,
            **{name: mean(values[problem_id]) for name, values in measured.items()},
            "num_rows": len(similarities),
        }
        for problem_id, similarities in measured["similarity"].items()
    ]
