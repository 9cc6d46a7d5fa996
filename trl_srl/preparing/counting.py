"""Counting in little memory: a histogram of lengths, and how many texts occur more than once."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable


MAX_DIFFERENT_TEXTS = 200_000


class Lengths:
    """
    Lengths, how often there is each: exact, in the memory of the different ones.

    ```python
    >>> from trl_srl.preparing.counting import Lengths
    >>> lengths = Lengths([3, 5, 1234])
    >>> lengths.quantile(0.5), lengths.maximum, lengths.mean
    (5, 1234, 414.0)

    ```
    """

    def __init__(self, values: Iterable[int] = ()):
        self.counts = Counter(values)

    def add(self, values: Iterable[int]) -> None:
        self.counts.update(values)

    @property
    def count(self) -> int:
        return self.counts.total()

    @property
    def minimum(self) -> int:
        return min(self.counts, default=0)

    @property
    def maximum(self) -> int:
        return max(self.counts, default=0)

    @property
    def mean(self) -> float:
        return sum(value * times for value, times in self.counts.items()) / self.count if self.counts else math.nan

    def quantile(self, share: float) -> int:
        """The value that this share of all values does not exceed."""
        left = share * self.count
        for value, times in sorted(self.counts.items()):
            left -= times
            if left <= 0:
                return value
        return 0

    def bins(self, count: int = 10) -> list[tuple[int, int | None, int]]:
        """
        (from, up to but not including, how many) of at most about `count` equally wide bins; the last one has no end
        (`None`) if the longest percent lies far above the rest.
        """
        start, end = self.minimum, self.quantile(0.99)
        raw = max(1.0, (end - start + 1) / count)
        power = 10 ** math.floor(math.log10(raw))
        width = next(math.ceil(nice * power) for nice in (1, 2, 2.5, 5, 10) if nice * power >= raw)
        start = start // width * width
        number = (end - start) // width + 1
        found = [0] * (number + 1)
        for value, times in self.counts.items():
            found[min(max(value - start, 0) // width, number)] += times
        bins: list[tuple[int, int | None, int]] = [
            (start + i * width, start + (i + 1) * width, found[i]) for i in range(number)
        ]
        return bins + ([(start + number * width, None, found[number])] if found[number] else [])


class Repeats:
    """
    How many of many texts occur more than once, in bounded memory: texts are counted whose digest is divisible by
    2**`level`, which rises when too many are different. Exact until then, afterwards a sample of the different texts.
    """

    def __init__(self, limit: int = MAX_DIFFERENT_TEXTS):
        self.limit, self.level = limit, 0
        self.counts: dict[int, list[int]] = {}  # digest → how often in each of two splits

    def add(self, texts: Iterable[str], split: int = 0) -> None:
        for text in texts:
            content = text.encode("utf-8", "surrogatepass")
            number = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
            if number % 2**self.level == 0:
                self.counts.setdefault(number, [0, 0])[split] += 1
                while len(self.counts) > self.limit:
                    self.level += 1
                    self.counts = {key: value for key, value in self.counts.items() if key % 2**self.level == 0}

    @property
    def share_repeated(self) -> float:
        """Share of the texts that occur at least twice."""
        repeated = sum(sum(times) for times in self.counts.values() if sum(times) > 1)
        return repeated / max(1, sum(sum(times) for times in self.counts.values()))

    @property
    def share_shared(self) -> float:
        """Share of the texts of the second split that the first one has too."""
        return sum(there for here, there in self.counts.values() if here) / max(
            1, sum(there for _, there in self.counts.values())
        )
