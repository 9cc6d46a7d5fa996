"""Parts of a large dataset: at most a thousand source rows, formatted, in one file with counts beside it."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..expansion import Options, expand_trajectory
from ..formatting import step_row_features
from ..loading import split_solutions
from ..shards import write_json, write_table
from ..splitting import problem_keys
from ..step_rows import refuse_step_rows
from .inspecting import Inspection
from .progress import without_dataset_bars
from .rewriting import REWRITE_PROMPT, Rewriter


if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, IterableDataset

MAX_PART_ROWS = 1024  # rows of the source
MAX_PART_BYTES = 4 * 2**20  # of the source: an agent's step rows hold five times as much, and are copied a few times


class Recipe(NamedTuple):
    """
    How source rows become step rows. One of three ways leads to trajectory rows: a named adapter, a column of whole
    solutions, or columns that are only renamed.

    Args:
        adapter (`str`, *optional*):
            Name of an adapter, see [`adapt`].
        adapter_options (`Mapping`, *optional*):
            The adapter's options.
        solution_column, problem_column, answer_column, style (*optional*):
            As in [`split_solutions`]; without `solution_column`, the columns to rename. A column `answer` is used
            unasked.
        rewriter ([`Rewriter`], *optional*):
            Rewrites the solutions.
        options ([`Options`], *optional*):
            Settings of [`format_trajectories`].
    """

    adapter: str | None = None
    adapter_options: Mapping[str, Any] | None = None
    solution_column: str | None = None
    problem_column: str = "problem"
    answer_column: str | None = None
    style: "str | re.Pattern[str]" = "auto"
    rewriter: Rewriter | None = None
    options: Options = Options()

    @property
    def max_part_rows(self) -> int:
        """Rewriting takes seconds for a row: small parts show progress, and little of them is lost."""
        return MAX_PART_ROWS if self.rewriter is None else min(MAX_PART_ROWS, 128)

    def make_trajectories(self, rows: "Dataset") -> "Dataset":
        """Source rows → trajectory rows."""
        if self.adapter is not None:
            from ..adapters import adapt

            rows = adapt(rows, self.adapter, **(self.adapter_options or {}))
        elif self.solution_column is not None:
            answer_column = self.answer_column
            if answer_column is None and "answer" in rows.column_names and self.solution_column != "answer":
                answer_column = "answer"
            style: Any = _whole if self.rewriter else self.style
            rows = split_solutions(rows, self.solution_column, self.problem_column, answer_column, style=style)
        else:
            renamed = {self.problem_column: "problem", self.answer_column: "answer"}
            rows = rows.rename_columns({old: new for old, new in renamed.items() if old and old != new})
        refuse_step_rows(rows)
        return rows if self.rewriter is None else self.rewriter.rewrite(rows)

    def settings(self) -> dict[str, Any]:
        """What decides what comes out, as JSON-like data. The function that counts tokens is not among it."""
        from .. import __version__

        style = self.style if isinstance(self.style, str) else f"/{self.style.pattern}/"
        settings = self._asdict() | vars(self.options) | {"style": style, "trl_srl": __version__}
        settings["adapter_options"] = {name: str(value) for name, value in (self.adapter_options or {}).items()}
        settings["part"] = [self.max_part_rows, MAX_PART_BYTES]
        del settings["options"], settings["count_tokens"]
        if self.rewriter is not None:
            model = self.rewriter.model
            settings["rewriter"] = {"model": model.name, "prompt": REWRITE_PROMPT, **model.settings}
        return settings


def _whole(text: str) -> list[str]:
    """A solution in one piece, to be rewritten."""
    return [text]


def cut_into_parts(dataset: "Dataset | IterableDataset", max_rows: int | None = None) -> "Iterator[pa.Table]":
    """Source rows in order, always the same ones together: at most `max_rows`, or `MAX_PART_ROWS`."""
    import pyarrow as pa

    tables: list[pa.Table] = []
    # A stream of unknown types would become a table for each row, whose types differ where a value is None.
    known = dataset.features is not None
    for batch in dataset.with_format("arrow" if known else None).iter(batch_size=16):
        tables.append(batch if known else pa.Table.from_pydict(batch))
        if (
            sum(map(len, tables)) >= (max_rows or MAX_PART_ROWS)
            or sum(table.nbytes for table in tables) >= MAX_PART_BYTES
        ):
            yield pa.concat_tables(tables, promote_options="permissive")
            tables = []
    if tables:
        yield pa.concat_tables(tables, promote_options="permissive")


def make_part(source: "pa.Table | pa.Buffer", number: int, folder: Path, recipe: Recipe) -> int:
    """Make one part of source rows, which another process sends as bytes. Returns the number of source rows."""
    import pyarrow as pa
    from datasets import Dataset

    if isinstance(source, pa.Buffer):
        source = pa.ipc.open_stream(source).read_all()
    with without_dataset_bars():  # for every part: there is one bar for all of them
        trajectories = recipe.make_trajectories(Dataset(source))
    # One trajectory after the other: the rows of all of them as Python objects would be several times larger.
    schema = step_row_features().arrow_schema
    tables, inspection = [schema.empty_table()], Inspection()
    keys: dict[str, str] = {}
    for trajectory in trajectories:
        rows = list(expand_trajectory(trajectory, recipe.options))
        tables.append(pa.Table.from_pylist(rows, schema=schema))
        inspection.add_trajectory(trajectory, rows)
        keys |= problem_keys(rows)
    table = pa.concat_tables(tables).combine_chunks()
    counts = {
        "source": source_digest(source),
        "source_rows": len(source),
        "answer": "answer" in trajectories.column_names,
        "keys": keys,
        "collected": inspection.collected(),
    }
    write_table(folder / f"{number:06}.parquet", table)
    write_json(folder / f"{number:06}.json", counts)  # last: where it is, the part is whole
    return len(source)


def is_made(number: int, folder: Path, source: "pa.Table") -> bool:
    """Whether a part is there, and was made of these source rows."""
    file = folder / f"{number:06}.json"
    return file.exists() and json.loads(file.read_text(encoding="utf-8"))["source"] == source_digest(source)


def source_digest(source: "pa.Table") -> str:
    """Hash of the rows, the same for a dataset and a stream."""
    import pyarrow as pa

    # Taken, rows are written alike, whatever table they are a slice of. Python objects would take five times as long.
    rows = source.combine_chunks().replace_schema_metadata().take(pa.array(range(len(source))))
    return hashlib.sha256(as_bytes(rows)).hexdigest()


def as_bytes(table: "pa.Table") -> "pa.Buffer":
    """A table for another process. Pickling a slice would send the whole table that it is a slice of."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
