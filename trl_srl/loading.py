"""Where rows come from: files, folders and the Hub through `datasets`; solutions in one text are cut into steps."""

import glob
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .shards import UNFINISHED
from .step_rows import column_names, map_rows
from .trajectories import split_steps


if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

    DatasetT = TypeVar("DatasetT", Dataset, IterableDataset)

_BUILDERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}


def load_rows(source: str, split: str = "train", name: str | None = None, streaming: bool = False) -> Any:
    """
    Load rows from JSON, JSONL, CSV or Parquet files, a folder, or a dataset id on the Hub, through `datasets`.

    Args:
        source (`str`):
            Path, pattern of paths (`"shards/*.jsonl"`, `**` for any folders) or id.
        split (`str`, *optional*, defaults to `"train"`):
            Split to load; a single file, or the files of a pattern, are read as any split.
        name (`str`, *optional*):
            Name of the dataset's configuration.
        streaming (`bool`, *optional*, defaults to `False`):
            Whether to read rows as they are needed.

    Returns:
        [`~datasets.Dataset`] or [`~datasets.IterableDataset`].

    Raises:
        `ValueError`: when a file is broken, empty or of no known kind; `FileNotFoundError`: when there is none.
    """
    files, path = _find_files(source), Path(source)
    if files:
        builders = {_BUILDERS.get(file.suffix) for file in files}
        if None in builders:
            raise ValueError(f"Cannot read {source}: its name must end in one of {sorted(_BUILDERS)}.")
        if len(builders) > 1:
            found = sorted({file.suffix for file in files})
            raise ValueError(f"Cannot read {source} as one dataset: its files end in {found}. Name one kind.")
        data_files = {split: [glob.escape(str(file)) for file in files]}
        return _load(source, builders.pop(), data_files=data_files, split=split, streaming=streaming)
    if (path / UNFINISHED).is_dir() and not (path / "summary.json").exists():
        raise ValueError(
            f"What `trl-srl prepare` wrote to {source} is not whole: it was interrupted. Run the same command again, "
            "and it goes on where it stopped."
        )
    if path.suffix in _BUILDERS or _is_pattern(source):
        raise FileNotFoundError(f"There is no file {source}. Check the path (it is relative to {Path.cwd()}).")
    try:
        return _load(source, source, name=name, split=split, streaming=streaming)
    except (FileNotFoundError, ConnectionError) as error:
        if path.exists():
            raise
        raise FileNotFoundError(
            f"There is no folder {source} (relative to {Path.cwd()}), nor could it be read from the Hub: {error}"
        ) from error


def _load(source: str, *args: Any, **options: Any) -> Any:
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    try:
        return load_dataset(*args, **options)
    except (DatasetGenerationError, ValueError, StopIteration) as error:  # the last: an empty JSON file
        reason = error.__cause__ or str(error) or "there is nothing in it"
        raise ValueError(f"Cannot read {source}: {reason}.") from error


def _is_pattern(source: str) -> bool:
    return glob.escape(source) != source


def _find_files(source: str) -> list[Path]:
    """The files that a path or a pattern names; none for a folder or an id."""
    if Path(source).is_file():
        return [Path(source)]
    matches = glob.glob(source, recursive=True) if _is_pattern(source) and not Path(source).exists() else []
    return sorted(path for path in map(Path, matches) if path.is_file())


def _is_hidden(path: Path) -> bool:
    """Whether `datasets` passes over a file, as over unfinished work in a folder below."""
    return any(part.startswith((".", "__")) for part in path.parts)


def source_files(source: str) -> list[Path]:
    """The local files that [`load_rows`] may read; none for an id on the Hub."""
    files = _find_files(source)
    if not files and Path(source).is_dir():
        inside = (path for path in Path(source).rglob("*") if path.is_file())
        files = sorted(path for path in inside if not _is_hidden(path.relative_to(source)))
    return files


def _cut(row: Mapping[str, Any], columns: Mapping[str, str], style: Any) -> list[dict[str, Any]]:
    steps = split_steps(row[columns["solution"]] or "", style)
    answer = row[columns["answer"]] if "answer" in columns else None
    return [
        {
            "problem": row[columns["problem"]],
            "steps": [{"title": step.title, "body": step.body} for step in steps],
            "answer": None if answer is None else str(answer),
        }
    ]


def split_solutions(
    dataset: "DatasetT",
    solution_column: str = "solution",
    problem_column: str = "problem",
    answer_column: str | None = None,
    style: Any = "auto",
    num_proc: int | None = None,
) -> "DatasetT":
    """
    Cut solutions that are one text into steps: rows with a solution → trajectory rows.

    Args:
        dataset ([`~datasets.Dataset`] or [`~datasets.IterableDataset`]):
            Rows with a problem and its worked solution.
        solution_column, problem_column, answer_column (`str`):
            Names of the columns to read.
        style (`str`, `re.Pattern` or `Callable`, *optional*, defaults to `"auto"`):
            How steps are marked, see [`split_steps`].
        num_proc (`int`, *optional*):
            Processes for a map-style dataset.

    Returns:
        The same kind of dataset with `problem`, `steps` (a list of `{"title", "body"}`) and perhaps `answer` (a text).
    """
    from datasets import Features, Value

    names = column_names(dataset)
    columns = {"problem": problem_column, "solution": solution_column}
    if answer_column is not None:
        columns["answer"] = answer_column
    missing = [name for name in columns.values() if name not in names]
    if missing:
        raise ValueError(f"The dataset has no column {missing}; it has {sorted(names)}. Name the right ones.")
    # Given explicitly: a first batch without a solution or an answer must not decide the types.
    features = Features(
        {
            "problem": dataset.features[problem_column] if dataset.features else Value("string"),
            "steps": [{"title": Value("string"), "body": Value("string")}],
        }
    )
    if answer_column is not None:
        features["answer"] = Value("string")
    cut = partial(_cut, columns=columns, style=style)
    return map_rows(dataset, cut, features, "Cutting solutions", num_proc)
