"""Parts → splits: which rows of all parts are kept, and the shards and the inspection that they become."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..formatting import COUNTED, INTERNAL, kept_places, step_row_features
from ..prompts import problem_text
from ..shards import ShardWriter
from ..step_rows import FormattingSummary
from .inspecting import EXAMPLES, TOKENIZED_ROWS, Inspection, make_example, sample_places
from .progress import progress


if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Parts:
    """
    All parts of a dataset, when they are whole.

    Attributes:
        source_rows (`int`): Rows of the source.
        summary ([`FormattingSummary`]): What is kept and dropped.
        keys (`dict[str, str]`): Id of each kept problem → key that near-duplicates share.
        collected (`list[dict]`): What [`Inspection.add_trajectory`] collected of each part.
        schema (`pa.Schema`): Of the rows to write, without internal columns and those that nothing fills.
    """

    def __init__(self, folder: Path, number: int):
        self._files = [folder / f"{part:06}.parquet" for part in range(number)]
        self.summary = FormattingSummary()
        self.source_rows, self.collected = 0, []
        has_answers, self._has_formats = False, False
        keys: dict[str, str] = {}
        for file in self._files:
            counts = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
            self.source_rows += counts["source_rows"]
            has_answers |= counts["answer"]
            keys |= counts["keys"]
            self.collected.append(counts["collected"])
        self._kept = list(self._find_kept())
        self.keys = {problem: keys.get(problem, problem) for problem in self.summary.problems}
        unused = {*INTERNAL, *(() if has_answers else ["answer"]), *(() if self._has_formats else ["action_format"])}
        self.schema = step_row_features(without=unused).arrow_schema

    def _find_kept(self) -> "Iterator[np.ndarray]":
        import numpy as np
        import pyarrow.parquet as pq

        seen: set[int] = set()
        for file in self._files:
            table = pq.read_table(file, columns=[*COUNTED, "action_format"])
            columns = (table[name].to_pylist() for name in COUNTED)
            kept = np.zeros(len(table), bool)
            kept[kept_places(zip(*columns, strict=True), self.summary, seen)] = True
            self._has_formats |= table["action_format"].null_count < len(table)
            yield kept

    def tables(self) -> "Iterator[tuple[pa.Table, np.ndarray]]":
        """The rows of each part, and which of them are neither unusable nor of a trajectory that was seen before."""
        import pyarrow.parquet as pq

        for file, kept in zip(self._files, self._kept, strict=True):
            yield pq.read_table(file), kept


def start_inspection(parts: Parts, validation: set[str]) -> Inspection:
    inspection = Inspection(problems=len(parts.keys))
    for collected in parts.collected:
        inspection.merge(collected)
    inspection.near_duplicates = len(parts.keys) - len(set(parts.keys.values()))
    training = {key for problem, key in parts.keys.items() if problem not in validation}
    inspection.shared_problems = sum(parts.keys[problem] in training for problem in validation)
    return inspection


def write_splits(
    parts: Parts,
    writers: Mapping[str, ShardWriter],
    splits: list[str],
    validation: set[str],
    inspection: Inspection | None,
    tokenizer: Any,
) -> dict[str, int]:
    """Write the kept rows of all parts into their splits, and look at them. Returns the rows of each split."""
    import pyarrow as pa
    import pyarrow.compute as pc

    problems = pa.array(sorted(validation), pa.string())
    written = dict.fromkeys(splits, 0)
    sample, shown = sample_places(parts.summary.rows, TOKENIZED_ROWS), sample_places(parts.summary.rows, 3)
    done = 0
    with progress("Writing", parts.summary.rows, "step rows") as advance:
        for table, kept in parts.tables():
            if inspection is not None:
                _add_duplicates(inspection, table, kept)
            table = table.filter(pa.array(kept))
            in_validation = pc.is_in(table["problem_id"], value_set=problems)
            for split in splits:
                rows = table.filter(in_validation if split == "validation" else pc.invert(in_validation))
                written[split] += len(rows)
                if split in writers:
                    writers[split].write(rows.select(parts.schema.names).cast(parts.schema))
                if inspection is not None:
                    inspection.add_step_rows(rows, split=splits.index(split))
            if inspection is not None:
                rows = table.select(parts.schema.names)
                inspection.rows += _take(rows, [place - done for place in shown])
                if tokenizer is not None:
                    inspection.add_tokens(_take(rows, [place - done for place in sample]), tokenizer)
            done += len(table)
            advance(len(table))
    return written


def _take(table: "pa.Table", places: list[int]) -> list[dict[str, Any]]:
    """The rows at those of the places that are in a table."""
    return [row for place in places if 0 <= place < len(table) for row in table.slice(place, 1).to_pylist()]


def _add_duplicates(inspection: Inspection, table: "pa.Table", kept: "np.ndarray") -> None:
    """Examples of trajectories that are usable, but were seen before: their first rows."""
    for place in (~kept).nonzero()[0]:
        if len(inspection.dropped.get("duplicate", ())) == EXAMPLES:
            return
        row = table.slice(place, 1).to_pylist()[0]
        if not row["drop_reason"] and row["step_index"] == 0:
            inspection.add_dropped("duplicate", [make_example(problem_text(row["prompt"]), row["expert_action"])])
