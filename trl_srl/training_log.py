"""What the log of a training run comes to: each metric at the beginning and at the end. Pure functions of
`trainer.state.log_history`; the model card and the terminal show them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


Log = Sequence[Mapping[str, Any]]

# Key in the log → what it is. Evaluation has the same keys behind `eval_` and, for named sets, the name.
METRICS = {
    "reward": "Reward",
    "reward_all_groups": "Reward of all sampled groups, trained on or not",
    "srl/similarity": "Step similarity",
    "srl/exact_step_rate": "Exact steps",
    "srl/right_number_rate": "Right numbers",
    "srl/format_rate": "Well-formed completions",
    "srl/truncated_rate": "Completions cut off",
    "dynamic_sampling/acceptance": "Informative groups",
    "completions/mean_length": "Length of completions (tokens)",
}
_EVAL_KEY = re.compile(rf"eval_(?:(?P<name>.+)_)?(?:{'|'.join(map(re.escape, METRICS))})")


class Change(NamedTuple):
    """A metric at the beginning and at the end of a run: means over the steps named (from, to)."""

    split: str  # "training", or the evaluation set's name
    title: str
    first: float
    last: float
    first_steps: tuple[int, int]
    last_steps: tuple[int, int]


def series(log_history: Log, key: str) -> tuple[list[int], list[float]]:
    """
    Steps and values at which a metric was logged (TRL logs None where no value was valid).

    ```python
    >>> from trl_srl.training_log import series
    >>> series([{"step": 1, "reward": 0.5}, {"step": 2, "reward": None}, {"step": 3, "loss": 0.0}], "reward")
    ([1], [0.5])

    ```
    """
    logged = [(entry["step"], entry[key]) for entry in log_history if isinstance(entry.get(key), (int, float))]
    return [int(step) for step, _ in logged], [float(value) for _, value in logged]


def steps_in_words(steps: tuple[int, int]) -> str:
    """`step 3`, or `steps 1–6`."""
    first, last = steps
    return f"step {first}" if first == last else f"steps {first}–{last}"


def eval_sets(log_history: Log) -> list[str]:
    """Names of the evaluation sets in the log; a set without a name is called `""`."""
    found = (_EVAL_KEY.fullmatch(key) for entry in log_history for key in entry)
    return list(dict.fromkeys(match["name"] or "" for match in found if match))


def eval_prefix(name: str) -> str:
    """What stands in the log before the metrics of an evaluation set."""
    return f"eval_{name}_" if name else "eval_"


def by_split(changes: Sequence[Change]) -> dict[tuple[str, str, str], list[Change]]:
    """Changes by split and steps in words: the tables to show (several, where steps differ)."""
    groups: dict[tuple[str, str, str], list[Change]] = {}
    for change in changes:
        key = (change.split, steps_in_words(change.first_steps), steps_in_words(change.last_steps))
        groups.setdefault(key, []).append(change)
    return groups


def summarize_log(log_history: Log) -> list[Change]:
    """
    Each metric of [`METRICS`] at the beginning and at the end.

    In training the means over the first and the last tenth of the logged steps, since a single step is noise; in
    evaluation the first and the last one.
    """
    changes = []
    for split in ("training", *eval_sets(log_history)):
        for key, title in METRICS.items():
            steps, values = series(log_history, key if split == "training" else eval_prefix(split) + key)
            if not values:
                continue
            few = max(len(values) // 10, 1) if split == "training" else 1
            changes.append(
                Change(
                    split or "evaluation",
                    title,
                    sum(values[:few]) / few,
                    sum(values[-few:]) / few,
                    (steps[0], steps[few - 1]),
                    (steps[-few], steps[-1]),
                )
            )
    return changes


def duration(seconds: float) -> str:
    """Seconds in words: `4.1 s`, `12 min`, `3 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
