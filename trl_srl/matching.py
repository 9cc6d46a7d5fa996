"""How many characters two texts share, counted exactly as difflib counts them, in bounded time and memory.

difflib takes the longest common block of a window (of equally long ones the earliest in `a`, then the earliest in `b`)
and goes on in the windows to its left and to its right. The same blocks are found in two faster ways:

1. *Search*, in windows of up to `_SEARCHED` pairs of characters: is the stretch of `a` that is one longer than the
   longest block so far anywhere in `b`? Python's own string search answers that quickly. If the second half of a
   stretch is not in `b`, no stretch that contains this half is, so most places of `a` are never looked up. Where `b`
   is much shorter, its stretches are looked up in `a` instead. A search that does not come forward (periodic texts)
   is given up.
2. *Names*, in the other windows. Every stretch of 1, 2, 4, 8, … characters of the expert's text gets a number, equal
   stretches the same one; a stretch of 2q is named after its halves. `a` is read with the expert's names, 0 for what
   the expert does not have. Two stretches of any length from q to 2q are equal if their first q and their last q
   characters have the same names: one integer to compare, however long they are. Whether a window has a common block
   of some length is then one pass, and the longest length is found by bisection.
   All blocks of this length are taken at once: if the longest block has length k, then as long as the window to its
   right has another of length k, difflib takes that one next, the earliest in `a`, then in `b`. One pass from left to
   right takes them all. What lies between them holds shorter blocks only, or the pass would have taken those.

So the blocks are difflib's own, and the cost is bounded: windows inside each other have blocks of different lengths,
which fit into the shorter text together, so at most sqrt(2n) are nested; windows beside each other do not overlap.
That makes O(n sqrt(n) log n) steps for the names at the very worst, where difflib needs n³, and O(n log n) memory.
Each search is bounded by `_EFFORT`, and all searches of a pair together by `_SEARCHED_IN_ALL`.
"""

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence


_SEARCHED = 10_000_000  # characters of `a` times characters of `b` up to which a window is searched
_SEARCHED_IN_ALL = 100_000_000  # the same, of all windows of a pair together
_EFFORT = 8  # characters looked up for each character of `a` after which a search is given up
_MUCH_LONGER = 4  # times as long as `b`: an `a` for which it is quicker to look up `b` in it
Window = tuple[int, int, int, int]  # (a0, a1, b0, b1): a[a0:a1] against b[b0:b1]


def _pairs(names: Sequence[int], distance: int, base: int) -> list[int]:
    """Each name with the one `distance` further on, as one number: no two pairs have the same, as names are < base."""
    return [first * base + last for first, last in zip(names, names[distance:], strict=False)]


class Expert:
    """
    The names of an expert's stretches, made when they are first needed and used for every action compared with it.

    Attributes:
        text (`str`): The expert's text, `b` of difflib.
        base (`int`): Larger than every name, see `_pairs`.
        names (`list[list[int]]`): `names[level][j]` is the name, from 1, of the 2**level characters that start at j.
    """

    def __init__(self, text: str):
        self.text = text
        self.base = len(text) + 1
        self.names: list[list[int]] = []
        self._tables: list[dict[Hashable, int]] = []

    def table(self, level: int) -> dict[Hashable, int]:
        """Character (level 0) or pair of the names of two halves → name of the stretch of 2**level characters."""
        if level == len(self._tables):
            last_half = 2 ** (level - 1) if level else 0
            stretches: Sequence[Hashable] = _pairs(self.names[-1], last_half, self.base) if level else self.text
            table = dict(zip(stretches, range(1, self.base), strict=False))
            self._tables.append(table)
            self.names.append([table[stretch] for stretch in stretches])
        return self._tables[level]

    def read(self, text: str) -> list[list[int]]:
        """The names of another text's stretches, like `names`, up to the longest that they have in common."""
        names: list[list[int]] = []
        stretches: Sequence[Hashable] = text
        while True:
            name_of = self.table(len(names)).get
            level = [name_of(stretch, 0) for stretch in stretches]
            if not any(level):
                return names
            stretches = _pairs(level, 2 ** len(names), self.base)
            names.append(level)


def _search(a: str, b: str, bound: int) -> tuple[int, int, int] | None:
    """
    Length and places (k, i, j) of the block that difflib takes first, or `None` if finding it takes too long.

    Nothing before `start` in `a` begins a block longer than k. Every block of k + 1 characters that begins in the
    k // 2 + 1 places from `start` on contains the characters from the last of these places to `start + k`: if they
    are not in `b`, there is none. A look-up compares at most its own length at each place of `b`, so that `_EFFORT`
    bounds the comparisons for each pair of characters.
    """
    if len(a) > _MUCH_LONGER * len(b):
        return _search_short(a, b, bound)
    k = i = j = start = 0
    length, effort = len(a), _EFFORT * len(a)
    while k < bound and start + k < length:
        half, end = k // 2, start + k + 1
        if half and a[start + half : end] not in b:
            start += half + 1
        elif (found := b.find(a[start:end])) >= 0:  # the first in `b`, also of what it grows to
            k, i, j = k + 1, start, found
            longest = min(length - i, len(b) - j)
            while k < longest and a[i + k] == b[j + k]:
                k += 1
        else:
            start += 1
        effort -= k
        if effort < 0:
            return None
    return k, i, j


def _search_short(a: str, b: str, bound: int) -> tuple[int, int, int] | None:
    """The same for a `b` that is much shorter than `a`: the few stretches of `b` are looked up in `a`."""
    found = _search(b, a, bound)
    if not found or not found[0]:
        return found
    k, j, i = found  # the first in `b`; the first in `a` may be a later one, but not one that begins further right
    half, start, effort = k // 2, j + 1, _EFFORT * len(b)
    while start + k <= len(b):
        if half and a.find(b[start + half : start + k], 0, i + k) < 0:
            start += half
        elif (earlier := a.find(b[start : start + k], 0, i + k - 1)) >= 0:
            i, j = earlier, start
        start += 1
        effort -= k
        if effort < 0:
            return None
    return k, i, j


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

    # Only where a shared stretch of k characters starts can a longer one start: the candidates shrink as k grows.
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


def _blocks(action: str, expert: Expert) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Length and places of the blocks that difflib takes, those that are found together."""
    text, a_names, left = expert.text, None, _SEARCHED_IN_ALL
    windows = [((0, len(action), 0, len(text)), len(action))]
    while windows:
        window, bound = windows.pop()
        a0, a1, b0, b1 = window
        bound = min(bound, a1 - a0, b1 - b0)
        area, found = (a1 - a0) * (b1 - b0), None
        if area <= min(_SEARCHED, left):
            left -= area
            found = _search(action[a0:a1], text[b0:b1], bound)
        if found is not None:
            k, i, j = found
            blocks = [(a0 + i, b0 + j)] if k else []
        else:
            a_names = expert.read(action) if a_names is None else a_names
            k, blocks = _longest_blocks(a_names, expert, window, bound)
        yield k, blocks
        for i, j in blocks:
            if k > 1 and a0 < i and b0 < j:
                windows.append(((a0, i, b0, j), k - 1))
            a0, b0 = i + k, j + k
        if blocks and a0 < a1 and b0 < b1:
            windows.append(((a0, a1, b0, b1), k))


def count_matches(action: str, expert: Expert) -> int:
    """
    M of 2M/T: the characters in the blocks of `SequenceMatcher(None, action, expert, autojunk=False)`.

    ```python
    >>> from trl_srl.matching import Expert, count_matches
    >>> count_matches("the cat sat", Expert("a cat sat down"))  # " cat sat"
    8

    ```
    """
    return sum(k * len(blocks) for k, blocks in _blocks(action, expert))


def matching_blocks(action: str, expert: Expert) -> list[tuple[int, int, int]]:
    """
    The blocks themselves, as `SequenceMatcher(None, action, expert, autojunk=False).get_matching_blocks()` gives them
    without its empty last one: start in `action`, start in the expert's text, length.

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
