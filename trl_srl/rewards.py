"""Reward functions with TRL's signature: one number for each completion, nothing shared between calls.

They import neither torch nor TRL and can be handed to a plain `GRPOTrainer`, or named on TRL's command line:
`trl grpo --reward_funcs trl_srl.rewards.step_similarity_reward`.
"""

from collections.abc import Callable, Collection, Sequence
from math import isnan, nan
from typing import Any

from .actions import comparable, read_action
from .prompts import completion_text, parse_completion
from .similarity import MAX_LENGTH, step_similarities


def step_similarity_reward(
    completions: Sequence[Any],
    expert_action: Sequence[str] | None = None,
    completion_ids: Sequence[Sequence[int]] | None = None,
    *,
    action_format: Sequence[str | None] | None = None,
    format_penalty: float = -1.0,
    think_prefilled: bool = False,
    decode: Callable[[Any], list[str]] | None = None,
    eos_token_ids: Collection[int] | None = None,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    log_metric: Callable[[str, float], None] | None = None,
    **kwargs: Any,
) -> list[float]:
    r"""
    The SRL reward: the similarity of the action to the expert's, or -1 when the format is not followed.

    Source: section 3 of the SRL paper. Outer white space is stripped on both sides, nothing else is changed.

    Args:
        completions (`list[str]` or `list[list[dict]]`):
            N completions, in TRL's standard or conversational form.
        expert_action (`list[str]`):
            The N expert actions: the step rows' column of this name.
        completion_ids (`list[list[int]]`, *optional*):
            Token ids of the completions, with their end-of-sequence token if they have one.
        action_format (`list[str]`, *optional*):
            The rows' column of this name, in the rows of agents: both sides are read in their canonical form
            ([`read_action`]), so that prose around the action, and key order and white space in its JSON, cost
            nothing. A completion in which no action can be read is compared as it was written.
        format_penalty (`float`, *optional*, defaults to `-1.0`):
            Reward of a completion that does not follow the format.
        think_prefilled (`bool`, *optional*, defaults to `False`):
            Whether the chat template already wrote `<think>`. [`SRLTrainer`] finds out by itself.
        decode (`Callable`, *optional*):
            Token ids to texts. [`SRLTrainer`] passes one, so that nothing TRL's parsing moved or dropped is missed.
        eos_token_ids (`Collection[int]`, *optional*):
            Token ids that end a completion, to count truncated ones.
        log_extra, log_metric (`Callable`, *optional*):
            Passed by TRL. Columns logged: `action`, `expert_action`, `similarity` (NaN when malformed). Metrics
            logged: `srl/similarity`, `srl/exact_step_rate` (a malformed completion counts as 0 in both),
            `srl/format_rate`, `srl/action_rate` (of agents: completions with an action that can be read),
            `srl/cut_rate` (the action or the expert's step is longer than [`step_similarity`]
            looks), `srl/truncated_rate` (needs `completion_ids` and `eos_token_ids`).
        **kwargs:
            Other columns of the dataset, ignored.

    Returns:
        `list[float]`: N rewards, in [0, 1] or exactly `format_penalty`.

    Raises:
        `ValueError`: when the rows have no `expert_action`.

    Example:

    ```python
    >>> from trl_srl import step_similarity_reward
    >>> step_similarity_reward(["<think>hm</think>x = 3", "x = 3"], expert_action=["x = 4", "x = 4"])
    [0.8, -1.0]

    ```
    """
    if expert_action is None:
        raise ValueError(
            "step_similarity_reward needs a column `expert_action`, but the dataset has none. Make step rows first: "
            "`trl-srl prepare`, or trl_srl.format_trajectories(dataset)."
        )
    formats = [None] * len(completions) if action_format is None else action_format
    if decode is not None and completion_ids is not None:
        texts = decode(completion_ids)
    else:
        texts = [
            completion_text(completion, think_prefilled, name)
            for completion, name in zip(completions, formats, strict=True)
        ]
    parsed = [parse_completion(text, think_prefilled) for text in texts]
    experts = [comparable(expert.strip(), name) for expert, name in zip(expert_action, formats, strict=True)]
    actions = [
        None if completion is None else comparable(completion.action, name)
        for completion, name in zip(parsed, formats, strict=True)
    ]
    pairs = [(action, expert) for action, expert in zip(actions, experts, strict=True) if action is not None]
    well_formed = step_similarities([action for action, _ in pairs], [expert for _, expert in pairs])
    in_order = iter(well_formed)
    similarities = [nan if action is None else next(in_order) for action in actions]
    if log_extra is not None:
        log_extra("action", ["" if action is None else action for action in actions])
        log_extra("expert_action", experts)
        log_extra("similarity", similarities)
    if log_metric is not None and texts:
        log_metric("srl/similarity", sum(well_formed) / len(texts))
        log_metric("srl/format_rate", len(well_formed) / len(texts))
        log_metric("srl/exact_step_rate", sum(similarity == 1.0 for similarity in similarities) / len(texts))
        agents = [(action, name) for action, name in zip(actions, formats, strict=True) if name not in (None, "text")]
        if agents:
            read = sum(action is not None and read_action(action, str(name)) is not None for action, name in agents)
            log_metric("srl/action_rate", read / len(agents))
        log_metric("srl/cut_rate", sum(max(map(len, pair)) > MAX_LENGTH for pair in pairs) / len(texts))
        if completion_ids is not None and eos_token_ids is not None:
            truncated = sum(not ids or ids[-1] not in eos_token_ids for ids in completion_ids)
            log_metric("srl/truncated_rate", truncated / len(texts))
    return [format_penalty if isnan(similarity) else similarity for similarity in similarities]
