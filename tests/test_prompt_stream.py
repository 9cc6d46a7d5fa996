"""The prompts of refill rounds: every row once in a pass, the same on every process, continued after a checkpoint."""

import pytest
from datasets import Dataset

from trl_srl.prompt_stream import PromptStream


def rows(count):
    return Dataset.from_dict({"number": list(range(count))})


@pytest.mark.parametrize("streamed", [False, True])
def test_prompt_stream_passes_over_the_data_without_replacement(streamed):
    data = rows(7)
    stream = PromptStream(data.to_iterable_dataset() if streamed else data, seed=3)
    first, second = (sorted(row["number"] for row in stream.take(7)) for _ in range(2))
    assert first == second == [0, 1, 2, 3, 4, 5, 6]
    assert (stream.epoch, stream.position) == (1, 7)


@pytest.mark.parametrize("streamed", [False, True])
def test_prompt_stream_continues_where_it_stood(streamed):
    data = rows(7)
    data = data.to_iterable_dataset() if streamed else data
    whole = PromptStream(data, seed=3).take(12)
    resumed = PromptStream(data, seed=3)
    resumed.epoch, resumed.position = 1, 2  # after nine rows
    assert resumed.take(3) == whole[9:]


def test_passes_differ_and_seeds_differ():
    def numbers(stream):
        return [row["number"] for row in stream.take(20)]

    stream = PromptStream(rows(20), seed=3)
    first, second = numbers(stream), numbers(stream)
    assert first != second
    assert first != numbers(PromptStream(rows(20), seed=9))
    assert first == numbers(PromptStream(rows(20), seed=3))


def test_data_without_a_row_is_an_error():
    with pytest.raises(RuntimeError, match="no row to refill a batch with"):
        PromptStream(rows(0), seed=0).take(1)
