"""How many elements two sequences share, counted exactly as difflib counts them, in bounded time and memory.

difflib takes the longest common block of a window (of equally long ones the earliest in `a`, then the earliest in `b`)
and goes on in the windows to its left and to its right. Two ideas find the same blocks faster:

1. *Names.* Every stretch of 1, 2, 4, 8, … elements of the expert's sequence gets a number, equal stretches the same
   one; a stretch of 2q is named after its halves. `a` is read with the expert's names, 0 for what the expert does not
   have. Two stretches of any length from q to 2q are equal if their first q and their last q elements have the same
   names: one integer to compare, however long they are. Whether a window has a common block of some length is then
   one pass, and the longest length is found by bisection.
2. *All blocks of one length at once.* If the longest block has length k, then as long as the window to its right has
   another of length k, difflib takes that one next: the earliest in `a`, then in `b`. One pass from left to right
   takes them all. What lies between and after them holds shorter blocks only, or the pass would have taken those.

So the blocks are difflib's own, and the cost is bounded: windows inside each other have blocks of different lengths,
which fit into the shorter sequence together, so at most sqrt(2n) are nested; windows beside each other do not overlap.
That makes O(n sqrt(n) log n) steps and O(n log n) memory at the very worst, where difflib needs n³ steps.
"""

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence


Window = tuple[int, int, int, int]  # (a0, a1, b0, b1): a[a0:a1] against b[b0:b1]


def _pairs(names: Sequence[int], distance: int, base: int) -> list[int]:
    """Each name with the one `distance` further on, as one number: no two pairs have the same, as names are < base."""
    return [first * base + last for first, last in zip(names, names[distance:], strict=False)]


class Expert:
    """
    The names of an expert's stretches, made when they are first needed and used for every action compared with it.

    Attributes:
        sequence (`Sequence`): The expert's sequence, `b` of difflib.
        base (`int`): Larger than every name, see `_pairs`.
        names (`list[list[int]]`): `names[level][j]` is the name, from 1, of the 2**level elements that start at j.
    """

    def __init__(self, sequence: Sequence[Hashable]):
        self.sequence = sequence
        self.base = len(sequence) + 1
        self.names: list[list[int]] = []
        self._tables: list[dict[Hashable, int]] = []

    def table(self, level: int) -> dict[Hashable, int]:
        """Element (level 0) or pair of the names of two halves → name of the stretch of 2**level elements."""
        if level == len(self._tables):
            last_half = 2 ** (level - 1) if level else 0
            stretches = _pairs(self.names[-1], last_half, self.base) if level else self.sequence
            table = dict(zip(stretches, range(1, self.base), strict=False))
            self._tables.append(table)
            self.names.append([table[stretch] for stretch in stretches])
        return self._tables[level]

    def read(self, sequence: Sequence[Hashable]) -> list[list[int]]:
        """The names of another sequence's stretches, like `names`, up to the longest that they have in common."""
        names: list[list[int]] = []
        stretches: Sequence[Hashable] = sequence
        while True:
            name_of = self.table(len(names)).get
            level = [name_of(stretch, 0) for stretch in stretches]
            if not any(level):
                return names
            stretches = _pairs(level, 2 ** len(names), self.base)
            names.append(level)


def _longest_blocks(
    a_names: list[list[int]], expert: Expert, window: Window, bound: int
) -> tuple[int, list[tuple[int, int]]]:
    """
    Length k of a window's longest common block, which is at most `bound`, and the places (i, j) of all blocks of this
    length that difflib takes, from left to right.
    """
    a0, a1, b0, b1 = window
    for level in reversed(range(min(bound.bit_length(), len(a_names)))):
        q, a, b = 2**level, a_names[level], expert.names[level]
        shared = set(a[a0 : a1 - q + 1]).intersection(b[b0 : b1 - q + 1])
        if shared:
            break
    else:
        return 0, []

    # Only where a shared stretch of k elements starts can a longer one start: the candidates shrink as k grows.
    k, too_long = q, min(bound, 2 * q - 1) + 1
    a_starts = [i for i in range(a0, a1 - q + 1) if a[i] in shared]
    b_starts = [j for j in range(b0, b1 - q + 1) if b[j] in shared]
    a_keys, b_keys = [a[i] for i in a_starts], [b[j] for j in b_starts]
    while k + 1 < too_long:
        length = (k + too_long) // 2
        offset, base = length - q, expert.base
        a_fit = a_starts[: bisect_left(a_starts, a1 - length + 1)]
        b_fit = b_starts[: bisect_left(b_starts, b1 - length + 1)]
        a_fit_keys = [a[i] * base + a[i + offset] for i in a_fit]
        b_fit_keys = [b[j] * base + b[j + offset] for j in b_fit]
        shared = set(a_fit_keys).intersection(b_fit_keys)
        if shared:
            k = length
            a_starts = [i for i, key in zip(a_fit, a_fit_keys, strict=True) if key in shared]
            b_starts = [j for j, key in zip(b_fit, b_fit_keys, strict=True) if key in shared]
            a_keys = [key for key in a_fit_keys if key in shared]
            b_keys = [key for key in b_fit_keys if key in shared]
        else:
            too_long = length

    places: dict[int, list[int]] = {}
    for j, key in zip(b_starts, b_keys, strict=True):
        places.setdefault(key, []).append(j)
    blocks = []
    for i, key in zip(a_starts, a_keys, strict=True):
        if i >= a0:
            found = bisect_left(places[key], b0)
            if found < len(places[key]):
                j = places[key][found]
                blocks.append((i, j))
                a0, b0 = i + k, j + k
    return k, blocks


def _blocks(action: Sequence[Hashable], expert: Expert) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Length and places of the blocks that difflib takes, those of one window and length together."""
    a_names = expert.read(action)
    windows = [((0, len(action), 0, len(expert.sequence)), len(action))]
    while windows:
        (a0, a1, b0, b1), bound = windows.pop()
        k, blocks = _longest_blocks(a_names, expert, (a0, a1, b0, b1), min(bound, a1 - a0, b1 - b0))
        yield k, blocks
        for i, j in [*blocks, (a1, b1)] if k > 1 else []:
            if a0 < i and b0 < j:
                windows.append(((a0, i, b0, j), k - 1))
            a0, b0 = i + k, j + k


def count_matches(action: Sequence[Hashable], expert: Expert) -> int:
    """
    M of 2M/T: the elements in the blocks of `SequenceMatcher(None, action, expert, autojunk=False)`.

    ```python
    >>> from trl_srl.matching import Expert, count_matches
    >>> count_matches("the cat sat", Expert("a cat sat down"))  # " cat sat"
    8

    ```
    """
    return sum(k * len(blocks) for k, blocks in _blocks(action, expert))


def matching_blocks(action: Sequence[Hashable], expert: Expert) -> list[tuple[int, int, int]]:
    """
    The blocks themselves, as `SequenceMatcher(None, action, expert, autojunk=False).get_matching_blocks()` gives them
    without its empty last one: start in `action`, start in the expert's sequence, length.

    ```python
    >>> from trl_srl.matching import Expert, matching_blocks
    >>> matching_blocks("the cat sat", Expert("a cat sat down"))
    [(3, 1, 8)]

    ```
    """
    merged: list[tuple[int, int, int]] = []
    for i, j, k in sorted((i, j, k) for k, blocks in _blocks(action, expert) for i, j in blocks):
        if merged and (i, j) == (merged[-1][0] + merged[-1][2], merged[-1][1] + merged[-1][2]):
            merged[-1] = (*merged[-1][:2], merged[-1][2] + k)
        else:
            merged.append((i, j, k))
    return merged
