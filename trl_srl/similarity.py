"""The number that SRL rewards: 2M/T, how much of the expert's step the model's step contains, in order.

M counts the characters in matching blocks (find the longest common block, then look left and right of it), T is the
length of both texts together. The paper computes it with `difflib`; so do we, with two choices it leaves open: `a` is
the model's text and `b` the expert's, and `autojunk` is off. With difflib's default the number jumps as soon as the
expert's step has 200 characters, and a policy can learn to use that.
"""

from difflib import SequenceMatcher


def step_similarity(action: str, expert: str) -> float:
    r"""
    Similarity 2M/T of two steps, in [0, 1], exactly as difflib counts it.

    Source: section 3 of the SRL paper (arXiv 2510.25992); characters, argument order and `autojunk=False` are ours.
    The texts are compared as they are: strip them first if outer white space should not count. Two empty texts are
    equal, hence 1.0. The order of the arguments matters slightly, as it does in difflib.

    Args:
        action (`str`):
            What the model wrote after its monologue.
        expert (`str`):
            The expert's step.

    Returns:
        `float`: 2M/T, 1.0 only for equal texts.

    Example:

    ```python
    >>> from trl_srl import step_similarity
    >>> step_similarity("x = 3", "x = 4")  # M = 4 ("x = "), T = 10
    0.8
    >>> step_similarity("x = 3", "x = 3")
    1.0

    ```
    """
    return SequenceMatcher(None, action, expert, autojunk=False).ratio()
