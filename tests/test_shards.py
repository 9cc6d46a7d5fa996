"""Files in one piece, and names that `datasets` reads as splits."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from trl_srl.shards import ShardWriter, publish, remove_shards, write_json, write_table


SCHEMA = pa.schema([("text", pa.string()), ("prompt", pa.list_(pa.struct([("role", pa.string())])))])


def table(*texts):
    return pa.Table.from_pylist([{"text": text, "prompt": [{"role": "user"}]} for text in texts], schema=SCHEMA)


def texts(folder, split, cache):
    return load_dataset(str(folder), split=split, cache_dir=str(cache))["text"][:]


@pytest.mark.parametrize("file_format", ["parquet", "jsonl"])
@pytest.mark.parametrize("max_bytes", [1, 10**6])
def test_splits_are_read_as_such(tmp_path, file_format, max_bytes):
    folder, unfinished = tmp_path / "out", tmp_path / "out" / ".unfinished"
    unfinished.mkdir(parents=True)
    writers = [ShardWriter(unfinished, split, SCHEMA, file_format, max_bytes) for split in ("train", "validation")]
    for rows in (["a", "é"], [], ["c"], ["\u2028"]):
        writers[0].write(table(*rows))
    writers[1].write(table("v"))
    assert [writer.rows for writer in writers] == [4, 1]
    files = publish(writers, folder)
    shards = [f"train-0000{i}-of-00003.{file_format}" for i in range(3)]
    names = shards if max_bytes == 1 else [f"train.{file_format}"]
    assert {split: [file.name for file in there] for split, there in files.items()} == {
        "train": names,
        "validation": [f"validation.{file_format}"],
    }
    assert texts(folder, "train", tmp_path / "cache") == ["a", "é", "c", "\u2028"]
    assert texts(folder, "validation", tmp_path / "cache") == ["v"]
    assert not list(unfinished.iterdir())


def test_json_lines(tmp_path):
    writer = ShardWriter(tmp_path, "train", SCHEMA, "jsonl")
    writer.write(table("é"))
    (file,) = publish([writer], tmp_path)["train"]
    assert json.loads(file.read_text(encoding="utf-8")) == {"text": "é", "prompt": [{"role": "user"}]}


def test_only_splits_of_earlier_runs_are_removed(tmp_path):
    ours = ["train.parquet", "validation-00000-of-00002.parquet", "train-00011-of-00020.jsonl"]
    theirs = ["notes.parquet", "training.parquet", "test.parquet", "train.csv", "summary.json"]
    for name in ours + theirs:
        (tmp_path / name).write_text("x")
    remove_shards(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(theirs)


def test_files_are_written_under_another_name_first(tmp_path):
    write_json(tmp_path / "a.json", {"é": "\ud83d", "path": Path("b")}, default=str)
    write_table(tmp_path / "b.parquet", table("a"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.parquet"]
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "é": "\\ud83d",\n  "path": "b"\n}\n'
    assert json.loads(text) == {"é": "\ud83d", "path": "b"}
    assert pq.read_table(tmp_path / "b.parquet").equals(table("a"))
