"""What a run shows in a terminal: a table there, plain text where the output goes into a file or a pipe."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm
from transformers import ProgressCallback

from .doctor import Diagnosis
from .training_log import Change, by_split, eval_prefix, eval_sets


# Of some forty numbers at each logging step, those that a person looks at while the run goes on.
IN_A_LINE = {
    "reward_all_groups": "reward {:.3f}",
    "srl/similarity": "similarity {:.3f}",
    "srl/exact_step_rate": "exact {:.1%}",
    "srl/format_rate": "well-formed {:.0%}",
    "dynamic_sampling/acceptance": "informative groups {:.0%}",
    "completions/mean_length": "{:.0f} tokens",
}


class LineProgress(ProgressCallback):
    """
    transformers' progress bar, with one line for each logging step.

    The difference: transformers prints all that is logged, a dozen lines of a terminal each time. It still stands in
    `trainer_state.json` and the trackers, and in the output where that is no terminal. GRPO's loss, which is about 0
    whatever the model learns, is not in the line.
    """

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """As [`~transformers.TrainerCallback.on_log`]."""
        lines = log_lines(state.global_step, logs or {})
        if not lines or not sys.stdout.isatty():
            super().on_log(args, state, control, logs=logs, **kwargs)
        elif state.is_world_process_zero and self.training_bar is not None:
            self.training_bar.write("\n".join(lines))


def log_lines(step: int, logs: dict[str, float]) -> list[str]:
    """
    A line for the training and for each evaluation set that was logged; none where no metric of ours was.

    ```python
    >>> from trl_srl.terminal import log_lines
    >>> log_lines(20, {"loss": 0.0, "reward_all_groups": 0.25, "srl/similarity": 0.5, "srl/format_rate": 0.875})
    ['step 20: reward 0.250, similarity 0.500, well-formed 88%']
    >>> log_lines(20, {"eval_loss": 0.0, "eval_srl/similarity": 0.625})
    ['step 20, eval: similarity 0.625']

    ```
    """
    lines = []
    for prefix in ("", *map(eval_prefix, eval_sets([logs]))):
        values = {key: logs.get(prefix + key) for key in IN_A_LINE}
        said = [IN_A_LINE[key].format(value) for key, value in values.items() if value is not None]
        if said:
            lines.append(f"step {step}{prefix and ', '}{prefix.removesuffix('_')}: {', '.join(said)}")
    return lines


def show(table: Table, plain: str) -> None:
    """Print the table into a terminal or a notebook, else the plain text; progress bars make room for it."""
    console = Console()
    with tqdm.external_write_mode():
        if console.is_terminal or console.is_jupyter:
            console.print(table)
        else:
            console.print(plain, markup=False, highlight=False, emoji=False, soft_wrap=True)


def diagnosis_table(diagnosis: Diagnosis) -> Table:
    """The report on the first batch. Texts of the model are no markup, whatever they contain."""
    table = Table(title="First batch", title_justify="left", show_header=False)
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for name, share in diagnosis.shares.items():
        table.add_row(f"{share:.0%}", name)
    table.add_section()
    for name, text in diagnosis.examples.items():
        table.add_row(name, Text(text))
    for advice in diagnosis.advice:
        table.add_section()
        table.add_row("What to do", Text(advice, style="bold yellow"))
    return table


def results_table(changes: Sequence[Change], title: str) -> Table:
    """Metrics at the beginning (if that is not the end) and at the end, for the training and each evaluation set."""
    table = Table(title=title, title_justify="left")
    for column in ("", "metric", "at the beginning", "at the end"):
        table.add_column(column, justify="right" if column.startswith("at") else "left")
    for (split, first, last), group in by_split(changes).items():
        once = first == last
        table.add_row(Text(split, style="bold"), "", "" if once else first, last, style="dim")
        for change in group:
            table.add_row("", change.title, "" if once else f"{change.first:.3f}", f"{change.last:.3f}")
        table.add_section()
    return table


def results_text(changes: Sequence[Change], title: str) -> str:
    """The same as text, a line for each metric."""
    lines = [title]
    for (split, first, last), group in by_split(changes).items():
        once = first == last
        lines.append(f"{split}, {last}:" if once else f"{split}, {first} → {last}:")
        lines += [f"  {c.title}: {'' if once else f'{c.first:.3f} → '}{c.last:.3f}" for c in group]
    return "\n".join(lines)
