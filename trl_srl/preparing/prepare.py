"""Data of any size → step rows on disk. Survives kills, and needs the memory of a few hundred trajectories.

1. *Parts.* Some rows of the source, at most a thousand, become one part: a Parquet file of step rows with their drop
   reasons, and a JSON file of counts (parts.py). Parts are independent: several processes make them, and a later run
   makes only those that are missing, or whose source rows are others now.
2. *Splits.* When all parts are there, a first reading of a few columns finds duplicates and the validation problems, a
   second one writes the shards. What is remembered of a trajectory and its problem are digests, about half a kilobyte.

Everything unfinished lies in `<output_dir>/.unfinished`, which `datasets` does not read; the shards are moved out of
it when all of them are whole.
"""

import json
import shutil
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..shards import UNFINISHED, ShardWriter, publish, write_json
from ..splitting import choose_validation
from ..step_rows import FormattingSummary, column_names, explain_no_rows
from .assembling import Parts, start_inspection, write_splits
from .inspecting import Inspection, shorten
from .parts import Recipe, as_bytes, cut_into_parts, is_made, make_part
from .progress import progress


if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


class Prepared(NamedTuple):
    """
    What was made.

    Attributes:
        source_rows (`int`): Rows read.
        summary ([`FormattingSummary`]): What was kept and dropped.
        rows (`dict[str, int]`): Step rows in each split.
        files (`dict[str, list[Path]]`): Shards of each split; empty if nothing was to be written.
        inspection ([`Inspection`], *optional*): If it was asked for.
    """

    source_rows: int
    summary: FormattingSummary
    rows: dict[str, int]
    files: dict[str, list[Path]]
    inspection: Inspection | None


def prepare_step_rows(
    dataset: "Dataset | IterableDataset",
    output_dir: str | Path,
    recipe: Recipe | None = None,
    *,
    source: str = "",
    identity: Mapping[str, Any] | None = None,
    validation_size: int | float | None = None,
    seed: int = 42,
    num_proc: int | None = None,
    file_format: str = "parquet",
    inspect: bool = False,
    write: bool = True,
    tokenizer: Any = None,
    tell: Callable[[str], None] | None = None,
) -> Prepared:
    """
    Write the step rows of a dataset to a folder: the splits `train` and perhaps `validation`, and `summary.json`.

    A run that was killed goes on where it stopped when it is started with the same arguments, and ends with the same
    files; with others it starts anew. What was made of source rows that are others now is made anew, too.

    Args:
        dataset ([`~datasets.Dataset`] or [`~datasets.IterableDataset`]):
            Source rows.
        output_dir (`str` or `Path`):
            Folder to write to. What an earlier run left there is replaced when all is done.
        recipe ([`Recipe`], *optional*):
            How source rows become step rows; trajectory rows with the default settings by default.
        source (`str`, *optional*, defaults to `""`):
            Name of the data, for `summary.json`.
        identity (`Mapping`, *optional*):
            What decides what comes out beside the rows and the recipe, as JSON-like data: the model whose tokenizer
            counts. Unfinished work with another one is not continued.
        validation_size, seed (*optional*):
            As in [`split_by_problem`], streams included. No validation split by default.
        num_proc (`int`, *optional*):
            Processes that format.
        file_format (`str`, *optional*, defaults to `"parquet"`):
            `"parquet"` or `"jsonl"`.
        inspect (`bool`, *optional*, defaults to `False`):
            Whether to look at the data, see [`Inspection`].
        write (`bool`, *optional*, defaults to `True`):
            Whether to write the splits.
        tokenizer (*optional*):
            Counts tokens for the inspection.
        tell (`Callable[[str], None]`, *optional*):
            Is told when unfinished work is found.

    Returns:
        [`Prepared`]: what was made.

    Raises:
        `ValueError`: when no row is usable, or a side of the split would be empty.
    """
    if validation_size is not None and not (
        validation_size >= 1 if isinstance(validation_size, int) else 0 < validation_size < 1
    ):  # said now, not after hours
        raise ValueError(
            f"validation_size={validation_size} cannot split anything; both sides need at least one problem. Write a "
            "whole number of problems from 1, or a share in (0, 1)."
        )
    recipe = recipe or Recipe()
    column_names(dataset)  # raises if there is nothing
    output = Path(output_dir)
    existed, folder = output.exists(), output / UNFINISHED
    try:
        _open_unfinished(folder, {**(identity or {}), **recipe.settings()}, tell)
        number = _make_parts(dataset, folder, recipe, num_proc)
        parts = Parts(folder, number)
        if not parts.summary.rows:
            raise ValueError(_explain_no_rows(parts))
        validation = set() if validation_size is None else choose_validation(parts.keys, validation_size, seed)
        splits = ["train"] if validation_size is None else ["train", "validation"]
        writers = {split: ShardWriter(folder, split, parts.schema, file_format) for split in splits}
        inspection = start_inspection(parts, validation) if inspect else None
        rows = write_splits(parts, writers if write else {}, splits, validation, inspection, tokenizer)
    except (ValueError, TypeError):  # the data or the arguments must be changed, so that nothing here is of use
        shutil.rmtree(folder, ignore_errors=True)
        if not existed:
            with suppress(OSError):
                output.rmdir()
        raise
    files: dict[str, list[Path]] = {}
    if write:
        (output / "summary.json").unlink(missing_ok=True)  # it comes last: where it is, all is there
        files = publish(list(writers.values()), output)
        write_json(output / "summary.json", _report(source, parts, rows))
    shutil.rmtree(folder)
    return Prepared(parts.source_rows, parts.summary, rows, files, inspection)


def _explain_no_rows(parts: Parts) -> str:
    """The message when all rows were dropped, with an example for each reason."""
    inspection = Inspection()
    for collected in parts.collected:
        inspection.merge(collected)
    examples = (
        f"Example of {reason}: {example.problem!r}: {example.text!r}"
        for reason, (example, *_) in sorted(inspection.dropped.items())
    )
    return "\n".join([explain_no_rows(parts.source_rows, parts.summary), *examples])


def _open_unfinished(folder: Path, settings: Mapping[str, Any], tell: Callable[[str], None] | None) -> None:
    """A folder for parts made with these settings, with those of an earlier run if they are such."""
    file = folder / "settings.json"
    settings = json.loads(json.dumps(settings))
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    message = ""
    if found == settings:
        there = len(list(folder.glob("[0-9]*.json")))
        message = f"Going on with unfinished work: {there:,} parts are there, of use where their rows are the same."
    elif found is not None:
        changes = (
            f"{name} was {shorten(json.dumps(found.get(name)))} and is {shorten(json.dumps(settings.get(name)))}"
            for name in sorted({*found, *settings})
            if found.get(name) != settings.get(name)
        )
        message = f"Starting anew, because unfinished work was begun otherwise: {'; '.join(changes)}."
    if message and tell is not None:
        tell(message)
    if found != settings:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(file, settings)


def _make_parts(dataset: "Dataset | IterableDataset", folder: Path, recipe: Recipe, num_proc: int | None) -> int:
    """Make the parts that are not there yet. Returns the number of all parts."""
    workers = num_proc or 1
    pool = ProcessPoolExecutor(workers) if workers > 1 else None
    waiting: deque[Future[int]] = deque()
    number = 0
    with progress("Formatting", _count_rows(dataset)) as advance:
        try:
            for table in cut_into_parts(dataset, recipe.max_part_rows):
                if is_made(number, folder, table):
                    advance(len(table))
                elif pool is None:
                    advance(make_part(table, number, folder, recipe))
                else:
                    while len(waiting) > workers:  # else all parts of a stream would wait in memory
                        advance(waiting.popleft().result())
                    waiting.append(pool.submit(make_part, as_bytes(table), number, folder, recipe))
                number += 1
            while waiting:
                advance(waiting.popleft().result())
        except BrokenProcessPool as error:
            raise OSError(
                "A process ended before its work was done, perhaps for want of memory. What was done is kept: run the "
                "same command again, with fewer processes (num_proc)."
            ) from error
        finally:
            if pool is not None:
                pool.shutdown(cancel_futures=True)
    return number


def _count_rows(dataset: "Dataset | IterableDataset") -> int | None:
    """How many rows there are, if a dataset knows it; a stream may, from what the Hub says of its splits."""
    if hasattr(dataset, "__len__"):
        return len(dataset)
    splits = dataset.info.splits or {}
    return splits[dataset.split].num_examples or None if dataset.split in splits else None


def _report(source: str, parts: Parts, rows: Mapping[str, int]) -> dict[str, Any]:
    summary = parts.summary
    report = {
        "source": source,
        "source_rows": parts.source_rows,
        "step_rows": summary.rows,
        "problems": len(summary.problems),
        "trimmed": summary.trimmed,
        "dropped": dict(summary.dropped),
        "splits": dict(rows),
    }
    agents = {"skipped_turns": summary.skipped_turns, "cut_observations": summary.cut_observations}
    return report | {name: count for name, count in agents.items() if count}
