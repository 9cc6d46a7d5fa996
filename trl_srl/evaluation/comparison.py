"""Two models on the same problems: paired tests, and what they allow to be said.

Pairing by problem takes out how hard the problems are, which is most of the noise. What is left is stated as a number
and in words, so that three more problems of thirty are not sold as progress.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .results import LABELS, PROBLEMS_FILE, read_results
from .statistics import bootstrap_interval, mcnemar_p_value, sign_flip_p_value


SIGNIFICANT = 0.05


class Comparison(NamedTuple):
    """
    One measure of two models on the same problems.

    Attributes:
        name (`str`): The measure.
        first, second (`float`): Means over the problems.
        difference, low, high (`float`): Second minus first, with its 95 % bootstrap interval over problems.
        p_value (`float`): Two-sided: exact McNemar for greedy accuracy, a sign-flip permutation test for the others.
        better, worse (`int`): Problems on which the second model is better, or worse.
        num_problems (`int`): Problems compared.
    """

    name: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    better: int
    worse: int
    num_problems: int

    def __str__(self) -> str:
        """The comparison in plain words."""
        say = "{:.3f}".format if self.name == "similarity" else "{:.1%}".format
        head = (
            f"{LABELS.get(self.name, self.name)}: {say(self.first)} → {say(self.second)} on {self.num_problems:,} "
            f"problems; the second is better on {self.better}, worse on {self.worse}, the same on "
            f"{self.num_problems - self.better - self.worse}. Difference {self.difference:+.3f} (95 % interval "
            f"{self.low:+.3f} to {self.high:+.3f}), p = {self.p_value:.2g}."
        )
        changed = self.better + self.worse
        if self.p_value < SIGNIFICANT:
            return f"{head} More than chance: the {'second' if self.difference > 0 else 'first'} model is better here."
        if not changed:
            return f"{head} They do not differ on a single problem."
        verdict = f"{head} This can be chance: equal models would differ as much in {self.p_value:.0%} of the cases."
        if mcnemar_p_value(0, changed) >= SIGNIFICANT:
            problems = "problem" if changed == 1 else "problems"
            verdict += f" With only {changed} {problems} that changed, no outcome could have shown more."
        return verdict


def compare_values(name: str, first: Mapping[str, float], second: Mapping[str, float]) -> Comparison:
    """
    Compare two models by a value of each problem.

    Args:
        name (`str`):
            The measure; `"greedy_accuracy"` (0 or 1) is tested by McNemar's exact test.
        first, second (`dict[str, float]`):
            Value by problem id; only problems of both count.

    Returns:
        [`Comparison`].

    Example:

    ```python
    >>> from trl_srl.evaluation.comparison import compare_values
    >>> base = {str(problem): float(problem < 4) for problem in range(30)}
    >>> tuned = {str(problem): float(problem < 7) for problem in range(30)}
    >>> comparison = compare_values("greedy_accuracy", base, tuned)
    >>> comparison.better, comparison.worse, comparison.p_value  # three AIME problems more
    (3, 0, 0.25)

    ```
    """
    ids = [problem for problem in first if problem in second]
    if not ids:
        raise ValueError("The two evaluations have no problem in common, so nothing can be compared.")
    differences = [second[problem] - first[problem] for problem in ids]
    better, worse = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    exact = name == "greedy_accuracy"
    interval = bootstrap_interval(differences)
    return Comparison(
        name,
        math.fsum(first[problem] for problem in ids) / len(ids),
        math.fsum(second[problem] for problem in ids) / len(ids),
        interval.value,
        interval.low,
        interval.high,
        mcnemar_p_value(worse, better) if exact else sign_flip_p_value(differences),
        better,
        worse,
        len(ids),
    )


def _problem_values(folder: Path, results: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Measures by name: value by problem id."""
    from pyarrow import parquet

    rows = parquet.read_table(folder / PROBLEMS_FILE).to_pylist()
    if results["kind"] == "steps":
        names = ("similarity", "exact_step_rate", "format_rate")
        return {name: {row["problem_id"]: float(row[name]) for row in rows} for name in names}
    measures = {"greedy_accuracy": {row["problem_id"]: float(row["greedy_correct"]) for row in rows}}
    sampled = {row["problem_id"]: row["num_correct"] / row["num_samples"] for row in rows if row["num_samples"]}
    if sampled:
        measures["mean of samples"] = sampled
    return measures


def compare_results(first: str | Path, second: str | Path) -> tuple[list[Comparison], list[str]]:
    """
    Compare two evaluations of `trl-srl evaluate -o`.

    Args:
        first, second (`str` or `Path`):
            Their output folders.

    Returns:
        `tuple`: the comparisons (greedy accuracy and the mean of samples, or step similarity, exact steps and
        well-formed completions, all by problem), and notes on what is not the same in both: settings, problems.

    Raises:
        `ValueError`: when one holds steps and the other solutions, or they have no problem in common.
    """
    folders = [Path(first), Path(second)]
    results = [read_results(folder) for folder in folders]
    kinds = [result["kind"] for result in results]
    if kinds[0] != kinds[1]:
        raise ValueError(f"{first} holds {kinds[0]}, {second} holds {kinds[1]}: they cannot be compared.")
    values = [_problem_values(folder, result) for folder, result in zip(folders, results, strict=True)]
    notes = [
        f"{name} differs: {one!r} / {other!r}"
        for name in ("dataset", "split")
        if (one := results[0][name]) != (other := results[1][name])
    ]
    settings = [result["settings"] for result in results]
    notes += [
        f"the setting {name} differs: {settings[0].get(name)!r} / {settings[1].get(name)!r}"
        for name in sorted({*settings[0], *settings[1]} - {"batch_size"})
        if settings[0].get(name) != settings[1].get(name)
    ]
    sizes = [len(next(iter(measures.values()))) for measures in values]
    comparisons = [compare_values(name, values[0][name], values[1][name]) for name in values[0] if name in values[1]]
    shared = comparisons[0].num_problems
    if sizes != [shared, shared]:
        notes.append(f"only {shared:,} problems are in both ({sizes[0]:,} and {sizes[1]:,})")
    return comparisons, notes
