"""What can be said of a few problems: means with intervals, pass@k, and paired tests of two models.

The unit is the problem: samples of one problem are not independent, so ten samples of thirty problems are not three
hundred observations. Pure functions of numbers.
"""

import math
import random
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import NamedTuple


Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution
_BITS = bytes.maketrans(b"01", b"\x00\x01")


class Interval(NamedTuple):
    """A mean in [0, 1] with its 95 % interval."""

    value: float
    low: float
    high: float


def wilson_interval(value: float, observations: float) -> Interval:
    """
    Wilson's score interval of a proportion.

    Source: E. B. Wilson, JASA 22 (1927). Unlike the textbook's value ± 1.96 standard errors it does not claim
    certainty when all or none of a few problems are solved.

    Args:
        value (`float`):
            The proportion, in [0, 1].
        observations (`float`):
            Number of independent observations; need not be whole, see [`mean_interval`].

    Returns:
        [`Interval`].

    Example:

    ```python
    >>> from trl_srl.evaluation.statistics import wilson_interval
    >>> "{:.3f}: {:.3f} to {:.3f}".format(*wilson_interval(3 / 30, 30))  # three of thirty problems
    '0.100: 0.035 to 0.256'

    ```
    """
    if observations < 1:
        raise ValueError(f"An interval needs at least one observation, got {observations}.")
    spread = Z95**2 / observations
    centre = (value + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (value * (1 - value) + spread / 4)) / (1 + spread)
    return Interval(value, max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half)))


def mean_interval(values_by_problem: Sequence[Sequence[float]]) -> Interval:
    """
    Mean of all values, with an interval that knows which of them belong to one problem.

    Wilson's interval with the effective number of observations: p(1 - p) divided by the variance of the mean, which
    is estimated from the sums of whole problems (Korn and Graubard, Survey Methodology 24, 1998, who put it into the
    exact binomial interval). With one 0 or 1 for each problem this is Wilson's interval itself. Our choice over the
    bootstrap, which gives an interval of width 0 when no problem is solved.

    Args:
        values_by_problem (`Sequence[Sequence[float]]`):
            For each problem its values, all in [0, 1]: correctness of its samples, or similarities of its steps.

    Returns:
        [`Interval`].

    Example:

    ```python
    >>> from trl_srl.evaluation.statistics import mean_interval
    >>> "{:.2f}: {:.2f} to {:.2f}".format(*mean_interval([[1, 1, 1, 1], [0, 0, 0, 0]]))  # 2 observations, not 8
    '0.50: 0.09 to 0.91'

    ```
    """
    values_by_problem = [values for values in values_by_problem if len(values)]
    total = sum(len(values) for values in values_by_problem)
    if not total:
        raise ValueError("There is nothing to average: no problem has a value.")
    mean = math.fsum(value for values in values_by_problem for value in values) / total
    mean = min(max(mean, 0.0), 1.0)
    deviations = [math.fsum(values) - len(values) * mean for values in values_by_problem]
    variance = math.fsum(deviation**2 for deviation in deviations) / total**2
    observations = float(len(values_by_problem))
    if len(values_by_problem) > 1 and 0 < mean < 1:
        # Values between 0 and 1 can vary less than as many coins; rights and wrongs only seem to, by chance.
        least = mean * (1 - mean) / total if _are_rights_and_wrongs(values_by_problem) or not variance else 0.0
        observations = max(1.0, mean * (1 - mean) / max(variance, least))
    return wilson_interval(mean, observations)


def _are_rights_and_wrongs(values_by_problem: Sequence[Sequence[float]]) -> bool:
    return all(value in (0, 1) for values in values_by_problem for value in values)


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """
    Unbiased estimate of the probability that at least one of k samples of a problem is correct.

    Source: Chen et al., arXiv 2107.03374: 1 - C(n - c, k) / C(n, k).

    Args:
        num_samples (`int`):
            n, the samples that were drawn.
        num_correct (`int`):
            c, how many of them are correct.
        k (`int`):
            From 1 to n.

    Returns:
        `float`.

    Example:

    ```python
    >>> from trl_srl.evaluation.statistics import pass_at_k
    >>> pass_at_k(num_samples=4, num_correct=1, k=2)  # 1 - 3/6
    0.5

    ```
    """
    if not 1 <= k <= num_samples or not 0 <= num_correct <= num_samples:
        raise ValueError(
            f"pass@k needs 1 <= k <= samples and 0 <= correct <= samples, got k={k}, {num_correct} correct of "
            f"{num_samples}. Draw more samples, or ask for a smaller k."
        )
    return 1.0 - math.comb(num_samples - num_correct, k) / math.comb(num_samples, k)


def powers_of_two(limit: int) -> list[int]:
    """2, 4, 8, … up to a limit, and the limit itself: the k of pass@k."""
    return sorted({2**power for power in range(1, max(limit, 1).bit_length())} | ({limit} if limit > 1 else set()))


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """
    Exact McNemar test: how often a fair coin would split the problems that just one model solves as unevenly.

    Args:
        only_first, only_second (`int`):
            Problems that only the first, or only the second model solves. What both or neither solve says nothing.

    Returns:
        `float`: two-sided p-value.

    Example:

    ```python
    >>> from trl_srl.evaluation.statistics import mcnemar_p_value
    >>> mcnemar_p_value(0, 3)  # three more AIME problems: 2 * (1/2)^3
    0.25

    ```
    """
    changed, fewer = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(math.comb(changed, i) for i in range(fewer + 1)) / 2**changed)


def sign_flip_p_value(differences: Sequence[float], *, rounds: int = 20_000, seed: int = 0) -> float:
    """
    Paired permutation test: how often the mean difference would be as large if the two models' values of each problem
    were swapped at random.

    Args:
        differences (`Sequence[float]`):
            For each problem the second model's value minus the first's.
        rounds (`int`, *optional*, defaults to `20_000`):
            Random swaps, used with more than 14 problems that differ; with fewer all swaps are counted.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the random swaps.

    Returns:
        `float`: two-sided p-value.
    """
    sizes = [abs(difference) for difference in reversed(differences) if difference]  # bit 0 is the first problem's
    count, total = len(sizes), math.fsum(sizes)
    observed = abs(math.fsum(differences)) - 1e-9 * (1 + total)  # equal sums may differ by rounding
    counted_out, rng = count <= 14, random.Random(seed)
    swaps: Iterable[int] = range(2**count) if counted_out else (rng.getrandbits(count) for _ in range(rounds))
    as_large = 0
    for bits in swaps:
        # In C: a Python loop over thousands of problems takes ten times as long.
        swapped = math.fsum(compress(sizes, f"{bits:0{count}b}".encode().translate(_BITS)))
        as_large += abs(total - 2 * swapped) >= observed
    return as_large / 2**count if counted_out else (as_large + 1) / (rounds + 1)


def bootstrap_interval(differences: Sequence[float], *, rounds: int = 5_000, seed: int = 0) -> Interval:
    """
    Mean difference with its 95 % percentile bootstrap interval over problems.

    Args:
        differences (`Sequence[float]`):
            For each problem the second model's value minus the first's.
        rounds, seed (`int`, *optional*):
            Resamples, and their seed.

    Returns:
        [`Interval`]: here in [-1, 1].
    """
    rng, count = random.Random(seed), len(differences)
    means = sorted(math.fsum(rng.choices(differences, k=count)) / count for _ in range(rounds))
    low, high = means[math.floor(0.025 * (rounds - 1))], means[math.ceil(0.975 * (rounds - 1))]
    return Interval(math.fsum(differences) / count, low, high)
