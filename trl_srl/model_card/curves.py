"""Curves of a run: a picture beside the card, or a plain table where matplotlib is missing."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..training_log import Log, eval_sets, series
from .markdown import Markdown, table


PICTURE = "figures/training.png"
# Title of a panel → key in the log and label of its curves. Rates share an axis, other units have their own.
PANELS = {
    "Reward": {"reward": "reward", "reward_all_groups": "reward of all sampled groups"},
    "Steps": {
        "srl/similarity": "similarity",
        "srl/exact_step_rate": "exact steps",
        "srl/format_rate": "well-formed",
        "srl/truncated_rate": "cut off",
    },
    "Dynamic sampling": {"dynamic_sampling/acceptance": "informative groups"},
    "Completion length": {"completions/mean_length": "tokens, mean"},
}
ROWS = 8  # of the table that stands in for the picture


def write_curves(log_history: Log, run_dir: Path) -> str | None:
    """Draw the curves into `<run_dir>/figures/training.png`; None without matplotlib, or if there are none."""
    panels = {title: curves for title, curves in PANELS.items() if any(series(log_history, key)[0] for key in curves)}
    if not panels or find_spec("matplotlib") is None:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5 * columns, 3.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)  # no display is needed, and pyplot's global state is left alone
    all_axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, (title, curves) in zip(all_axes, panels.items(), strict=False):
        _draw(axes, title, curves, log_history)
    for axes in all_axes[len(panels) :]:
        axes.remove()
    (run_dir / PICTURE).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(run_dir / PICTURE, dpi=120, bbox_inches="tight")
    return PICTURE


def _draw(axes: Any, title: str, curves: dict[str, str], log_history: Log) -> None:
    for key, label in curves.items():
        steps, values = series(log_history, key)
        if not steps:
            continue
        (line,) = axes.plot(steps, values, label=label, marker="." if len(steps) == 1 else "")
        for name in eval_sets(log_history):
            steps, values = series(log_history, f"eval_{name}_{key}" if name else f"eval_{key}")
            if steps:
                # `$` would begin mathematics, and a name comes from the user.
                label_of_set = f"{label}, {name or 'evaluation'}".replace("$", r"\$")
                axes.plot(steps, values, "o--", markersize=3, color=line.get_color(), label=label_of_set)
    axes.set(title=title, xlabel="training step")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)


def curve_table(log_history: Log) -> Markdown | None:
    """Some steps of the run with their metrics, evenly spread; None if nothing was logged."""
    curves = {key: label for panel in PANELS.values() for key, label in panel.items() if series(log_history, key)[0]}
    entries = [entry for entry in log_history if any(isinstance(entry.get(key), (int, float)) for key in curves)]
    if not entries:
        return None
    last = len(entries) - 1
    places = sorted({round(i * last / (ROWS - 1)) for i in range(ROWS)})
    return table(["Step", *curves.values()], [_row(entries[place], list(curves)) for place in places])


def _row(entry: Any, keys: list[str]) -> list[str]:
    values = [entry.get(key) for key in keys]
    return [f"{entry['step']:.0f}", *("–" if value is None else f"{value:.3g}" for value in values)]
