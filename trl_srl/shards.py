"""Files that appear in one piece: under another name until they are whole, then renamed.

A split is one file, `train.parquet`, or numbered shards, `train-00000-of-00003.parquet`;
`datasets.load_dataset(folder)` reads both without help.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    import pyarrow as pa

UNFINISHED = ".unfinished"  # folder of what is not whole yet; `datasets` does not look into it
FORMATS = ("parquet", "jsonl")
MAX_SHARD_BYTES = 500 * 2**20  # in memory, as `Dataset.push_to_hub` counts; on disk a shard is several times smaller
_SHARD = re.compile(r"(?:train|validation)(?:-[0-9]{5}-of-[0-9]{5})?\.(?:parquet|jsonl)")


def write_json(path: Path, content: Mapping[str, Any], default: Callable[[Any], Any] | None = None) -> None:
    """Write a JSON file in one piece. `default` is that of `json.dumps`."""
    unfinished = path.with_name(path.name + ".unfinished")
    text = json.dumps(content, indent=2, ensure_ascii=False, default=default) + "\n"
    unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")  # JSON's escape for half a surrogate pair
    os.replace(unfinished, path)


def write_table(path: Path, table: "pa.Table") -> None:
    """Write a Parquet file in one piece."""
    import pyarrow.parquet as pq

    unfinished = path.with_name(path.name + ".unfinished")
    pq.write_table(table, unfinished, compression="zstd", compression_level=1)
    os.replace(unfinished, path)


class _JsonLines:
    def __init__(self, path: Path):
        self._file = path.open("w", encoding="utf-8")

    def write_table(self, table: "pa.Table") -> None:
        for batch in table.to_batches(max_chunksize=1000):
            self._file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())

    def close(self) -> None:
        self._file.close()


class ShardWriter:
    """
    Writes the tables of one split into shards in `folder`, unnumbered as long as their number is not known.

    Args:
        folder (`Path`):
            Where the shards lie until [`publish`] moves them.
        split (`str`):
            Name of the split.
        schema (`pa.Schema`):
            Of every table.
        file_format (`str`, *optional*, defaults to `"parquet"`):
            One of `FORMATS`.
        max_bytes (`int`, *optional*):
            A shard ends with the table that brings it to this many bytes, counted in memory; `MAX_SHARD_BYTES` by
            default.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        schema: "pa.Schema",
        file_format: str = "parquet",
        max_bytes: int | None = None,
    ):
        self.folder, self.split, self.schema = folder, split, schema
        self.file_format, self.max_bytes = file_format, max_bytes or MAX_SHARD_BYTES
        self.files: list[Path] = []
        self.rows = 0
        self._bytes = 0
        self._writer: Any = None

    def write(self, table: "pa.Table") -> None:
        if not len(table):
            return
        if self._writer is None:
            self.files.append(self.folder / f"{self.split}.{len(self.files)}")
            self._writer = self._open(self.files[-1])
        self._writer.write_table(table)
        self.rows += len(table)
        self._bytes += table.nbytes
        if self._bytes >= self.max_bytes:
            self.close()

    def _open(self, path: Path) -> Any:
        if self.file_format == "jsonl":
            return _JsonLines(path)
        import pyarrow.parquet as pq

        return pq.ParquetWriter(path, self.schema, compression="zstd", compression_level=1)

    def close(self) -> None:
        """End the shard that is being written."""
        if self._writer is not None:
            self._writer.close()
            self._writer, self._bytes = None, 0

    def named(self) -> list[tuple[Path, str]]:
        """Each file with the name it is to have."""
        count = len(self.files)
        numbers = [""] if count == 1 else [f"-{i:05}-of-{count:05}" for i in range(count)]
        return [
            (file, f"{self.split}{number}.{self.file_format}")
            for file, number in zip(self.files, numbers, strict=True)
        ]


def is_shard_of(path: Path, folder: Path) -> bool:
    """Whether a file is a split in a folder, which [`publish`] would remove."""
    return bool(_SHARD.fullmatch(path.name)) and path.resolve().parent == folder.resolve()


def remove_shards(folder: Path) -> None:
    """Remove the splits of an earlier run: its validation split would overlap with this run's training split."""
    for path in folder.iterdir():
        if is_shard_of(path, folder):
            path.unlink()


def publish(writers: Sequence[ShardWriter], folder: Path) -> dict[str, list[Path]]:
    """Move whole shards to `folder`, instead of those that lie there. Returns the files of each split."""
    for writer in writers:
        writer.close()
    remove_shards(folder)
    published: dict[str, list[Path]] = {}
    for writer in writers:
        published[writer.split] = []
        for file, name in writer.named():
            os.replace(file, folder / name)
            published[writer.split].append(folder / name)
    return published


def push_splits(folder: Path, files: Mapping[str, Sequence[Path]], repo_id: str) -> str:
    """
    Push what [`publish`] wrote, and `summary.json`, to a data set on the Hub, instead of the splits that are there.
    Returns the commit's address.
    """
    from huggingface_hub import HfApi

    numbered = "-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]"
    commit = HfApi().upload_folder(
        repo_id=repo_id,
        repo_type="dataset",
        folder_path=folder,
        allow_patterns=[*(file.name for shards in files.values() for file in shards), "summary.json"],
        delete_patterns=[
            f"{split}{number}.{kind}"
            for split in ("train", "validation")
            for number in ("", numbered)
            for kind in FORMATS
        ],
        commit_message="Step rows of trl-srl",
    )
    return str(commit.commit_url)
