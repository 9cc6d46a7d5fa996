"""Counting in little memory: by hand, and against counting everything."""

import random
from itertools import pairwise

import pytest

from trl_srl.preparing.counting import Lengths, Repeats


def test_lengths_of_nothing():
    lengths = Lengths()
    assert (lengths.count, lengths.quantile(0.5), lengths.mean) == (0, 0, pytest.approx(float("nan"), nan_ok=True))


def test_lengths_are_exact():
    lengths = Lengths([7, 99, 100])
    lengths.add([104, 105, 100, 110, 12345])
    assert (lengths.minimum, lengths.maximum, lengths.count, lengths.mean) == (7, 12345, 8, 12970 / 8)
    assert [lengths.quantile(share) for share in (0.0, 0.125, 0.25, 0.5, 0.9, 1.0)] == [7, 7, 99, 100, 12345, 12345]


@pytest.mark.parametrize(
    ("values", "bins"),
    [
        ([2, 2, 3, 5], [(2, 3, 2), (3, 4, 1), (4, 5, 0), (5, 6, 1)]),
        ([5], [(5, 6, 1)]),
        ([0, 0, 19], [(0, 2, 2), *((i, i + 2, 0) for i in range(2, 18, 2)), (18, 20, 1)]),
        ([10] * 99 + [5000], [(10, 11, 99), (11, None, 1)]),  # one long one does not squeeze all others into one bin
    ],
)
def test_bins(values, bins):
    assert Lengths(values).bins() == bins


def test_bins_hold_everything_and_are_few():
    for seed in range(200):
        rng = random.Random(seed)
        values = [rng.randrange(10 ** rng.randrange(1, 7)) for _ in range(rng.randrange(1, 300))]
        bins = Lengths(values).bins()
        assert sum(count for _, _, count in bins) == len(values)
        assert len(bins) <= 12
        assert all(end == following[0] for (_, end, _), following in pairwise(bins))


def test_repeats_are_exact_while_there_are_few():
    repeats = Repeats()
    repeats.add(["a", "b", "a", "c"])
    repeats.add(["a", "d", "b"], split=1)
    assert repeats.level == 0
    assert repeats.share_repeated == 5 / 7  # 3 a, 2 b
    assert repeats.share_shared == 2 / 3


def test_repeats_are_sampled_when_there_are_many():
    repeats = Repeats(limit=500)
    texts = [str(i) for i in range(20000)] + [str(i) for i in range(5000)]  # 10,000 of 25,000 occur twice
    random.Random(0).shuffle(texts)
    repeats.add(texts)
    assert repeats.level >= 5
    assert len(repeats.counts) <= 500
    assert repeats.share_repeated == pytest.approx(0.4, abs=0.08)


def test_nothing_repeats_in_nothing():
    assert (Repeats().share_repeated, Repeats().share_shared) == (0.0, 0.0)
