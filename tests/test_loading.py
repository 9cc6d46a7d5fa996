"""Rows from files and folders, and solutions that are one text."""

import json
import re

import datasets
import pytest
from datasets import Dataset, IterableDataset

from trl_srl.formatting import format_trajectories
from trl_srl.loading import load_rows, source_files, split_solutions


ROWS = [{"problem": "P", "answer": "4"}, {"problem": "Q\nR", "answer": "5, 6"}]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write_file(path, rows=ROWS):
    data = Dataset.from_list(rows)
    match path.suffix:
        case ".jsonl":
            data.to_json(path)
        case ".json":
            path.write_text(json.dumps(rows))
        case ".csv":
            data.to_csv(path)
        case ".parquet":
            data.to_parquet(path)
    return str(path)


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
@pytest.mark.parametrize("streaming", [False, True])
def test_file(tmp_path, suffix, streaming):
    rows = load_rows(write_file(tmp_path / f"data.{suffix}"), streaming=streaming)
    assert isinstance(rows, IterableDataset if streaming else Dataset)
    assert [{name: str(value) for name, value in row.items()} for row in rows] == ROWS


def test_file_is_read_as_the_split_that_is_asked_for(tmp_path):
    assert load_rows(write_file(tmp_path / "data.jsonl"), split="validation").split == "validation"


def test_folder_has_its_splits(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    write_file(folder / "train.parquet")
    write_file(folder / "validation.parquet", [{"problem": "V", "answer": "7"}])
    assert load_rows(str(folder)).to_list() == ROWS
    assert load_rows(str(folder), split="validation").to_list() == [{"problem": "V", "answer": "7"}]
    assert list(load_rows(str(folder), streaming=True)) == ROWS
    with pytest.raises(ValueError, match="test"):
        load_rows(str(folder), split="test")


def test_folder_of_parquet_files_is_one_split(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    write_file(folder / "part-0.parquet")
    write_file(folder / "part-1.parquet")
    assert load_rows(str(folder)).to_list() == ROWS + ROWS


@pytest.mark.parametrize("streaming", [False, True])
def test_an_empty_file_is_a_clear_error(tmp_path, streaming):
    (tmp_path / "rows.jsonl").touch()
    with pytest.raises(ValueError, match=r"Cannot read .*rows\.jsonl: there is nothing in it"):
        load_rows(str(tmp_path / "rows.jsonl"), streaming=streaming)


def test_a_broken_file_is_a_clear_error(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"problem": 1\n')
    with pytest.raises(ValueError, match=r"Cannot read .*rows\.jsonl: (JSON parse error|Unexpected char)"):
        load_rows(str(tmp_path / "rows.jsonl"))


@pytest.mark.parametrize("name", ["data.txt", "data.xlsx", "data"])
def test_wrong_suffix_names_the_right_ones(tmp_path, name):
    (tmp_path / name).write_text("P")
    with pytest.raises(ValueError, match=rf"{name}: its name must end in one of \['.csv', '.json', '.jsonl', '.parq"):
        load_rows(str(tmp_path / name))


@pytest.mark.parametrize("name", ["nothing.jsonl", "no/thing.parquet"])
def test_missing_file_says_where_it_was_looked_for(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"no file {name}.*relative to {tmp_path}"):
        load_rows(name)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        load_rows(str(tmp_path / "nowhere"))


def test_a_name_that_is_neither_here_nor_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"no folder rowz \(relative to {tmp_path}\), nor .* from the Hub: "):
        load_rows("rowz")


TITLED = "We add.\n1. **Halve**: 48 / 2 = 24\n2. **Add**: 48 + 24 = 72\n\nThe answer is 72."


def solutions(*texts, **columns):
    return Dataset.from_list([{"problem": "P", "solution": text} | columns for text in texts])


def test_solution_becomes_steps():
    rows = split_solutions(solutions(TITLED, source="s1K"))
    assert rows.to_list() == [
        {
            "problem": "P",
            "steps": [
                {"title": "Halve", "body": "We add.\n48 / 2 = 24"},
                {"title": "Add", "body": "48 + 24 = 72\n\nThe answer is 72."},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("text", "style", "bodies"),
    [
        ("1. a\n2. b", "auto", ["a", "b"]),
        ("1. a\n2. b", "paragraphs", ["1. a\n2. b"]),
        ("a\n\nb\nc", "auto", ["a", "b\nc"]),
        ("a\n\nb\nc", "lines", ["a", "b", "c"]),
        ("(a) Halve. (b) Add.", re.compile(r"\([a-z]\)"), ["(a) Halve.", "(b) Add."]),
        ("a; b; c", lambda text: text.split("; "), ["a", "b", "c"]),
        ("", "auto", []),
        (" \n", "auto", []),
    ],
)
def test_styles(text, style, bodies):
    (row,) = split_solutions(solutions(text), style=style).to_list()
    assert [step["body"] for step in row["steps"]] == bodies


def test_other_columns_by_name():
    data = Dataset.from_list([{"question": "P", "deepseek_attempt": "1. a\n2. b", "result": 7, "solution": "wrong"}])
    rows = split_solutions(data, "deepseek_attempt", "question", "result")
    assert rows.to_list() == [
        {"problem": "P", "steps": [{"title": "", "body": "a"}, {"title": "", "body": "b"}], "answer": "7"}
    ]


def test_a_column_named_steps_is_replaced():
    rows = split_solutions(solutions("1. a\n2. b", steps=2))
    assert rows["steps"][:] == [[{"title": "", "body": "a"}, {"title": "", "body": "b"}]]


@pytest.mark.parametrize("columns", [("text",), ("solution", "question"), ("solution", "problem", "final")])
def test_missing_columns_are_named_with_those_there_are(columns):
    with pytest.raises(ValueError, match=rf"no column \['{columns[-1]}'\]; it has \['problem', 'solution'\]"):
        split_solutions(solutions(TITLED), *columns)


def test_all_missing_columns_are_named():
    with pytest.raises(ValueError, match=r"no column \['q', 's', 'a'\]"):
        split_solutions(solutions(TITLED), "s", "q", "a")


def test_unknown_style():
    with pytest.raises(ValueError, match="'numberd' is no style; choose one of auto"):
        split_solutions(solutions(TITLED), style="numberd")


def test_missing_solution_is_counted_later():
    rows, summary = format_trajectories(split_solutions(solutions(TITLED, None, "one step")))
    assert rows["expert_action"][:] == ["**Halve**: We add.\n48 / 2 = 24"]
    assert summary.dropped == {"too_few_steps": 2}


def test_same_steps_with_two_processes_and_in_streams():
    data = solutions(TITLED, "1. a\n2. b", "a\n\nb")
    expected = [["We add.\n48 / 2 = 24", "48 + 24 = 72\n\nThe answer is 72."], ["a", "b"], ["a", "b"]]
    unknown = IterableDataset.from_generator(lambda: iter(data.to_list()))
    for rows in (
        split_solutions(data),
        split_solutions(data, num_proc=2),
        split_solutions(data.to_iterable_dataset()),
        split_solutions(unknown),
    ):
        assert [[step["body"] for step in row["steps"]] for row in rows] == expected


@pytest.mark.parametrize("streaming", [False, True])
def test_first_batch_without_steps_does_not_decide_the_types(streaming):
    data = solutions(*[""] * 1000, TITLED)
    rows = split_solutions(data.to_iterable_dataset() if streaming else data)
    assert [step["title"] for step in list(rows)[-1]["steps"]] == ["Halve", "Add"]


def test_first_batch_without_an_answer_does_not_decide_the_types():
    data = Dataset.from_list(
        [{"problem": "P", "solution": "a", "result": i if i == 1000 else None} for i in range(1001)]
    )
    assert split_solutions(data, answer_column="result")["answer"][-1] == "1000"


def test_streamed_solutions_can_be_formatted():
    rows, summary = format_trajectories(split_solutions(solutions(TITLED).to_iterable_dataset()))
    assert [row["expert_action"] for row in rows] == ["**Halve**: We add.\n48 / 2 = 24"]
    assert summary.rows == 1


def test_patterns_are_read_in_the_order_of_their_names(tmp_path):
    for name in ("b/2.jsonl", "b/1.jsonl", "a.jsonl", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"problem": name, "answer": "1"}) + "\n")
    for streaming in (False, True):
        deep = load_rows(str(tmp_path / "**" / "*.jsonl"), streaming=streaming)
        assert [row["problem"] for row in deep] == ["a.jsonl", "b/1.jsonl", "b/2.jsonl"]
        flat = load_rows(str(tmp_path / "b" / "[12].jsonl"), split="validation", streaming=streaming)
        assert [row["problem"] for row in flat] == ["b/1.jsonl", "b/2.jsonl"]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    assert load_rows(write_file(tmp_path / "data[1].jsonl")).to_list() == ROWS


def test_pattern_without_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*\*\.jsonl"):
        load_rows(str(tmp_path / "*.jsonl"))


def test_pattern_of_several_kinds(tmp_path):
    write_file(tmp_path / "a.jsonl")
    write_file(tmp_path / "b.csv")
    with pytest.raises(ValueError, match=r"as one dataset: its files end in \['\.csv', '\.jsonl'\]"):
        load_rows(str(tmp_path / "*"))


def test_source_files(tmp_path):
    path = tmp_path / "rows" / "a.jsonl"
    path.parent.mkdir()
    write_file(path)
    (tmp_path / "rows" / ".unfinished").mkdir()
    (tmp_path / "rows" / ".unfinished" / "b.jsonl").write_text("")
    for source in (str(path), str(path.parent), str(tmp_path / "rows" / "*.jsonl")):
        assert source_files(source) == [path]
    assert source_files("owner/name") == []
