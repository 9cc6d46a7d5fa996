"""Which groups are trained on, and how many more to sample: pure functions of the rewards.

Shapes: P prompts (groups) x G rollouts for each; N = P * G rollouts; F reward functions.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch


MAX_GROUPS_PER_MISSING = 4  # what a refill round asks for at most, however low the acceptance

TRAINED, MASKED, DROPPED, SURPLUS = "trained", "masked", "dropped", "surplus"  # what becomes of a sampled group

DROPPED_BECAUSE = {
    "unscored": "with fewer than two scored completions",
    "truncated": "all cut off at max_completion_length",
    "bad_format": "all badly formed",
    "low_std": "with (almost) equal rewards",
}
ADVICE = {
    "unscored": "Look at the reward functions: they return None, NaN or an infinite number for these completions.",
    "truncated": "Raise max_completion_length, or start from a model that stops sooner.",
    "bad_format": (
        "Start from a model that already writes <think> … </think> and then a step now and then: an instruct model, "
        "or one after a short supervised warm start on trl_srl.gold_completion."
    ),
    "low_std": (
        "Look at some completions: if they are all alike, raise temperature; if they differ, lower min_reward_std or "
        "check that the reward function can tell them apart."
    ),
}


def group_std(rewards_P_G: torch.Tensor) -> torch.Tensor:
    """
    Population standard deviation (divide by G) of each group's rewards, shape (P,), float64.

    Taken on r - r[0], so that equal rewards give exactly 0. NaN rewards are left out; a group of NaN alone gives 0.
    """
    rewards = rewards_P_G.cpu().double()  # a few numbers, and not every accelerator has float64
    finite = rewards.isfinite()
    first = rewards.gather(1, finite.int().argmax(1, keepdim=True))
    count = finite.sum(1, keepdim=True).clamp(min=1)
    centred = torch.where(finite, rewards - first, 0.0)
    deviations = torch.where(finite, centred - centred.sum(1, keepdim=True) / count, 0.0)
    return (deviations.square().sum(1) / count.squeeze(1)).sqrt()


def informative_groups(rewards_P_G: torch.Tensor, min_std: float) -> torch.Tensor:
    """Which groups have a reward to learn from, shape (P,): population standard deviation above `min_std`."""
    return group_std(rewards_P_G) > min_std


def refill_size(missing: int, kept: int, generated: int, batch: int, num_generations: int, num_processes: int) -> int:
    """
    How many groups to sample next.

    What is missing, divided by the acceptance so far, at most one batch (so that a refill needs no more memory than
    the first round), rounded up so that every process gets equally many rollouts.
    """
    # In whole numbers: 21 missing at an acceptance of 7 in 10 are 30 groups, where floating point says 31.
    wanted = missing * MAX_GROUPS_PER_MISSING
    if kept * MAX_GROUPS_PER_MISSING > generated:
        wanted = -(-missing * generated // kept)
    unit = num_processes // math.gcd(num_processes, num_generations)
    return -(-min(wanted, batch) // unit) * unit


class NothingToLearnError(RuntimeError):
    """Too many batches in a row without one informative group. The message says why, and what to change."""


class Selection(NamedTuple):
    """Groups that make the batch, oldest first, and how many at the end carry no weight in the loss."""

    groups: list[int]
    num_masked: int


def select_groups(std_P: Sequence[float], min_std: float, batch: int, fallback: str = "mask") -> Selection:
    """
    Choose `batch` of the sampled groups: the informative ones, oldest first, then what `fallback` says.

    `"mask"` adds the rejected groups of highest deviation; `"replace"` repeats informative groups in turn (and masks
    if there is none); `"error"` raises `RuntimeError`.
    """
    kept = [group for group, std in enumerate(std_P) if std > min_std]
    missing = batch - len(kept)
    if missing <= 0:
        return Selection(kept[:batch], 0)
    if fallback == "error":
        raise RuntimeError(
            f"Only {len(kept)} of {batch} groups are informative after sampling {len(std_P)}. Raise "
            "max_refill_rounds, lower min_reward_std, or set refill_fallback='mask' to train on what there is."
        )
    if fallback == "replace" and kept:
        return Selection([kept[i % len(kept)] for i in range(batch)], 0)
    rejected = sorted((g for g, std in enumerate(std_P) if std <= min_std), key=lambda g: (-std_P[g], g))
    return Selection(kept + rejected[:missing], missing)


def sampling_of_groups(std_P: Sequence[float], min_std: float, selection: Selection) -> list[str]:
    """
    What became of each sampled group: `"trained"`, `"masked"` (fills the batch without weight), `"dropped"` (not
    informative) or `"surplus"` (informative, but the batch was full).
    """
    sampling = [SURPLUS if std > min_std else DROPPED for std in std_P]
    for place, group in enumerate(selection.groups):
        sampling[group] = TRAINED if place < len(selection.groups) - selection.num_masked else MASKED
    return sampling


class Sampled(NamedTuple):
    """What is known of everything sampled for one batch: the same tensors on every process, oldest group first."""

    rewards_N_F: torch.Tensor
    rewards_P_G: torch.Tensor
    truncated_P_G: torch.Tensor
    bad_format_P_G: torch.Tensor

    def append(self, other: "Sampled") -> "Sampled":
        return Sampled(*(torch.cat(pair) for pair in zip(self, other, strict=True)))

    def count_informative(self, min_std: float) -> int:
        return int(informative_groups(self.rewards_P_G, min_std).sum())

    def dropped(self, min_std: float) -> Counter[str]:
        """
        Rejected groups by the first reason that holds: fewer than two completions with a reward, every one truncated,
        every one badly formed, or rewards too similar.
        """
        rejected = ~informative_groups(self.rewards_P_G, min_std)
        reasons = {
            "unscored": self.rewards_P_G.isfinite().sum(1) < 2,
            "truncated": self.truncated_P_G.all(1),
            "bad_format": self.bad_format_P_G.all(1),
            "low_std": torch.ones_like(rejected),
        }
        dropped: Counter[str] = Counter()
        for reason, holds in reasons.items():
            dropped[reason] = int((rejected & holds).sum())
            rejected = rejected & ~holds
        return dropped
