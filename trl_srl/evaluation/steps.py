"""Step-level evaluation: how well a model writes the expert's next step, on problems it has not seen.

Malformed completions always count: as 0 in every rate and every length. Similarity never stands alone, because it can
rise while right steps do not.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..answers import right_number
from ..prompts import parse_completion
from ..rewards import step_similarity_reward
from ..step_rows import digest
from .statistics import Interval, mean_interval


if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from .backends import Backend, Generated


class StepResult(NamedTuple):
    """One evaluated step row: the completion, what was read from it (`None` if malformed) and its similarity."""

    completion: str
    action: str | None
    expert_action: str
    similarity: float
    truncated: bool
    monologue: str | None = None
    problem_id: str = ""
    step_index: int = 0


class StepEvaluation(NamedTuple):
    """
    Means over all step rows. Rates are in [0, 1].

    Attributes:
        similarity (`float`): Similarity 2M/T to the expert's step; a malformed completion counts as 0.
        format_rate (`float`): Share of well-formed completions.
        exact_step_rate (`float`): Share of actions equal to the expert's.
        right_number_rate (`float`): Share of actions whose last number equals the last number of the expert's step,
            among the rows whose expert step has a number (NaN if none has).
        truncated_rate (`float`): Share of completions cut off at the length limit.
        num_rows (`int`): Number of step rows.
        similarity_by_problem (`float`): Mean of the problems' mean similarities, so that long solutions weigh no more.
        monologue_length, action_length (`float`): Characters; a malformed completion has none and counts as 0.
    """

    similarity: float
    format_rate: float
    exact_step_rate: float
    right_number_rate: float
    truncated_rate: float
    num_rows: int
    similarity_by_problem: float
    monologue_length: float
    action_length: float


RATES: dict[str, Callable[[StepResult], float | None]] = {  # of one result, in [0, 1]; None where it has none
    "similarity": lambda result: result.similarity,
    "format_rate": lambda result: float(result.action is not None),
    "exact_step_rate": lambda result: float(result.action == result.expert_action),
    "right_number_rate": lambda result: right_number(result.action, result.expert_action),
    "truncated_rate": lambda result: float(result.truncated),
}
LENGTHS: dict[str, Callable[[StepResult], float | None]] = {
    "monologue_length": lambda result: len(result.monologue or ""),
    "action_length": lambda result: len(result.action or ""),
}


def score_steps(completions: "Sequence[Generated]", rows: Sequence[dict[str, Any]]) -> list[StepResult]:
    """
    Read completions and compare them with the expert's steps, by the reward function itself.

    Args:
        completions (`list[Generated]`):
            N completions, with the opening think tag also where the chat template wrote it.
        rows (`list[dict]`):
            The N step rows: `expert_action`, perhaps `problem_id` and `step_index`, and what else the reward reads.

    Returns:
        `list[StepResult]`.
    """
    if not rows:
        return []
    texts = [completion.text for completion in completions]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0] if name != "prompt"}
    read: dict[str, list[Any]] = {}
    step_similarity_reward(texts, **columns, log_extra=read.__setitem__)
    results = []
    for place, (completion, row) in enumerate(zip(completions, rows, strict=True)):
        malformed = math.isnan(read["similarity"][place])
        parsed = None if malformed else parse_completion(completion.text)
        results.append(
            StepResult(
                completion=completion.text,
                action=None if malformed else read["action"][place],
                expert_action=read["expert_action"][place],
                similarity=0.0 if malformed else read["similarity"][place],
                truncated=completion.truncated,
                monologue=None if parsed is None else parsed.monologue,
                problem_id=row.get("problem_id") or digest(row.get("prompt") or ""),
                step_index=row.get("step_index") or 0,
            )
        )
    return results


def write_next_steps(
    backend: "Backend",
    step_rows: "Dataset",
    *,
    max_completion_length: int = 256,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[StepResult]:
    """
    Let a model write the next step of every step row, once.

    Args:
        backend ([`Backend`]):
            What writes: [`TransformersBackend`] or [`VLLMBackend`].
        step_rows ([`~datasets.Dataset`]):
            Rows with `prompt` and `expert_action`, of problems that were not trained on.
        max_completion_length (`int`, *optional*, defaults to `256`):
            Limit in tokens of a completion.
        temperature (`float`, *optional*, defaults to `0.0`):
            0 decodes greedily.
        seed (`int`, *optional*, defaults to `0`):
            Seed for sampling.

    Returns:
        `list[StepResult]`: in the order of the rows.
    """
    from transformers.utils import logging

    if not len(step_rows):
        raise ValueError("There is no step row to evaluate.")
    rows = list(step_rows)
    # Sorted by length over all rows, so that little is padded; cut into parts only to show progress.
    order = sorted(range(len(rows)), key=lambda place: sum(len(part["content"]) for part in rows[place]["prompt"]))
    results: dict[int, StepResult] = {}
    with logging.tqdm(total=len(rows), desc="Evaluating steps", unit="step") as progress:
        for start in range(0, len(rows), backend.batch_size):
            places = order[start : start + backend.batch_size]
            completions = backend.generate(
                [rows[place]["prompt"] for place in places],
                max_completion_length=max_completion_length,
                temperature=temperature,
                seed=seed + start,
            )
            scored = score_steps(completions, [rows[place] for place in places])
            results |= dict(zip(places, scored, strict=True))
            progress.update(len(places))
    return [results[place] for place in range(len(rows))]


def mean(values: Sequence[float]) -> float:
    """The mean, NaN of nothing."""
    return sum(values) / len(values) if values else math.nan


def grouped(
    results: Sequence[StepResult], measure: Callable[[StepResult], float | None], by: str = "problem_id"
) -> dict[Any, list[float]]:
    """The values of a measure for each problem, or each value of another field."""
    groups: dict[Any, list[float]] = defaultdict(list)
    for result in results:
        value = measure(result)
        if value is not None:
            groups[getattr(result, by)].append(value)
    return dict(groups)


def summarize_steps(results: Sequence[StepResult]) -> StepEvaluation:
    """Means of step results, see [`StepEvaluation`]."""
    values = {name: list(map(measure, results)) for name, measure in (RATES | LENGTHS).items()}
    return StepEvaluation(
        num_rows=len(results),
        similarity_by_problem=mean([mean(some) for some in grouped(results, RATES["similarity"]).values()]),
        **{name: mean([value for value in some if value is not None]) for name, some in values.items()},
    )


def named_means(results: Sequence[StepResult]) -> dict[str, float]:
    """The means of [`StepEvaluation`] that have a value."""
    means: dict[str, float] = summarize_steps(results)._asdict()
    del means["num_rows"]
    return {name: value for name, value in means.items() if not math.isnan(value)}


def similarity_by_step(results: Sequence[StepResult]) -> dict[int, float]:
    """Mean similarity of each `step_index`, in ascending order; malformed completions count as 0."""
    similarities = grouped(results, RATES["similarity"], by="step_index")
    return {index: mean(values) for index, values in sorted(similarities.items())}


def without_repeats(results: Sequence[StepResult], most: int) -> list[StepResult]:
    """At most `most` results of each step row: several processes evaluate some rows again to fill the last batch."""
    seen: Counter[tuple[str, int, str]] = Counter()
    kept = []
    for result in results:
        row = (result.problem_id, result.step_index, result.expert_action)
        seen[row] += 1
        if seen[row] <= most:
            kept.append(result)
    return kept


def evaluation_metrics(results: Sequence[StepResult]) -> dict[str, float]:
    """What the trainer logs of an evaluation: the means, and the similarity of each step, counted from 1."""
    if not results:
        return {}
    by_step = {f"similarity_by_step/{i + 1}": value for i, value in similarity_by_step(results).items()}
    return named_means(results) | by_step


def step_intervals(results: Sequence[StepResult]) -> dict[str, Interval]:
    """The rates of [`StepEvaluation`] with 95 % intervals over problems, see [`mean_interval`]."""
    by_problem = {name: list(grouped(results, measure).values()) for name, measure in RATES.items()}
    by_problem["similarity_by_problem"] = [[mean(values)] for values in by_problem["similarity"]]
    return {name: mean_interval(values) for name, values in by_problem.items() if values}


def evaluate_steps(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    step_rows: "Dataset",
    *,
    batch_size: int = 16,
    **settings: Any,
) -> StepEvaluation:
    """
    Evaluate a model on step rows: it sees the expert's steps so far and writes the next one.

    Args:
        model ([`~transformers.PreTrainedModel`]), tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            The model, on the device to use, and its tokenizer with a chat template.
        step_rows, **settings:
            As in [`~trl_srl.evaluation.write_next_steps`]: `max_completion_length`, `temperature`, `seed`.
        batch_size (`int`, *optional*, defaults to `16`):
            Completions generated at once.

    Returns:
        [`StepEvaluation`].

    Example:

    ```python
    from trl_srl import evaluate_steps

    evaluation = evaluate_steps(trainer.model, trainer.processing_class, trainer.eval_dataset)
    print(evaluation.similarity, evaluation.exact_step_rate)
    ```
    """
    from .backends import TransformersBackend

    return summarize_steps(
        write_next_steps(TransformersBackend(model, tokenizer, batch_size=batch_size), step_rows, **settings)
    )
