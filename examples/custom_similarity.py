# /// script
# requires-python = ">=3.11"
# dependencies = ["trl-srl[qlora]"]
# ///
"""A similarity of your own: one that weighs numbers.

2M/T counts characters, so a wrong digit in a step of 40 characters costs 0.025. Here a step earns half of its reward
for the expert's wording and half for the expert's numbers, in order:

    python examples/custom_similarity.py --dataset solutions.jsonl --use_peft --lora_target_modules all-linear

It is an ordinary TRL reward function beside SRL's; `reward_weights` decides how much each counts. Dynamic sampling
looks at the sum, so that groups which differ only in their numbers are informative too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trl import ModelConfig, TrlParser, get_peft_config, get_quantization_config

from trl_srl import SRLConfig, SRLTrainer, load_rows, parse_completion, step_similarity
from trl_srl.prompts import completion_text


@dataclass
class Example:
    """What is learned from."""

    dataset: str = "solutions.jsonl"  # `problem` and `steps`


@dataclass
class Config(SRLConfig):
    """SRL whose reward is half wording and half numbers."""

    output_dir: str | None = "runs/custom_similarity"
    reward_weights: list[float] | None = None
    learning_rate: float = 1e-5  # for LoRA
    logging_steps: int = 1


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)?", text)


def number_similarity(completions: Sequence[Any], expert_action: Sequence[str], **kwargs: Any) -> list[float | None]:
    """2M/T over the numbers of a step instead of its characters; None, which is no reward, where there are none."""
    scores: list[float | None] = []
    for completion, expert in zip(completions, expert_action, strict=True):
        parsed = parse_completion(completion_text(completion))
        if not numbers(expert):
            scores.append(None)
        elif parsed is None:
            scores.append(-1.0)  # as in SRL: what does not follow the format must not pay
        else:
            scores.append(step_similarity(numbers(parsed.action), numbers(expert)))
    return scores


def main() -> None:
    example, args, model_args = TrlParser((Example, Config, ModelConfig)).parse_args_and_config()
    args.reward_weights = args.reward_weights or [0.5, 0.5]  # the similarity's weight is the first
    trainer = SRLTrainer(
        model=model_args.model_name_or_path or "Qwen/Qwen2.5-0.5B-Instruct",
        args=args,
        train_dataset=load_rows(example.dataset),
        reward_funcs=number_similarity,
        peft_config=get_peft_config(model_args),
        quantization_config=get_quantization_config(model_args),
    )
    trainer.train()
    last = next(log for log in reversed(trainer.state.log_history) if "srl/similarity" in log)
    print(f"similarity {last['srl/similarity']:.3f}, numbers {last['rewards/number_similarity/mean']:.3f}")
    trainer.save_model()


if __name__ == "__main__":
    main()
