"""Step-level evaluation: how well a model writes the expert's next step, on problems it has not seen.

Malformed completions always count: as 0 in every rate. Similarity never stands alone, because it can rise while right
steps do not.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed
from transformers.utils import logging as transformers_logging

from .actions import comparable
from .prompts import Message, is_think_prefilled, parse_completion, render_prompt
from .similarity import step_similarity


_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")


class StepResult(NamedTuple):
    """
    One evaluated step row: the completion, the action read from it (`None` if malformed) and its similarity. Actions
    of agents are in their canonical form.
    """

    completion: str
    action: str | None
    expert_action: str
    similarity: float
    truncated: bool


class StepEvaluation(NamedTuple):
    """
    Means over all step rows, in [0, 1].

    Attributes:
        similarity (`float`): Similarity 2M/T to the expert's step; a malformed completion counts as 0.
        format_rate (`float`): Share of well-formed completions.
        exact_step_rate (`float`): Share of actions equal to the expert's.
        right_number_rate (`float`): Share of actions whose last number equals the last number of the expert's step,
            among the rows whose expert step has a number (NaN if none has).
        truncated_rate (`float`): Share of completions cut off at the length limit.
        num_rows (`int`): Number of step rows.
    """

    similarity: float
    format_rate: float
    exact_step_rate: float
    right_number_rate: float
    truncated_rate: float
    num_rows: int


def last_number(text: str) -> float | None:
    """
    The last number written in a text, or `None`.

    ```python
    >>> from trl_srl.evaluation import last_number
    >>> last_number("35 × 1,000 = 35,000 apples.")
    35000.0

    ```
    """
    numbers = _NUMBER.findall(text)
    return float(numbers[-1].replace(",", "")) if numbers else None


def _batches(prompts: Sequence[list[int]], batch_size: int) -> Iterator[list[int]]:
    """Places of the prompts in batches of similar length, so that little is padded."""
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


@torch.no_grad()
def _generate(model: Any, tokenizer: Any, prompts: Sequence[list[int]], **generation: Any) -> torch.Tensor:
    """Token ids of the completions, padded on the right."""
    padded = tokenizer.pad({"input_ids": list(prompts)}, padding_side="left", return_tensors="pt").to(model.device)
    output = model.generate(
        input_ids=padded["input_ids"],
        attention_mask=padded["attention_mask"],
        pad_token_id=tokenizer.pad_token_id,
        **generation,
    )
    return output[:, padded["input_ids"].shape[1] :]


def generate_steps(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    step_rows: Dataset,
    *,
    max_completion_length: int = 256,
    temperature: float = 0.0,
    batch_size: int = 16,
    seed: int = 0,
) -> list[StepResult]:
    """
    Let a model write the next step of every step row.

    Args:
        model ([`~transformers.PreTrainedModel`]):
            The model, on the device to use.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            Its tokenizer, with a chat template.
        step_rows ([`~datasets.Dataset`]):
            Rows with `prompt` and `expert_action`, of problems that were not trained on.
        max_completion_length (`int`, *optional*, defaults to `256`):
            Limit in tokens of a completion.
        temperature (`float`, *optional*, defaults to `0.0`):
            0 decodes greedily.
        batch_size (`int`, *optional*, defaults to `16`):
            Completions generated at once.
        seed (`int`, *optional*, defaults to `0`):
            Seed for sampling.

    Returns:
        `list[StepResult]`: in the order of the rows.
    """
    if not len(step_rows):
        raise ValueError("There is no step row to evaluate.")
    if tokenizer.chat_template is None:
        raise ValueError(
            "The tokenizer has no chat template, so SRL's prompts cannot be rendered: use an instruct model."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    set_seed(seed)
    messages: list[list[Message]] = step_rows["prompt"][:]
    prompts = [render_prompt(prompt, tokenizer, tokenize=True) for prompt in messages]
    prefilled = [is_think_prefilled(render_prompt(prompt, tokenizer)) for prompt in messages]
    eos = model.generation_config.eos_token_id
    eos_ids = {tokenizer.eos_token_id, *(eos if isinstance(eos, list) else [eos])} - {None}
    sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}
    if temperature > 0:
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    results: list[StepResult | None] = [None] * len(prompts)
    was_training = model.training
    model.eval()
    progress = transformers_logging.tqdm(total=len(prompts), desc="Evaluating steps", unit="step")
    for places in _batches(prompts, batch_size):
        completions = _generate(
            model,
            tokenizer,
            [prompts[place] for place in places],
            max_new_tokens=max_completion_length,
            eos_token_id=sorted(eos_ids),
            **sampling,
        )
        for place, ids in zip(places, completions.tolist(), strict=True):
            end = next((i for i, token in enumerate(ids) if token in eos_ids), None)
            text = str(tokenizer.decode(ids[:end], skip_special_tokens=False))
            row = step_rows[place]
            action_format = row.get("action_format")
            expert = comparable(row["expert_action"].strip(), action_format)
            parsed = parse_completion(text, prefilled[place])
            action = None if parsed is None else comparable(parsed.action, action_format)
            similarity = 0.0 if action is None else step_similarity(action, expert)
            results[place] = StepResult(text, action, expert, similarity, truncated=end is None)
        progress.update(len(places))
    progress.close()
    model.train(was_training)
    return [result for result in results if result is not None]


def summarize_steps(results: Sequence[StepResult]) -> StepEvaluation:
    """Means of step results, see [`StepEvaluation`]."""
    total = len(results)
    expected = [(result.action, last_number(result.expert_action)) for result in results]
    numbers = [(action, number) for action, number in expected if number is not None]
    right = sum(action is not None and last_number(action) == number for action, number in numbers)
    return StepEvaluation(
        similarity=sum(result.similarity for result in results) / total,
        format_rate=sum(result.action is not None for result in results) / total,
        exact_step_rate=sum(result.action == result.expert_action for result in results) / total,
        right_number_rate=right / len(numbers) if numbers else float("nan"),
        truncated_rate=sum(result.truncated for result in results) / total,
        num_rows=total,
    )


def evaluate_steps(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, step_rows: Dataset, **settings: Any
) -> StepEvaluation:
    """
    Evaluate a model on step rows: it sees the expert's steps so far and writes the next one.

    Args:
        model, tokenizer, step_rows, **settings:
            As in [`generate_steps`]: `max_completion_length`, `temperature`, `batch_size`, `seed`.

    Returns:
        [`StepEvaluation`].
    """
    return summarize_steps(generate_steps(model, tokenizer, step_rows, **settings))
