"""The number that SRL rewards: 2M/T, how much of the expert's step the model's step contains, in order.

M counts the characters in matching blocks (find the longest common block, then look left and right of it), T is the
length of both texts together. The paper computes it with `difflib`; so do we, with two choices it leaves open: `a` is
the model's text and `b` the expert's, and `autojunk` is off. With difflib's default the number jumps as soon as the
expert's step has 200 characters, and a policy can learn to use that.

Up to `MAX_LENGTH` the number is difflib's, bit for bit. The way to it is not, because difflib takes a second for ten
thousand characters and hours for unlucky ones: compiled code (`_matching.c`) counts ordinary texts, and `matching.py`
those that the compiled code gives up, or all of them where it could not be compiled. Neither keeps threads, locks or
results between calls, so that forked and spawned workers and threads can score as they like.
"""

import warnings
from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher
from importlib import import_module
from types import ModuleType

from .matching import Expert, count_matches


compiled: ModuleType | None
try:
    compiled = import_module("._matching", __package__)
except ImportError:  # installed from source where there is no C compiler
    compiled = None

MAX_LENGTH = 20_000  # characters (or words, or tokens) of each text that are compared


def step_similarity(action: Sequence[Hashable], expert: Sequence[Hashable], *, autojunk: bool = False) -> float:
    r"""
    Similarity 2M/T of two steps, in [0, 1], exactly as difflib counts it.

    Source: section 3 of the SRL paper (arXiv 2510.25992); characters, argument order and `autojunk=False` are ours.
    The texts are compared as they are: strip them first if outer white space should not count. Two empty texts are
    equal, hence 1.0. The order of the arguments matters slightly, as it does in difflib.

    Args:
        action (`str` or `Sequence`):
            What the model wrote after its monologue: a text, or a sequence of words or token ids.
        expert (`str` or `Sequence`):
            The expert's step, in the same form.
        autojunk (`bool`, *optional*, defaults to `False`):
            For comparison only: the number that `SequenceMatcher` gives by default, computed by difflib itself.

    Returns:
        `float`: 2M/T, 1.0 only for equal texts. Of a text longer than `MAX_LENGTH` (20,000) only the beginning is
        searched for blocks, while T still counts all of it: what was cut off counts as different.

    Example:

    ```python
    >>> from trl_srl import step_similarity
    >>> step_similarity("x = 3", "x = 4")  # M = 4 ("x = "), T = 10
    0.8
    >>> step_similarity("x = 3".split(), "x = 4".split())  # in words: M = 2, T = 6
    0.6666666666666666

    ```
    """
    if autojunk:
        warnings.warn(
            "autojunk=True is difflib's default, not SRL's reward: as soon as the expert's step has 200 characters, "
            "those that make up more than 1 % of it are ignored, so the number jumps at a length that a policy can "
            "learn to use, and the time is not bounded. Leave it out except to compare.",
            stacklevel=2,
        )
        return SequenceMatcher(None, action, expert, autojunk=True).ratio()
    action, expert = _hashable(action), _hashable(expert)
    return 1.0 if action == expert else _similarities([action], expert)[0]


def step_similarities(actions: Sequence[Sequence[Hashable]], experts: Sequence[Sequence[Hashable]]) -> list[float]:
    """
    [`step_similarity`] of many steps: the rollouts of a group share what is made of their expert's step, and what
    occurs twice is compared once.

    Args:
        actions (`list[str]` or `list[Sequence]`):
            N actions.
        experts (`list[str]` or `list[Sequence]`):
            The N expert actions.

    Returns:
        `list[float]`: N similarities.

    Example:

    ```python
    >>> from trl_srl.similarity import step_similarities
    >>> step_similarities(["x = 3", "x = 4", "x = 3"], ["x = 4"] * 3)
    [0.8, 1.0, 0.8]

    ```
    """
    pairs = [(_hashable(action), _hashable(expert)) for action, expert in zip(actions, experts, strict=True)]
    groups: dict[Sequence[Hashable], dict[Sequence[Hashable], float]] = {}
    for action, expert in pairs:
        groups.setdefault(expert, {})[action] = 1.0
    for expert, similarities in groups.items():
        different = [action for action in similarities if action != expert]
        similarities.update(zip(different, _similarities(different, expert), strict=True))
    return [groups[expert][action] for action, expert in pairs]


def _hashable(step: Sequence[Hashable]) -> Sequence[Hashable]:
    if isinstance(step, str):
        return step
    try:
        tokens = tuple(step)
        hash(tokens)
    except TypeError as error:
        raise TypeError(
            f"A step is a text or a sequence of words or token ids, not {step!r:.80}. Give the step itself, or tokens "
            "that can be compared by their hash."
        ) from error
    return tokens


def _similarities(actions: Sequence[Sequence[Hashable]], expert: Sequence[Hashable]) -> list[float]:
    """Those of actions that differ from their expert's."""
    matches = _count([action[:MAX_LENGTH] for action in actions], expert[:MAX_LENGTH])
    return [2.0 * count / (len(action) + len(expert)) for action, count in zip(actions, matches, strict=True)]


def _count(actions: Sequence[Sequence[Hashable]], expert: Sequence[Hashable]) -> list[int]:
    """M of each of the actions with one expert."""
    texts, text = _as_texts(actions, expert)
    counts: list[int | None] = compiled.count_matches(texts, text) if compiled else [None] * len(texts)
    named = Expert(text)
    return [
        count_matches(other, named) if count is None else count for other, count in zip(texts, counts, strict=True)
    ]


def _as_texts(actions: Sequence[Sequence[Hashable]], expert: Sequence[Hashable]) -> tuple[list[str], str]:
    """Texts as they are; tokens as one character for each of the expert's tokens."""
    texts = [sequence for sequence in actions if isinstance(sequence, str)]
    if isinstance(expert, str) and len(texts) == len(actions):
        return texts, expert
    code: dict[Hashable, str] = {}
    for token in expert:
        code.setdefault(token, chr(len(code) + 1))  # at most MAX_LENGTH of them
    texts = ["".join([code.get(token, "\0") for token in sequence]) for sequence in (*actions, expert)]
    return texts[:-1], texts[-1]
