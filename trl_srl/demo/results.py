"""What the demo shows: every metric before and after, as a table."""

from rich.table import Table

from ..evaluation import StepEvaluation


METRICS = {
    "similarity": "step similarity",
    "format_rate": "well-formed completions",
    "exact_step_rate": "exact steps",
    "right_number_rate": "right numbers",
}
DECODING = {"greedy": 0.0, "sampled": 1.0}


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
