"""The rollouts that the page lets one browse, packed: equal texts once, numbers in columns.

A page of every rollout of a long run would not open. Of more than `max_rollouts`, whole groups at equal distances are
taken, so that every part of the training is there; the page says how many are left out. Texts longer than
`MAX_LENGTH` characters, which is what the similarity compares, are cut, and their length is kept.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..matching import Expert, matching_blocks
from ..similarity import MAX_LENGTH


GroupKey = tuple[str, int, int]  # split, step, group


def choose_groups(files: Iterable[Path], max_rollouts: int) -> tuple[set[GroupKey], int]:
    """The groups to show, and how many rollouts there are in all."""
    sizes: dict[GroupKey, int] = {}
    for file in files:
        columns = pq.read_table(file, columns=["split", "step", "group"]).to_pydict()
        for key in zip(columns["split"], columns["step"], columns["group"], strict=True):
            sizes[key] = sizes.get(key, 0) + 1
    total = sum(sizes.values())
    if total <= max_rollouts:
        return set(sizes), total
    # A group is taken where the share of rollouts that may be shown passes the next whole group.
    chosen, passed, taken = set(), 0, 0
    for key in sorted(sizes):
        passed += sizes[key]
        if taken + sizes[key] <= passed * max_rollouts / total:
            chosen.add(key)
            taken += sizes[key]
    return chosen, total


class PackedRollouts:
    """Columns of rollouts as JSON can hold them; texts are places in `texts`."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.cut: dict[int, int] = {}  # place of a cut text → its length
        self.prompts: list[list[int]] = []  # role, content, role, content, …
        self.columns: dict[str, list] = {}
        self._places: dict[str, int] = {}
        self._prompt_places: dict[tuple[int, ...], int] = {}
        self._blocks: dict[tuple[int, int], list[int]] = {}
        self._expert: tuple[int, Expert] | None = None  # of one group: its names may take a thousand times its length

    def _text(self, text: str | None) -> int | None:
        return None if text is None else self._place(text)

    def _place(self, text: str) -> int:
        if text not in self._places:
            self._places[text] = len(self.texts)
            if len(text) > MAX_LENGTH:
                self.cut[len(self.texts)] = len(text)
            self.texts.append(text[:MAX_LENGTH])
        return self._places[text]

    def _prompt(self, messages: list[dict[str, str]]) -> int:
        key = tuple(place for m in messages for place in (self._place(m["role"]), self._place(m["content"])))
        if key not in self._prompt_places:
            self._prompt_places[key] = len(self.prompts)
            self.prompts.append(list(key))
        return self._prompt_places[key]

    def _matching(self, action: int | None, expert: int | None) -> list[int] | None:
        """Start in the action, start in the expert's step and length of every matching block, one after the other."""
        if action is None or expert is None:
            return None
        if (action, expert) not in self._blocks:
            if self._expert is None or self._expert[0] != expert:
                self._expert = expert, Expert(self.texts[expert])
            blocks = matching_blocks(self.texts[action], self._expert[1])
            self._blocks[action, expert] = [number for block in blocks for number in block]
        return self._blocks[action, expert]

    def add(self, row: Mapping[str, Any]) -> None:
        action, expert = self._text(row["action"]), self._text(row["expert_action"])
        packed = {
            **{name: row[name] for name in ("step", "split", "group", "refill_round", "step_index", "num_steps")},
            **{name: row[name] for name in ("verdict", "sampling")},
            **{name: _short(row[name]) for name in ("similarity", "reward", "advantage")},
            "problem_id": self._text(row["problem_id"]),
            "prompt": self._prompt(row["prompt"]),
            "monologue": self._text(row["monologue"]),
            "action": action,
            "expert_action": expert,
            # Of a well-formed completion monologue and action are all there is, but for an agent's prose.
            "completion": self._text(row["completion"]) if action is None else None,
            "blocks": self._matching(action, expert),
        }
        for name, value in packed.items():
            self.columns.setdefault(name, []).append(value)

    def as_json(self) -> dict[str, Any]:
        return {"texts": self.texts, "cut": self.cut, "prompts": self.prompts, "columns": self.columns}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
