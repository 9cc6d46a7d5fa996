"""Evaluation results in a run's folder → tables with intervals, and the `model-index` of the card's metadata."""

import json
import math
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

from huggingface_hub import EvalResult

from ..evaluation.results import LABELS
from .markdown import Markdown, escape, one_line, table


class Kind(NamedTuple):
    """What was evaluated: in words, on what, and the field of `results.json` that says how much of it."""

    title: str
    unit: str
    size: str


KINDS = {
    "solutions": Kind("Whole solutions", "problems", "num_problems"),
    "steps": Kind("The next step", "step rows", "num_rows"),
}


class Evaluation(NamedTuple):
    """One `results.json` of `trl-srl evaluate`."""

    kind: str
    model: str
    dataset: str
    split: str
    size: int
    settings: dict[str, Any]
    metrics: dict[str, dict[str, float]]

    @property
    def title(self) -> str:
        """What was evaluated, in words."""
        return KINDS[self.kind].title + (", step by step" if self.settings.get("step_by_step") else "")

    @property
    def checkpoint(self) -> str:
        """`checkpoint-N` if it is one that was evaluated, else empty."""
        name = Path(self.model).name
        return name if name.startswith("checkpoint-") else ""

    def is_of(self, run_dir: Path, hub_model_id: str | None) -> bool:
        """
        Whether the run's own model (or a checkpoint of it) was evaluated, and not one to compare with. A path that is
        not there, for the run was moved or evaluated elsewhere, is compared by its last name.
        """
        folder = Path(self.model).parent if self.checkpoint else Path(self.model)
        if folder.is_dir() and self.model != hub_model_id:
            return folder.resolve() == run_dir.resolve()
        return self.model == hub_model_id or folder.name == run_dir.resolve().name


def _read(file: Path) -> Evaluation:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        metrics = {
            one_line(name): {key: float(value[key]) for key in ("value", "low", "high") if value.get(key) is not None}
            for name, value in content["metrics"].items()
        }
        if not all("value" in metric for metric in metrics.values()):
            raise KeyError("value")
        return Evaluation(
            content["kind"],
            one_line(content["model"]),
            one_line(content["dataset"]),
            one_line(content.get("split") or ""),
            int(content[KINDS[content["kind"]].size]),
            dict(content.get("settings") or {}),
            metrics,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{file} is no result of `trl-srl evaluate` ({type(error).__name__}: {error}). Evaluate again with "
            f"-o {file.parent}, or delete it."
        ) from error


def read_evaluations(run_dir: str | Path) -> list[Evaluation]:
    """
    All of `<run_dir>/evaluation/**/results.json`, in the order of their paths.

    Raises:
        `ValueError`: If one is broken.
    """
    return [_read(file) for file in sorted(Path(run_dir, "evaluation").rglob("results.json"))]


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"


def _name(dataset: str) -> str:
    return Path(dataset).name if Path(dataset).is_absolute() or Path(dataset).exists() else dataset


def evaluation_tables(evaluations: list[Evaluation], run_dir: Path, hub_model_id: str | None) -> Markdown:
    """One table for each kind, data set, split and settings; its columns are the models that were evaluated so."""
    groups: dict[tuple[str, str, str, int, str], list[Evaluation]] = {}
    for evaluation in evaluations:
        settings = ", ".join(
            f"{name} = {shorten(one_line(value), 80)}"
            for name, value in evaluation.settings.items()
            if value is not None
        )
        key = (evaluation.kind, _name(evaluation.dataset), evaluation.split, evaluation.size, settings)
        groups.setdefault(key, []).append(evaluation)
    blocks = []
    for (kind, dataset, split, size, settings), group in groups.items():
        where = f"{escape(dataset)}, {escape(split)}" if split else escape(dataset)
        header = ["", *(_model_title(evaluation, run_dir, hub_model_id) for evaluation in group)]
        names = dict.fromkeys(name for evaluation in group for name in evaluation.metrics)
        rows = [
            [LABELS.get(name, name), *(_cell(evaluation.metrics.get(name)) for evaluation in group)] for name in names
        ]
        blocks.append(f"**{group[0].title}: {where}** ({size:,} {KINDS[kind].unit})\n\n{table(header, rows)}")
        if settings:
            blocks.append(f"Settings: {escape(settings)}.")
    return Markdown("\n\n".join(blocks))


def _model_title(evaluation: Evaluation, run_dir: Path, hub_model_id: str | None) -> str:
    if evaluation.is_of(run_dir, hub_model_id):
        return evaluation.checkpoint or "this model"
    return _name(evaluation.model)


def _cell(metric: dict[str, float] | None) -> str:
    if metric is None:
        return "–"
    if "low" in metric and "high" in metric:
        return f"{_number(metric['value'])} ({_number(metric['low'])} to {_number(metric['high'])})"
    return _number(metric["value"])


def eval_results(evaluations: list[Evaluation], run_dir: Path, hub_model_id: str | None) -> list[EvalResult]:
    """The results of this model itself, for `model-index`; intervals stand in `metric_args`."""
    results = []
    for evaluation in evaluations:
        if not evaluation.is_of(run_dir, hub_model_id) or evaluation.checkpoint:
            continue
        for name, metric in evaluation.metrics.items():
            if not math.isfinite(metric["value"]):
                continue  # YAML has such numbers, the Hub has not
            interval = {"low": metric.get("low"), "high": metric.get("high"), "confidence": 0.95}
            has_interval = interval["low"] is not None and interval["high"] is not None
            results.append(
                EvalResult(
                    task_type="text-generation",
                    dataset_type=_name(evaluation.dataset),
                    dataset_name=_name(evaluation.dataset),
                    dataset_split=evaluation.split or None,
                    metric_type=name,
                    metric_name=f"{name} ({evaluation.title.lower()})",
                    metric_value=metric["value"],
                    metric_args=interval if has_interval else None,
                )
            )
    return results
