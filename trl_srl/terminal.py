"""What a run shows in a terminal: a table there, plain text where the output goes into a file or a pipe."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from .doctor import Diagnosis
from .training_log import Change, by_split


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
