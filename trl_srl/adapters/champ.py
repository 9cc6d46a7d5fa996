"""CHAMP: competition problems with steps written by people, as the package champ-dataset holds them."""

from typing import Any

from ..trajectories import Step
from .adapter import Adapter, Row, solution_row


def convert_champ(row: Row) -> dict[str, Any]:
    """Entries of `problems` in the package's `v0.json`; its fields with an underscore are the texts without markup."""
    solution = (row["solution"] or {}).get("steps") or []
    steps = [Step("", (step["_text"] or "").strip()) for step in solution]
    return solution_row(row["_text"], steps, row.get("_answer"))


ADAPTERS = (Adapter("champ", "entries of the package champ-dataset", ("_text", "solution"), convert_champ),)
