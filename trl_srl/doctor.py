"""What a run says of itself in plain words: the arithmetic of its batches, and after the first batch whether there is
anything to learn from. Pure functions from numbers to text; terminal.py shows them.
"""

from typing import NamedTuple


def batch_arithmetic(
    num_rows: int | None,
    completions: int,
    num_generations: int,
    steps_per_epoch: float | None,
    max_steps: int,
) -> str:
    """
    "P prompts x G rollouts per step, S steps per epoch", the arithmetic that everyone asks about.

    P is no whole number where a group is spread over several optimizer steps. `num_rows` and `steps_per_epoch` are
    `None` for a stream, whose length is unknown.
    """
    line = (
        f"{completions / num_generations:,.4g} prompts x {num_generations} rollouts = {completions:,} completions "
        "per optimizer step"
    )
    if num_rows is None or steps_per_epoch is None:
        return f"{line}; step rows are streamed; {max_steps:,} steps in all."
    return f"{line}; {num_rows:,} step rows = {steps_per_epoch:,.4g} steps per epoch; {max_steps:,} steps in all."


class FirstBatch(NamedTuple):
    """Shares of the first sampled batch, in [0, 1], and one of its completions as an example."""

    bad_format: float
    truncated: float
    uninformative: float
    completion: str
    expert_action: str
    reward: float
    think_prefilled: bool


class Diagnosis(NamedTuple):
    """The report on the first batch: shares and texts by what they are; `str()` is its plain text."""

    shares: dict[str, float]
    examples: dict[str, str]
    advice: list[str]

    def __str__(self) -> str:
        shares = ", ".join(f"{share:.0%} {name}" for name, share in self.shares.items())
        examples = (f"{name}: {text}" for name, text in self.examples.items())
        return "\n".join([f"First batch: {shares}.", *examples, *self.advice])


def diagnose(batch: FirstBatch, max_completion_length: int) -> Diagnosis:
    """A report on the first batch: what was seen, one example, and what to do if nothing can be learned from it."""
    advice = []
    form = "a monologue, </think> and one step" if batch.think_prefilled else "<think> … </think> and one step"
    if batch.truncated > 0.5:
        advice.append(
            "More than half of the completions are cut off before they end: raise max_completion_length, or ask for a "
            "shorter monologue with system_prompt."
        )
    if batch.bad_format > 0.9 and batch.truncated <= 0.5:
        advice.append(
            f"Almost no completion follows the format ({form}). SRL needs a model that follows it now and then: use "
            "an instruct model, or show it the format first by a short supervised warm start on "
            "trl_srl.gold_completion(expert_action, monologue)."
        )
    if batch.uninformative > 0.9 and batch.bad_format <= 0.9:
        advice.append(
            "The rewards hardly differ inside the groups, so there is almost nothing to learn: raise temperature, use "
            "more num_generations, or look whether the completions repeat the prompt."
        )
    return Diagnosis(
        shares={
            "of the completions badly formed": batch.bad_format,
            f"cut off at {max_completion_length} tokens": batch.truncated,
            "of the groups uninformative": batch.uninformative,
        },
        examples={
            f"One completion (reward {batch.reward:.3f})": _shorten(batch.completion),
            "The expert's step": _shorten(batch.expert_action),
        },
        advice=advice,
    )


def _shorten(text: str, limit: int = 400) -> str:
    """One line of at most about `limit` characters, the middle left out."""
    line = repr(text)
    return line if len(line) <= limit else f"{line[: limit // 2]} … {line[-limit // 2 :]}"
