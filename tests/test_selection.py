"""Which groups are trained on: pure functions, numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trl_srl.selection import (
    ADVICE,
    DROPPED_BECAUSE,
    Sampled,
    Selection,
    group_std,
    informative_groups,
    refill_size,
    select_groups,
)


NAN = math.nan


@pytest.mark.parametrize(
    ("rewards", "std"),
    [
        ([0, 1], 0.5),  # population: divided by 2, not by 1
        ([1, 2, 3, 4], math.sqrt(1.25)),
        ([2, 4, 4, 4, 5, 5, 7, 9], 2.0),
        ([-1, -1, -1, 1], math.sqrt(0.75)),
        ([-1, 0, 1, 0], math.sqrt(0.5)),
        ([0.3], 0.0),
        ([-1, -1, -1, -1], 0.0),
        ([NAN, 0, 1, NAN], 0.5),  # NaN is left out
        ([0, NAN, NAN, NAN], 0.0),
        ([NAN, NAN], 0.0),
    ],
)
def test_group_std(rewards, std):
    assert group_std(torch.tensor([rewards], dtype=torch.float32)).tolist() == pytest.approx([std], abs=1e-15)


@pytest.mark.parametrize("reward", [0.1, 1 / 3, 0.7, -1.0, 1e-8, 12345.678])
@pytest.mark.parametrize("num_generations", [2, 3, 7, 8, 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_rewards_have_exactly_no_deviation(reward, num_generations, dtype):
    assert group_std(torch.full((2, num_generations), reward, dtype=dtype)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("rewards", [[0.1, 0.1, NAN], [NAN, 0.1, 0.1], [NAN] * 3])
def test_equal_rewards_beside_nan_have_exactly_no_deviation(rewards):
    assert group_std(torch.tensor([rewards])).item() == 0.0


def test_group_std_is_one_number_for_each_group_in_float64():
    std = group_std(torch.tensor([[0.0, 1.0], [0.25, 0.25], [-1.0, 1.0]]))
    assert std.dtype == torch.float64
    assert std.tolist() == [0.5, 0.0, 1.0]


def test_informative_is_strictly_above_the_threshold():
    rewards = torch.tensor([[0.0, 1.0], [0.0, 0.5], [0.5, 0.5]])  # 0.5, 0.25, 0
    assert informative_groups(rewards, 0.25).tolist() == [True, False, False]
    assert informative_groups(rewards, 0.2).tolist() == [True, True, False]
    assert informative_groups(rewards, 0.0).tolist() == [True, True, False]
    assert informative_groups(rewards, 0.5).tolist() == [False, False, False]


@pytest.mark.parametrize(
    ("missing", "kept", "generated", "batch", "num_generations", "num_processes", "size"),
    [
        (1, 7, 8, 8, 8, 1, 2),  # 1 / 0.875 = 1.14
        (3, 5, 8, 8, 8, 1, 5),  # 3 / 0.625 = 4.8
        (4, 4, 8, 8, 8, 1, 8),
        (2, 4, 8, 8, 8, 1, 4),
        (6, 2, 8, 64, 8, 1, 24),  # 6 / 0.25
        (6, 1, 8, 64, 8, 1, 24),  # 0.125, but never less than 0.25
        (3, 0, 8, 64, 8, 1, 12),
        (8, 0, 8, 8, 8, 1, 8),  # 32, but at most a batch
        (6, 2, 8, 8, 8, 1, 8),
        (1, 31, 32, 32, 8, 1, 2),
        # every process gets equally many rollouts
        (1, 8, 8, 9, 4, 3, 3),  # 4 rollouts do not go into 3 processes, 12 do
        (4, 8, 8, 12, 4, 3, 6),
        (6, 8, 8, 12, 4, 3, 6),
        (3, 0, 4, 4, 4, 3, 6),  # also above a batch that is no multiple
        (1, 8, 8, 8, 8, 2, 1),
        (1, 8, 8, 8, 2, 8, 4),
        (1, 8, 8, 8, 6, 4, 2),
        (1, 8, 8, 8, 8, 8, 1),
        (5, 8, 8, 16, 5, 2, 6),
        # exact arithmetic: 21 / (7 / 10) is 30.000000000000004 in floating point
        (21, 7, 10, 64, 8, 1, 30),
        (15, 3, 11, 64, 8, 1, 55),
    ],
)
def test_refill_size(missing, kept, generated, batch, num_generations, num_processes, size):
    assert refill_size(missing, kept, generated, batch, num_generations, num_processes) == size


@given(st.data())
def test_refill_is_enough_bounded_and_even(data):
    batch = data.draw(st.integers(1, 64))
    generated = data.draw(st.integers(1, 256))
    kept = data.draw(st.integers(0, min(generated, batch - 1)))
    num_generations, num_processes = data.draw(st.integers(2, 16)), data.draw(st.integers(1, 8))
    missing = batch - kept
    size = refill_size(missing, kept, generated, batch, num_generations, num_processes)
    assert missing <= size < batch + num_processes
    assert size * num_generations % num_processes == 0


@pytest.mark.parametrize(
    ("std", "batch", "fallback", "selection"),
    [
        ([0.5, 0.4], 2, "mask", ([0, 1], 0)),
        ([0.0, 0.5, 0.0, 0.4], 2, "mask", ([1, 3], 0)),
        ([0.1, 0.2, 0.3], 2, "mask", ([0, 1], 0)),  # surplus: the oldest, not the best
        ([0.1, 0.2, 0.3], 2, "error", ([0, 1], 0)),
        ([0.1, 0.2, 0.3], 2, "replace", ([0, 1], 0)),
        ([0.0, 0.5, 0.009, 0.005], 3, "mask", ([1, 2, 3], 2)),  # the rejected of highest deviation
        ([0.005, 0.5, 0.009, 0.0], 3, "mask", ([1, 2, 0], 2)),
        ([0.0, 0.0, 0.5, 0.0], 3, "mask", ([2, 0, 1], 2)),  # equal ones: the oldest
        ([0.01, 0.5], 2, "mask", ([1, 0], 1)),  # not above the threshold
        ([0.0, 0.0, 0.0], 2, "mask", ([0, 1], 2)),
        ([0.0, 0.5, 0.0, 0.4], 4, "replace", ([1, 3, 1, 3], 0)),
        ([0.5, 0.0, 0.0], 3, "replace", ([0, 0, 0], 0)),
        ([0.5, 0.4, 0.0], 3, "replace", ([0, 1, 0], 0)),
        ([0.0, 0.005], 2, "replace", ([1, 0], 2)),  # nothing to repeat
    ],
)
def test_select_groups(std, batch, fallback, selection):
    assert select_groups(std, 0.01, batch, fallback) == Selection(*selection)


def test_masking_is_the_default():
    assert select_groups([0.5, 0.0], 0.01, 2) == ([0, 1], 1)


@pytest.mark.parametrize(("std", "kept"), [([0.5, 0.0, 0.0], 1), ([0.0, 0.0, 0.0], 0)])
def test_select_groups_error_says_what_to_do(std, kept):
    message = rf"Only {kept} of 2 groups are informative after sampling 3\. Raise max_refill_rounds, lower min_reward"
    with pytest.raises(RuntimeError, match=message):
        select_groups(std, 0.01, 2, "error")


def pick_one_by_one(std, min_std, batch):
    """What "mask" must do, slowly: first come first served, then the best of the rest, one after the other."""
    chosen, masked = [], 0
    for group, deviation in enumerate(std):
        if deviation > min_std and len(chosen) < batch:
            chosen.append(group)
    while len(chosen) < batch:
        best = None
        for group, deviation in enumerate(std):
            free = group not in chosen and deviation <= min_std
            if free and (best is None or deviation > std[best]):
                best = group
        chosen.append(best)
        masked += 1
    return chosen, masked


DEVIATIONS = st.lists(st.sampled_from([0.0, 0.005, 0.01, 0.02, 0.3, 0.5]), min_size=1, max_size=12)


@given(DEVIATIONS, st.data())
def test_select_groups_masks_like_the_slow_way(std, data):
    batch = data.draw(st.integers(1, len(std)))
    assert select_groups(std, 0.01, batch) == pick_one_by_one(std, 0.01, batch)


@given(DEVIATIONS, st.sampled_from(["mask", "replace"]), st.data())
def test_select_groups_loses_and_repeats_nothing(std, fallback, data):
    batch = data.draw(st.integers(1, len(std)))
    groups, num_masked = select_groups(std, 0.01, batch, fallback)
    informative = [group for group in range(len(std)) if std[group] > 0.01]
    trained = groups[: batch - num_masked]
    assert len(groups) == batch
    assert groups[: len(informative)] == informative[:batch]  # none is lost while there is room, oldest first
    assert all(std[group] > 0.01 for group in trained)
    assert all(std[group] <= 0.01 for group in groups[batch - num_masked :])
    if fallback == "mask" or not informative or len(informative) >= batch:
        assert len(set(groups)) == batch
    else:  # in turn, so that no group is seen more than once more than another
        counts = [groups.count(group) for group in informative]
        assert num_masked == 0
        assert max(counts) - min(counts) <= 1


def sampled(rewards, truncated, bad_format):
    rewards = torch.tensor(rewards)
    return Sampled(rewards.reshape(-1, 1), rewards, torch.tensor(truncated), torch.tensor(bad_format))


YES, NO, SOME = [True, True], [False, False], [True, False]


@pytest.mark.parametrize(
    ("rewards", "truncated", "bad_format", "reason"),
    [
        ([-1.0, -1.0], YES, YES, "truncated"),  # cut off before </think>: the length is the cause
        ([0.5, 0.5], YES, NO, "truncated"),
        ([-1.0, -1.0], NO, YES, "bad_format"),
        ([-1.0, -1.0], SOME, YES, "bad_format"),
        ([0.5, 0.5], NO, NO, "low_std"),
        ([0.5, 0.505], SOME, SOME, "low_std"),
        ([0.5, 0.9], YES, NO, None),  # informative: not dropped
        ([-1.0, 0.9], NO, SOME, None),
        ([NAN, NAN], NO, NO, "unscored"),
        ([NAN, 0.5], NO, NO, "unscored"),
        ([NAN, NAN], YES, YES, "unscored"),  # whatever else they are: that nothing was scored comes first
    ],
)
def test_dropped_reason(rewards, truncated, bad_format, reason):
    dropped = sampled([rewards], [truncated], [bad_format]).dropped(0.01)
    expected = {"truncated": 0, "bad_format": 0, "unscored": 0, "low_std": 0}
    assert dropped == expected | ({reason: 1} if reason else {})


def test_dropped_counts_every_rejected_group_once():
    groups = sampled(
        [[-1.0, -1.0], [0.2, 0.8], [0.5, 0.5], [-1.0, -1.0], [-1.0, -1.0]],
        [YES, NO, NO, NO, SOME],
        [YES, NO, NO, YES, YES],
    )
    assert groups.dropped(0.01) == {"truncated": 1, "bad_format": 2, "unscored": 0, "low_std": 1}
    assert groups.count_informative(0.01) == 1


def test_every_reason_has_a_text_and_advice():
    reasons = set(sampled([[0.0, 0.0]], [NO], [NO]).dropped(0.01))
    assert reasons == set(DROPPED_BECAUSE) == set(ADVICE)


def test_count_informative_is_strict():
    assert sampled([[0.0, 1.0], [0.0, 0.5], [0.0, 0.0]], [NO] * 3, [NO] * 3).count_informative(0.25) == 1


def test_append_keeps_the_oldest_first():
    both = sampled([[0.0, 1.0]], [NO], [SOME]).append(sampled([[0.5, 0.25], [0.75, 0.5]], [YES, NO], [NO, NO]))
    assert both.rewards_N_F.tolist() == [[0.0], [1.0], [0.5], [0.25], [0.75], [0.5]]
    assert both.rewards_P_G.tolist() == [[0.0, 1.0], [0.5, 0.25], [0.75, 0.5]]
    assert both.truncated_P_G.tolist() == [NO, YES, NO]
    assert both.bad_format_P_G.tolist() == [SOME, NO, NO]
