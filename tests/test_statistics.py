"""Intervals, pass@k and paired tests against numbers worked out by hand."""

import pytest

from trl_srl.evaluation.statistics import (
    bootstrap_interval,
    mcnemar_p_value,
    mean_interval,
    pass_at_k,
    powers_of_two,
    sign_flip_p_value,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("num_samples", "num_correct", "k", "expected"),
    [
        (4, 1, 1, 1 / 4),  # pass@1 is the share of right samples
        (4, 1, 2, 1 / 2),  # 3 of the 6 pairs hold the right one
        (5, 2, 3, 1 - 1 / 10),  # only one of the 10 triples holds neither
        (4, 0, 4, 0.0),
        (4, 2, 3, 1.0),  # three samples cannot all be among the two wrong ones
        (32, 1, 8, 8 / 32),
    ],
)
def test_pass_at_k(num_samples, num_correct, k, expected):
    assert pass_at_k(num_samples, num_correct, k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("num_samples", "num_correct", "k"), [(4, 1, 5), (4, 1, 0), (4, 5, 1)])
def test_pass_at_k_refuses_what_it_cannot_estimate(num_samples, num_correct, k):
    with pytest.raises(ValueError, match="Draw more samples"):
        pass_at_k(num_samples, num_correct, k)


def test_the_k_of_pass_at_k():
    assert [powers_of_two(limit) for limit in (0, 1, 2, 6, 8)] == [[], [], [2], [2, 4, 6], [2, 4, 8]]


@pytest.mark.parametrize(
    ("solved", "problems", "low", "high"),
    [
        (3, 30, 0.0346, 0.2562),
        (0, 30, 0.0, 0.1135),  # z² / (n + z²)
        (30, 30, 0.8865, 1.0),
        (5, 10, 0.2366, 0.7634),  # 1/2 ± z/2 · sqrt(10 + z²) / (10 + z²) · …, symmetric
    ],
)
def test_wilson_s_interval(solved, problems, low, high):
    interval = wilson_interval(solved / problems, problems)
    assert interval == pytest.approx((solved / problems, low, high), abs=5e-5)
    # One 0 or 1 for each problem: the general interval is the same one.
    assert mean_interval([[1]] * solved + [[0]] * (problems - solved)) == pytest.approx(interval, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "observations"),
    [
        ([[1, 1, 1, 1], [0, 0, 0, 0]], 2),  # samples of a problem agree: two observations
        ([[1, 0]] * 4, 8),  # they say nothing of each other: eight
        ([[1, 1], [1, 1], [0, 0], [1, 0]], 15 / 64 / (2.75 / 64)),  # sums off by 0.75, 0.75, -1.25 and -0.25
        ([[0, 0, 0]] * 5, 5),  # nothing seen of how samples agree: the problems count
        ([[1, 0, 1, 1]], 1),  # one problem is one observation
        ([[0.7], [0.9]] * 50, 0.16 / (100 * 0.01 / 100**2)),  # similarities vary less than coins
        ([[0.7, 0.9], [0.9, 0.7]], 4),  # nothing seen of how they vary
    ],
)
def test_samples_of_one_problem_are_not_independent(values, observations):
    mean = sum(map(sum, values)) / sum(map(len, values))
    assert mean_interval(values) == pytest.approx(wilson_interval(mean, observations), abs=1e-12)


def test_nothing_has_no_mean():
    with pytest.raises(ValueError, match="nothing to average"):
        mean_interval([[], []])


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    [(0, 3, 0.25), (3, 0, 0.25), (0, 6, 2 / 64), (2, 5, 2 * (1 + 7 + 21) / 128), (4, 4, 1.0), (0, 0, 1.0)],
)
def test_mcnemar(only_first, only_second, p_value):
    assert mcnemar_p_value(only_first, only_second) == pytest.approx(p_value)


@pytest.mark.parametrize(
    ("differences", "p_value"),
    [
        ([1.0, 1.0, 1.0, 0.0], 2 / 8),  # as McNemar's with 0 and 3
        ([0.5, 0.25], 2 / 4),
        ([0.5, -0.25], 1.0),
        ([0.1, 0.2, -0.3], 1.0),  # 0 up to rounding
        ([0.0, 0.0], 1.0),
    ],
)
def test_sign_flips_counted_out(differences, p_value):
    assert sign_flip_p_value(differences) == p_value


def test_sign_flips_sampled():
    assert sign_flip_p_value([1.0] * 20, rounds=2000) == 1 / 2001  # 2 of 2^20 swaps are as large
    # Eleven up, nine down: P(|B(20, 1/2) - 10| >= 1) = 1 - C(20, 10) / 2^20.
    differences = [1.0] * 11 + [-1.0] * 9
    assert sign_flip_p_value(differences, rounds=4000) == pytest.approx(1 - 184756 / 2**20, abs=0.02)


def test_bootstrap():
    assert bootstrap_interval([0.5] * 7) == (0.5, 0.5, 0.5)
    value, low, high = bootstrap_interval([1.0] * 50 + [0.0] * 50)
    assert value == 0.5
    assert (low, high) == pytest.approx((0.4, 0.6), abs=0.02)  # 0.5 ± 1.96 · 0.05
    assert bootstrap_interval([1.0, 0.0], seed=3) == bootstrap_interval([1.0, 0.0], seed=3)
