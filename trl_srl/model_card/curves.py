"""Curves of a run: a picture beside the card, or a plain table where matplotlib is missing."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..training_log import METRICS, Log, eval_prefix, eval_sets, series
from .markdown import Markdown, table


PICTURE = "figures/training.png"
ROWS = 8  # of the table that stands in for the picture


def write_curves(log_history: Log, run_dir: Path) -> str | None:
    """Draw the curves into `<run_dir>/figures/training.png`; None without matplotlib, or if there are none."""
    logs = {"training": log_history}
    for name in eval_sets(log_history):
        prefix = eval_prefix(name)
        logs[f"evaluation {name}".rstrip()] = [
            {key.removeprefix(prefix): entry[key] for key in entry if key == "step" or key.startswith(prefix)}
            for entry in log_history
        ]
    metrics = [key for key in METRICS if any(series(log, key)[0] for log in logs.values())]
    if not metrics or find_spec("matplotlib") is None:
        return None
    from ..plots import plot_runs

    plot_runs({name: [log] for name, log in logs.items()}, run_dir / PICTURE, metrics=metrics)
    return PICTURE


def curve_table(log_history: Log) -> Markdown | None:
    """Some steps of the run with their metrics, evenly spread; None if nothing was logged."""
    curves = {key: title for key, title in METRICS.items() if series(log_history, key)[0]}
    entries = [entry for entry in log_history if any(isinstance(entry.get(key), (int, float)) for key in curves)]
    if not entries:
        return None
    last = len(entries) - 1
    places = sorted({round(i * last / (ROWS - 1)) for i in range(ROWS)})
    return table(["Step", *curves.values()], [_row(entries[place], list(curves)) for place in places])


def _row(entry: Any, keys: list[str]) -> list[str]:
    values = [entry.get(key) for key in keys]
    return [f"{entry['step']:.0f}", *("–" if value is None else f"{value:.3g}" for value in values)]
