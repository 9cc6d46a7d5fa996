"""Numbers of a run from all of its rollouts: per training step, per step index, and at its beginning and its end.

Malformed completions always count: as 0 in every rate and in `similarity`. Only what is named after well-formed
completions leaves them out.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from ..answers import right_number


T = TypeVar("T")

# Means of these are shown; each is a pair of a sum and a count.
RATES = (
    "reward",
    "reward_trained",
    "similarity",
    "similarity_well_formed",
    "format_rate",
    "exact_rate",
    "truncated_rate",
    "right_number_rate",
    "length_ratio",
    "monologue_length",
)
INFORMATIVE = ("trained", "surplus")  # what dynamic sampling can train on
MAX_POINTS = 1000  # of a curve


def in_points(values: Sequence[T]) -> list[Sequence[T]]:
    """Neighbours that make one point of a curve: at most `MAX_POINTS` of them, equally large but for the last."""
    size = -(-len(values) // MAX_POINTS) or 1
    return [values[start : start + size] for start in range(0, len(values), size)]


class Means:
    """Running means, by name."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = defaultdict(float)
        self.counts: dict[str, int] = defaultdict(int)
        self.rows = 0

    def add(self, name: str, value: float | None) -> None:
        if value is not None:
            self.sums[name] += value
            self.counts[name] += 1

    def add_rollout(self, row: Mapping[str, Any]) -> None:
        self.rows += 1
        well_formed = row["action"] is not None
        self.add("reward", row["reward"])
        self.add("reward_trained", row["reward"] if row["sampling"] == "trained" else None)
        self.add("truncated_rate", row["verdict"] == "truncated")
        if row["expert_action"] is None:
            return
        self.add("similarity", row["similarity"] if well_formed else 0.0)
        self.add("similarity_well_formed", row["similarity"])
        self.add("format_rate", well_formed)
        self.add("exact_rate", row["verdict"] == "exact")
        self.add("right_number_rate", right_number(row["action"], row["expert_action"]))
        if well_formed:
            self.add("length_ratio", len(row["action"]) / max(len(row["expert_action"]), 1))
            self.add("monologue_length", len(row["monologue"]))

    def merge(self, other: "Means") -> None:
        self.rows += other.rows
        for name, count in other.counts.items():
            self.sums[name] += other.sums[name]
            self.counts[name] += count

    def mean(self, name: str) -> float | None:
        return self.sums[name] / self.counts[name] if self.counts[name] else None

    def as_dict(self) -> dict[str, Any]:
        means: dict[str, Any] = {name: self.mean(name) for name in RATES}
        return means | {"rows": self.rows, "rows_with_number": self.counts["right_number_rate"]}


class RunStatistics:
    """Everything the page says of the run as a whole, gathered row by row."""

    def __init__(self) -> None:
        self._means: dict[tuple[str, int, int | None], Means] = defaultdict(Means)  # split, step, step index
        self._groups: dict[tuple[str, int], dict[int, str]] = defaultdict(dict)  # split, step → group → sampling
        self.verdicts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.sampling: dict[str, int] = defaultdict(int)

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            split, step = row["split"], row["step"]
            self._means[split, step, row["step_index"]].add_rollout(row)
            self.verdicts[split][row["verdict"] or "none"] += 1
            if row["sampling"] is not None:
                self._groups[split, step][row["group"]] = row["sampling"]
                self.sampling[row["sampling"]] += 1

    def _steps(self, split: str) -> list[int]:
        return sorted({step for found, step, _ in self._means if found == split})

    def splits(self) -> list[str]:
        """Training first."""
        return sorted({split for split, _, _ in self._means}, key=lambda split: (split != "train", split))

    def _over(self, split: str, steps: Iterable[int], index: int | None = None) -> Means:
        total, wanted = Means(), set(steps)
        for (found, step, step_index), means in self._means.items():
            if found == split and step in wanted and (index is None or step_index == index):
                total.merge(means)
        return total

    def curves(self) -> dict[str, dict[str, list]]:
        """
        split → name → a value for each step, `step` among them. Of more than `MAX_POINTS` steps several are one point,
        their mean, named after the last.
        """
        curves: dict[str, dict[str, list]] = {}
        for split in self.splits():
            by_step: dict[int, Means] = defaultdict(Means)
            for (found, step, _), means in self._means.items():
                if found == split:
                    by_step[step].merge(means)
            points = in_points(sorted(by_step))
            merged = [Means() for _ in points]
            for steps, means in zip(points, merged, strict=True):
                for step in steps:
                    means.merge(by_step[step])
            curve: dict[str, list] = {"step": [steps[-1] for steps in points], "rows": [m.rows for m in merged]}
            curve |= {name: [means.mean(name) for means in merged] for name in RATES}
            curve["acceptance"] = [self._acceptance(split, steps) for steps in points]
            curves[split] = {name: values for name, values in curve.items() if any(v is not None for v in values)}
        return curves

    def _acceptance(self, split: str, steps: Sequence[int]) -> float | None:
        groups = [sampling for step in steps for sampling in self._groups.get((split, step), {}).values()]
        return sum(sampling in INFORMATIVE for sampling in groups) / len(groups) if groups else None

    def ends(self, split: str) -> dict[str, dict[str, Any]]:
        """The first and the last tenth of a split's steps (at least one step each), as means over their rollouts."""
        steps = self._steps(split)
        few = max(len(steps) // 10, 1)
        return {
            name: self._over(split, part).as_dict() | {"from": part[0], "to": part[-1]}
            for name, part in (("first", steps[:few]), ("last", steps[-few:]))
        }

    def by_step_index(self, split: str) -> list[dict[str, Any]]:
        """For each place of a step in its solution: the first and the last quarter of the training steps."""
        steps = self._steps(split)
        quarter = max(len(steps) // 4, 1)
        indices = sorted({index for found, _, index in self._means if found == split and index is not None})
        return [
            {
                "index": index,
                "first": self._over(split, steps[:quarter], index).as_dict(),
                "last": self._over(split, steps[-quarter:], index).as_dict(),
            }
            for index in indices
        ]
