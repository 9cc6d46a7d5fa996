"""What a step row must be, and what is counted of those that are not."""

from collections import Counter

import pytest
from datasets import Dataset, IterableDataset

from trl_srl.step_rows import FormattingSummary, check_step_rows, column_names, digest, is_step_rows


def dataset(*rows):
    return Dataset.from_list(list(rows))


def count_words(messages):
    return len(messages[-1]["content"].split())


def test_summary_text_of_nothing_special():
    summary = FormattingSummary(rows=12345, problems={"a", "b"})
    assert str(summary) == "12,345 step rows from 2 problems"


def test_summary_text_with_everything():
    summary = FormattingSummary(1200, {"a"}, trimmed=1000, dropped=Counter(wrong_label=3, duplicate=4000))
    assert str(summary) == (
        "1,200 step rows from 1 problems\n"
        "1,000 of them leave out earlier steps to fit the length limit\n"
        "dropped 4,000 step rows of a trajectory that was seen before [duplicate]\n"
        "dropped 3 trajectories with a step labelled as wrong, or not labelled [wrong_label]"
    )


def no_rows():
    yield from ()


@pytest.mark.parametrize(
    "data",
    [
        Dataset.from_list([{"a": 1, "b": 2}]),
        Dataset.from_list([{"a": 1, "b": 2}]).to_iterable_dataset(),
        IterableDataset.from_generator(lambda: iter([{"a": 1, "b": 2}])),
    ],
    ids=["dataset", "stream", "stream that does not know its columns"],
)
def test_column_names(data):
    assert column_names(data) == ["a", "b"]
    assert [dict(row) for row in data] == [{"a": 1, "b": 2}]  # the row that was looked at is still there


@pytest.mark.parametrize(
    "empty",
    [Dataset.from_list([]), Dataset.from_dict({"a": []}), IterableDataset.from_generator(no_rows)],
    ids=["no columns", "columns", "stream"],
)
def test_column_names_of_nothing(empty):
    with pytest.raises(ValueError, match="dataset is empty"):
        column_names(empty)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("What is 2 + 2?", "38d46ad3618826cf"),  # printf 'What is 2 + 2?' | sha256sum
        (" What is 2 + 2?\n", "38d46ad3618826cf"),
        ([{"role": "user", "content": "é"}], "0ee8edf5361226ac"),  # of [{"content": "é", "role": "user"}]
    ],
)
def test_digest_is_the_same_everywhere(value, expected):
    assert digest(value) == expected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("problem", "steps"), False),
        (("prompt", "completions"), False),
        (("prompt", "steps", "labels"), False),
        (("prompt", "expert_action"), True),
        (("prompt", "expert_action", "steps"), True),
    ],
)
def test_is_step_rows(columns, expected):
    assert is_step_rows(dataset(dict.fromkeys(columns, "x"))) is expected


def ready(action="a", **others):
    return {"prompt": [{"role": "user", "content": "one two three"}], "expert_action": action, **others}


def test_ready_step_rows_are_kept_with_all_columns():
    rows, summary = check_step_rows(dataset(ready(problem_id="p", source="x"), ready("b", problem_id="p", source="y")))
    assert rows.to_list() == [ready(problem_id="p", source="x"), ready("b", problem_id="p", source="y")]
    assert str(summary) == "2 step rows from 1 problems"


def test_ready_step_rows_without_a_problem_id_are_counted_by_prompt():
    other = [{"role": "user", "content": "other"}]
    _, summary = check_step_rows(dataset(ready(), ready("b"), {"prompt": other, "expert_action": "c"}))
    assert str(summary) == "3 step rows from 2 problems"


@pytest.mark.parametrize("streaming", [False, True])
def test_bad_ready_step_rows_are_dropped_by_reason(streaming):
    too_long = {"prompt": [{"role": "user", "content": "one two three four"}], "expert_action": "a"}
    data = dataset(ready(), ready("a</think>"), ready("<think>"), ready(""), ready(" \n"), too_long)
    rows, summary = check_step_rows(
        data.to_iterable_dataset() if streaming else data, max_prompt_length=3, count_tokens=count_words
    )
    assert list(rows) == [ready()]
    assert summary.dropped == {"think_tag_in_step": 2, "empty_action": 2, "prompt_too_long": 1}


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"prompt": "P", "expert_action": "a"}, "got str and str"),
        (ready(None), "got list and NoneType"),
        (ready(3), "got list and int"),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_ready_step_row_of_the_wrong_type(row, found, streaming):
    data = dataset(row)
    with pytest.raises(TypeError, match=rf"`prompt` as chat messages.*{found}.*trl_srl\.build_prompt"):
        list(check_step_rows(data.to_iterable_dataset() if streaming else data)[0])


def test_no_usable_ready_step_row_is_an_error_that_speaks_of_step_rows():
    with pytest.raises(ValueError, match=r"No usable step row in 1 rows[^.]*\.(?s:.*)\[empty_action\]") as error:
        check_step_rows(dataset(ready("")))
    assert "include_last_step" not in str(error.value)  # ready step rows have no solution to cut
