"""What the demo shows: a table, and the reward curve as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from ..evaluation import StepEvaluation


try:  # here and not at the end of a run, which it would lose
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError("The reward curve needs the package matplotlib: pip install 'trl-srl[demo]'") from error


METRICS = {
    "similarity": "step similarity",
    "format_rate": "well-formed completions",
    "exact_step_rate": "exact steps",
    "right_number_rate": "right numbers",
}
DECODING = {"greedy": 0.0, "sampled": 1.0}
_CURVES = {
    "reward": "reward, trained groups",
    "srl/similarity": "step similarity, all rollouts",
    "srl/format_rate": "share of well-formed rollouts",
}


def plot_reward_curve(log_history: Sequence[dict[str, Any]], path: str | Path) -> None:
    """
    Draw reward, similarity and the share of well-formed completions over the training steps.

    Args:
        log_history (`list[dict]`):
            `trainer.state.log_history`.
        path (`str` or `Path`):
            Where to write the picture.
    """
    logs = [log for log in log_history if "reward" in log]
    steps = [log["step"] for log in logs]
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)  # no display is needed, and pyplot's global state is left alone
    axes = figure.subplots()
    for name, label in _CURVES.items():
        axes.plot(steps, [log[name] for log in logs], label=label)
    axes.set(xlabel="training step", ylabel="mean over the rollouts of a step", title="SRL demo")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def results_table(before: dict[str, StepEvaluation], after: dict[str, StepEvaluation], num_rows: int) -> Table:
    """Every metric before and after, for each way of decoding."""
    table = Table(title=f"{num_rows} steps of held-out problems")
    for column, justify in (("decoding", "left"), ("", "left"), ("before", "right"), ("after", "right")):
        table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for decoding in DECODING:
        for metric, label in METRICS.items():
            values = [getattr(evaluations[decoding], metric) for evaluations in (before, after)]
            cells = [f"{value:.3f}" if metric == "similarity" else f"{value:.1%}" for value in values]
            table.add_row(decoding, label, *cells, end_section=metric == "right_number_rate")
    return table
