"""Curves of runs as a picture: a panel for each metric, a line for each group of runs, a band for their spread."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import training_log
from .training_log import METRICS, Log


try:  # here and not at the end of a run, which it would lose
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError("Plots need the package matplotlib: pip install 'trl-srl[plot]'") from error


Series = dict[int, float]  # step → value

BANDS = {"min-max": "band: lowest to highest run", "std": "band: mean ± standard deviation of the runs"}
FORMATS = (".png", ".svg", ".pdf")


def series(log: Log, metric: str, smooth: int = 1) -> Series:
    """
    A metric of one run by step, each value the mean of the `smooth` that were logged last.

    ```python
    >>> from trl_srl.plots import series
    >>> log = [{"step": 1, "reward": 0.5}, {"step": 2, "reward": None}, {"step": 3, "reward": 1.0}]
    >>> series(log, "reward", smooth=2)
    {1: 0.5, 3: 0.75}

    ```
    """
    steps, values = training_log.series(log, metric)
    windows = [values[max(place + 1 - smooth, 0) : place + 1] for place in range(len(values))]
    return {step: sum(window) / len(window) for step, window in zip(steps, windows, strict=True)}


def spread(runs: Sequence[Series], band: str = "min-max") -> tuple[list[int], list[float], list[float], list[float]]:
    """
    Steps that all runs logged, with the mean and the lower and upper edge of the band.

    ```python
    >>> from trl_srl.plots import spread
    >>> spread([{1: 0.0, 2: 1.0}, {1: 1.0, 2: 3.0, 3: 5.0}])
    ([1, 2], [0.5, 2.0], [0.0, 1.0], [1.0, 3.0])
    >>> spread([{1: 0.0}, {1: 1.0}], band="std")
    ([1], [0.5], [0.0], [1.0])

    ```
    """
    steps = sorted(set.intersection(*(set(run) for run in runs)))
    columns = [[run[step] for run in runs] for step in steps]
    means = [sum(values) / len(values) for values in columns]
    if band == "min-max":
        return steps, means, [min(values) for values in columns], [max(values) for values in columns]
    deviations = [
        (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
        for values, mean in zip(columns, means, strict=True)
    ]
    low = [mean - deviation for mean, deviation in zip(means, deviations, strict=True)]
    return steps, means, low, [mean + deviation for mean, deviation in zip(means, deviations, strict=True)]


def plot_runs(
    groups: Mapping[str, Sequence[Log]],
    path: str | Path,
    *,
    metrics: Sequence[str] | None = None,
    band: str = "min-max",
    smooth: int = 1,
    title: str | None = None,
) -> list[str]:
    """
    Draw runs beside each other.

    Args:
        groups (`dict[str, list]`):
            Name → logs (`trainer.state.log_history`) of runs that differ in their seed: one line, with a band over
            them if there are several.
        path (`str` or `Path`):
            The picture, `.png`, `.svg` or `.pdf`.
        metrics (`list[str]`, *optional*):
            Names in the log, one panel for each; by default those of `training_log.METRICS` that a run has.
        band (`str`, *optional*, defaults to `"min-max"`):
            `"min-max"`, or `"std"`: mean ± population standard deviation.
        smooth (`int`, *optional*, defaults to `1`):
            Each value is the mean of so many logged ones.
        title (`str`, *optional*):
            Title of the picture.

    Returns:
        `list[str]`: what is not in the picture: steps that not all runs of a group have, metrics that a group lacks.

    Raises:
        `ValueError`: for a metric that no run has, or runs of one group without a common step.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"{path.name} is no picture. Its name must end in {', '.join(FORMATS)}.")
    if band not in BANDS or smooth < 1:
        raise ValueError(f"band={band!r}, smooth={smooth}: band is one of {', '.join(BANDS)}, smooth 1 or more.")
    logged = sorted({name for logs in groups.values() for log in logs for entry in log for name in entry})
    wanted = list(metrics) if metrics is not None else [name for name in METRICS if name in logged]
    if unknown := [name for name in wanted if name not in logged] or (not wanted and ["any of the usual metrics"]):
        raise ValueError(f"No run logged {', '.join(unknown)}. They logged: {', '.join(logged) or 'nothing'}.")
    columns = min(len(wanted), 3)
    rows = -(-len(wanted) // columns)
    left_out: list[str] = []
    # A dollar sign in a run's name is not mathematics, and the same runs give the same file.
    with rc_context({"text.parse_math": False, "svg.hashsalt": "trl-srl", "svg.fonttype": "none"}):
        figure = Figure(figsize=(max(4.2 * columns, 6), 3.2 * rows + 0.3), layout="constrained")
        FigureCanvasAgg(figure)  # no display is needed, and pyplot's global state is left alone
        all_axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes, metric in zip(all_axes, wanted, strict=False):
            for place, (name, logs) in enumerate(groups.items()):
                runs = [series(log, metric, smooth) for log in logs]
                left_out += _draw(axes, name, runs, metric, band, color=f"C{place}")
            axes.set(title=METRICS.get(metric, metric), xlabel="training step")
            axes.title.set_fontsize("medium")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
        for axes in all_axes[len(wanted) :]:
            axes.remove()
        if len(groups) > 1 or any(len(logs) > 1 for logs in groups.values()):
            lines = {line.get_label(): line for axes in all_axes[: len(wanted)] for line in axes.get_lines()}
            several = any(len(logs) > 1 for logs in groups.values())
            figure.legend(
                lines.values(), lines, loc="outside lower center", ncols=4, title=BANDS[band] if several else None
            )
        if title is not None:
            figure.suptitle(title)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return left_out


def _draw(axes: Any, name: str, runs: list[Series], metric: str, band: str, color: str) -> list[str]:
    having = [run for run in runs if run]
    if not having:
        return [f"{name}: {metric} was not logged"]
    steps, means, low, high = spread(having, band)
    if not steps:
        raise ValueError(
            f"The runs of {name} have no step in common at which {metric} was logged. Compare runs with the same "
            "logging_steps, or give each its own name: NAME=DIR."
        )
    label = f"{name} ({len(runs)} runs)" if len(runs) > 1 else name
    axes.plot(steps, means, label=label, color=color, marker="o" if len(steps) == 1 else "")
    if len(having) > 1:
        axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    missing = len(set().union(*having)) - len(steps)
    return [
        *([f"{name}: {missing} steps of {metric} that not every run has"] if missing else []),
        *([f"{name}: {len(runs) - len(having)} runs without {metric}"] if len(having) < len(runs) else []),
    ]
