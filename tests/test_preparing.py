"""Preparing at any size: the same rows however they come, the same files after a kill."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset, IterableDataset, load_dataset

from tests.chat_server import ChatServer, reply
from trl_srl import shards, split_by_problem
from trl_srl.expansion import Options
from trl_srl.formatting import format_trajectories
from trl_srl.loading import load_rows
from trl_srl.preparing import parts
from trl_srl.preparing.parts import Recipe, as_bytes, cut_into_parts, source_digest
from trl_srl.preparing.prepare import prepare_step_rows
from trl_srl.preparing.rewriting import ReplyCache, Rewriter
from trl_srl.preparing.rewriting_models import ServerModel
from trl_srl.shards import UNFINISHED


def trajectories(count, start=0):
    return [
        {
            "problem": f"What is {i} + {i % 7}?",
            "steps": [f"Hold up {i}.", f"Hold up {i % 7} more.", f"Count {i + i % 7}."][: 1 + i % 4],
            "answer": str(i + i % 7),
        }
        for i in range(start, start + count)
    ]


def read(folder, split="train"):
    return load_dataset(str(folder), split=split, cache_dir=f"{folder}-cache").to_list()


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "MAX_PART_ROWS", 16)


DATA = [*trajectories(100), *trajectories(10), *trajectories(60, start=1000)]


def test_the_same_rows_as_format_trajectories(tmp_path, small_parts):
    expected, summary = format_trajectories(Dataset.from_list(DATA))
    prepared = prepare_step_rows(Dataset.from_list(DATA), tmp_path / "out")
    assert read(tmp_path / "out") == expected.to_list()
    assert prepared.summary == summary
    assert summary.dropped == {"too_few_steps": 25 + 3 + 15, "duplicate": 2 * 2 + 2 * 2 + 3 * 1}
    assert prepared.source_rows == 170
    assert sorted(contents(tmp_path / "out")) == ["summary.json", "train.parquet"]


def test_streams_and_processes_give_the_same_files(tmp_path, small_parts):
    dataset = Dataset.from_list(DATA)
    unknown = IterableDataset.from_generator(lambda: iter(DATA))
    for name, rows, num_proc in (
        ("one", dataset, None),
        ("two", dataset, 2),
        ("stream", dataset.to_iterable_dataset(num_shards=3), None),
        ("unknown", unknown, 2),
    ):
        prepare_step_rows(rows, tmp_path / name, validation_size=7, num_proc=num_proc, source="x")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "stream") == contents(tmp_path / "unknown")


def test_the_split_is_that_of_split_by_problem(tmp_path, small_parts):
    data = [*DATA, *({**row, "problem": row["problem"].upper() + "!"} for row in DATA[:50])]
    prepared = prepare_step_rows(Dataset.from_list(data), tmp_path / "out", validation_size=0.2, seed=3)
    expected = split_by_problem(format_trajectories(Dataset.from_list(data))[0], 0.2, seed=3)
    for split in ("train", "validation"):
        assert read(tmp_path / "out", split) == expected[split].to_list()
        assert prepared.rows[split] == len(expected[split])


def problems(rows):
    return {row["prompt"][-1]["content"].partition("\n\nSolution")[0].upper().rstrip("!? ") for row in rows}


@pytest.mark.parametrize("seed", range(5))
def test_no_near_duplicate_is_on_both_sides(tmp_path, seed):
    data = []
    for row in trajectories(40):
        for problem in (row["problem"], row["problem"].upper(), row["problem"] + " !"):
            data.append(row | {"problem": problem})
    prepare_step_rows(Dataset.from_list(data), tmp_path / "out", validation_size=10, seed=seed)
    train, validation = read(tmp_path / "out"), read(tmp_path / "out", "validation")
    assert len(problems(validation)) == 10
    assert not problems(train) & problems(validation)
    assert len({row["problem_id"] for row in validation}) == 30


def test_options_and_answers(tmp_path):
    recipe = Recipe(options=Options(include_last_step=True, system_prompt="S"))
    rows = [{"problem": "P", "steps": ["only"]}]
    prepare_step_rows(Dataset.from_list(rows), tmp_path / "out", recipe)
    (row,) = read(tmp_path / "out")
    assert row["prompt"][0] == {"role": "system", "content": "S"}
    assert set(row) == {"prompt", "expert_action", "problem_id", "step_index", "num_steps"}  # no answer, no agent


AGENT = {
    "messages": [
        {"role": "system", "content": "You can use bash."},
        {"role": "user", "content": "Fix it."},
        *(
            message
            for number in range(3)
            for message in (
                {"role": "assistant", "content": f"Look.\n```bash\ncat {number}\n```"},
                {"role": "user", "content": "x" * 20_000},
            )
        ),
    ],
}


def test_agents(tmp_path):
    recipe = Recipe(adapter="messages", options=Options(history_window=1))
    thinks = {"messages": [*AGENT["messages"][:2], {"role": "assistant", "content": "Only words."}]}
    prepared = prepare_step_rows(Dataset.from_list([AGENT, AGENT, thinks]), tmp_path / "out", recipe)
    rows = read(tmp_path / "out")
    assert [row["expert_action"] for row in rows] == [f"```bash\ncat {i}\n```" for i in range(3)]
    assert {row["action_format"] for row in rows} == {"command"}
    assert [len(row["prompt"]) for row in rows] == [2, 4, 4]
    assert prepared.summary.dropped == {"duplicate": 3, "no_action": 1}
    report = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert report["cut_observations"] == prepared.summary.cut_observations == 6
    assert report["skipped_turns"] == 1


def test_inspection(tmp_path, small_parts, tokenizer):
    prepared = prepare_step_rows(
        Dataset.from_list(DATA), tmp_path / "out", validation_size=5, inspect=True, write=False, tokenizer=tokenizer
    )
    inspection = prepared.inspection
    assert inspection is not None
    assert (prepared.files, prepared.rows["train"] + prepared.rows["validation"]) == ({}, prepared.summary.rows)
    assert not list((tmp_path / "out").iterdir())
    assert inspection.steps_per_solution.count == 120  # 127 usable solutions, 7 of them twice
    assert inspection.step_characters.count == inspection.step_tokens.count == prepared.summary.rows
    assert len(inspection.dropped["duplicate"]) == len(inspection.dropped["too_few_steps"]) == 3
    assert [row["step_index"] for row in inspection.rows] == [0, *[row["step_index"] for row in inspection.rows[1:]]]
    assert len(inspection.rows) == 3
    assert (inspection.problems, inspection.near_duplicates, inspection.shared_problems) == (120, 0, 0)
    assert inspection.answers == 127


def test_parts_are_bounded_and_always_the_same(monkeypatch):
    monkeypatch.setattr(parts, "MAX_PART_ROWS", 64)
    monkeypatch.setattr(parts, "MAX_PART_BYTES", 100_000)
    rows = [{"text": "x" * (10_000 if 100 <= i < 150 else 10)} for i in range(300)]
    dataset = Dataset.from_list(rows)
    sizes = [len(table) for table in cut_into_parts(dataset)]
    assert sum(sizes) == 300
    assert sizes == [len(table) for table in cut_into_parts(dataset.to_iterable_dataset(num_shards=4))]
    assert max(sizes) == 64
    assert max(table.nbytes for table in cut_into_parts(dataset)) < 300_000
    table = next(cut_into_parts(dataset))
    assert as_bytes(table.slice(0, 2)).size < 2000  # not the whole table


def test_a_stream_may_show_its_types_late(tmp_path):
    rows = [{"problem": f"P {i}", "steps": ["a", "b"], "answer": None if i < 40 else "1"} for i in range(80)]
    prepared = prepare_step_rows(IterableDataset.from_generator(lambda: iter(rows)), tmp_path / "rows")
    assert prepared.rows == {"train": 80}
    assert Dataset.from_parquet(str(tmp_path / "rows" / "train.parquet"))["answer"][:] == [None] * 40 + ["1"] * 40


def test_no_usable_row_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match=r"No usable step row in 2 rows(?s:.*)too_few_steps"):
        prepare_step_rows(Dataset.from_list([{"problem": "P", "steps": ["a"]}] * 2), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [0, -3, 0.0, 1.0, 2.5, float("nan")])
def test_an_impossible_size_is_said_before_anything_is_read(tmp_path, size):
    unread = IterableDataset.from_generator(lambda: iter([1 // 0]))
    with pytest.raises(ValueError, match="cannot split anything; both sides need at least one problem"):
        prepare_step_rows(unread, tmp_path / "out", validation_size=size)


def test_ready_step_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match="step rows already"):
        prepare_step_rows(Dataset.from_list([{"prompt": "P", "expert_action": "a"}]), tmp_path / "out")


def test_a_failed_run_leaves_the_files_of_the_one_before(tmp_path):
    prepare_step_rows(Dataset.from_list(DATA), tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(TypeError):
        prepare_step_rows(Dataset.from_list([{"problem": "P", "steps": [1, 2]}]), tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_rewriting_in_two_processes_shares_one_cache(tmp_path, small_parts):
    solutions = Dataset.from_list([{"problem": f"{i} + 1?", "solution": f"It is {i + 1}."} for i in range(50)])

    def answer(text, asked):
        number = int(text.partition("\n")[2].partition(" ")[0])
        return reply(f"1. **Take** {number}.\n2. **Add** 1, which is {number + 1 + (number == 7)}.")

    server = ChatServer(answer, seconds=0.05)
    with server.running():
        for name, num_proc in (("two", 2), ("one", 1)):
            model = ServerModel("m", server.url, max_in_flight=3)
            recipe = Recipe(solution_column="solution", rewriter=Rewriter(model, ReplyCache(tmp_path / "replies")))
            prepared = prepare_step_rows(solutions, tmp_path / name, recipe, num_proc=num_proc)
            assert prepared.summary.dropped == {"rewrite_answer": 1}
            assert prepared.rows == {"train": 49}
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(server.requests) == 50  # the second run asked nothing
    assert 1 < server.most_at_once <= 6


class Stop(Exception):
    """Stands for whatever ends a run from outside."""


def stopping_after(count, data=DATA):
    """A stream that breaks off."""

    def rows():
        yield from data[:count]
        raise Stop

    return IterableDataset.from_generator(rows)


def unfinished(folder):
    return sorted(path.name for path in (Path(folder) / UNFINISHED).glob("[0-9]*.json"))


def test_a_broken_run_goes_on_and_ends_with_the_same_files(tmp_path, small_parts):
    told = []
    prepare_step_rows(Dataset.from_list(DATA), tmp_path / "whole", validation_size=5, source="x")
    with pytest.raises(Stop):
        prepare_step_rows(stopping_after(100), tmp_path / "out", validation_size=5, source="x")
    made = unfinished(tmp_path / "out")
    times = {name: (tmp_path / "out" / UNFINISHED / name).stat().st_mtime_ns for name in made}
    assert len(made) == 6
    with pytest.raises(ValueError, match=r"is not whole: it was interrupted\. Run the same command again"):
        load_rows(str(tmp_path / "out"))
    with pytest.raises(Exception, match="doesn't contain any data files"):  # nor does `datasets` take it for data
        read(tmp_path / "out")
    with pytest.raises(Stop):
        prepare_step_rows(stopping_after(130), tmp_path / "out", validation_size=5, source="x", tell=told.append)
    assert len(unfinished(tmp_path / "out")) == 8
    again = {name: (tmp_path / "out" / UNFINISHED / name).stat().st_mtime_ns for name in made}
    assert again == times  # not made anew
    prepare_step_rows(Dataset.from_list(DATA), tmp_path / "out", validation_size=5, source="x", tell=told.append)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    same = "of use where their rows are the same."
    assert told == [f"Going on with unfinished work: {count} parts are there, {same}" for count in (6, 8)]


def test_parts_of_other_rows_are_made_anew(tmp_path, small_parts):
    first = [row | {"problem": f"First: {row['problem']}"} for row in DATA]
    with pytest.raises(Stop):
        prepare_step_rows(stopping_after(100), tmp_path / "out")
    unchanged = tmp_path / "out" / UNFINISHED / "000000.json"
    time_made = unchanged.stat().st_mtime_ns
    with pytest.raises(Stop):  # the first part is the same, all others are not
        prepare_step_rows(stopping_after(100, [*DATA[:16], *first[16:]]), tmp_path / "out")
    assert unchanged.stat().st_mtime_ns == time_made
    prepare_step_rows(Dataset.from_list(first), tmp_path / "out")
    prepare_step_rows(Dataset.from_list(first), tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_digest_of_source_rows():
    """However they are cut and whatever the schema says of them, and another for other rows."""
    rows = [{"a": f"text {i}", "b": [{"x": i, "y": None}, {"x": 1, "y": "é"}][i % 2 :]} for i in range(40)]
    dataset = Dataset.from_list(rows)
    after_another = Dataset.from_list([rows[39], *rows]).with_format("arrow")[1:21]
    expected = source_digest(after_another)
    streams = dataset.to_iterable_dataset(num_shards=7), IterableDataset.from_generator(lambda: iter(rows))
    for same in (dataset, *streams):
        batch = next(iter(same.with_format("arrow").iter(batch_size=20)))
        assert source_digest(batch) == source_digest(batch.replace_schema_metadata({"a": "b"})) == expected
    assert source_digest(pa.ipc.open_stream(as_bytes(after_another)).read_all()) == expected  # in another process
    assert source_digest(dataset.with_format("arrow")[1:21]) != expected


def test_a_run_that_stops_while_it_moves_shards(tmp_path, small_parts, monkeypatch):
    monkeypatch.setattr(shards, "MAX_SHARD_BYTES", 10_000)
    prepare_step_rows(Dataset.from_list(DATA), tmp_path / "whole", source="x")
    prepare_step_rows(Dataset.from_list(DATA[:30]), tmp_path / "out", source="x")
    assert len(contents(tmp_path / "whole")) > 4

    def stop_at_the_second(source, target):
        if target.name.startswith("train-00001-of"):
            raise Stop
        os.rename(source, target)

    with monkeypatch.context() as stopping:
        stopping.setattr(shards.os, "replace", stop_at_the_second)
        with pytest.raises(Stop):
            prepare_step_rows(Dataset.from_list(DATA), tmp_path / "out", source="x")
    with pytest.raises(ValueError, match="is not whole"):
        load_rows(str(tmp_path / "out"))
    prepare_step_rows(Dataset.from_list(DATA), tmp_path / "out", source="x")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert read(tmp_path / "out") == format_trajectories(Dataset.from_list(DATA))[0].to_list()


def test_a_process_that_dies_is_one_clear_error(tmp_path, small_parts, monkeypatch):
    dying = Recipe(options=Options(max_prompt_length=1, count_tokens=die))
    with pytest.raises(OSError, match="A process ended before its work was done"):
        prepare_step_rows(Dataset.from_list(DATA), tmp_path / "out", dying, num_proc=2)


def die(messages):
    os.kill(os.getpid(), signal.SIGKILL)


def test_changed_settings_begin_anew_and_say_so(tmp_path, small_parts):
    told = []
    with pytest.raises(Stop):
        prepare_step_rows(stopping_after(100), tmp_path / "out", identity={"model": "c" * 999})
    recipe = Recipe(style=re.compile("^x"), options=Options(title_hint=True))
    prepare_step_rows(Dataset.from_list(DATA), tmp_path / "out", recipe, identity={"model": "b"}, tell=told.append)
    (message,) = told
    model = '"' + "c" * 79 + " … " + "c" * 79 + '"'
    assert message == (
        f'Starting anew, because unfinished work was begun otherwise: model was {model} and is "b"; '
        'style was "auto" and is "/^x/"; title_hint was false and is true.'
    )
    expected = format_trajectories(Dataset.from_list(DATA), title_hint=True)[0].to_list()
    assert read(tmp_path / "out") == expected


KILLED = """
import sys, time
from datasets import Dataset
from trl_srl.preparing import parts
from trl_srl.preparing.prepare import prepare_step_rows
from tests.test_preparing import DATA

parts.MAX_PART_ROWS = 16
if sys.argv[2] == "slowly":
    make = parts.expand_trajectory
    parts.expand_trajectory = lambda *args: (time.sleep(0.02), make(*args))[1]
prepare_step_rows(Dataset.from_list(DATA), sys.argv[1], validation_size=5, source="x", num_proc=2)
"""


def test_a_killed_run_goes_on_and_ends_with_the_same_files(tmp_path, small_parts):
    """SIGKILL to all processes, while they are at work."""
    prepare_step_rows(Dataset.from_list(DATA), tmp_path / "whole", validation_size=5, source="x")
    out = tmp_path / "out"
    root = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(out), "slowly"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        start_new_session=True,
    )
    end = time.monotonic() + 120
    while len(unfinished(out)) < 3 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 3 <= len(unfinished(out)) < 11
    assert not (out / "summary.json").exists()
    told = []
    prepare_step_rows(Dataset.from_list(DATA), out, validation_size=5, source="x", num_proc=2, tell=told.append)
    assert told[0].startswith("Going on with unfinished work")
    assert contents(out) == contents(tmp_path / "whole")
