# /// script
# requires-python = ">=3.11"
# dependencies = ["trl-srl[qlora]"]
# ///
"""SRL on GSM8K: worked solutions in, a small model that writes their steps out.

    python examples/math_srl.py --load_in_4bit --dtype bfloat16 --use_peft --lora_target_modules all-linear

Every field of SRLConfig and TRL's ModelConfig is an option.
"""

from dataclasses import dataclass

from trl import ModelConfig, TrlParser, get_peft_config, get_quantization_config

from trl_srl import SRLConfig, SRLTrainer, adapt, evaluate_steps, format_trajectories, load_rows, split_by_problem


@dataclass
class Example:
    """What is learned from."""

    dataset: str = "openai/gsm8k"  # or a .jsonl file in its form: `question`, and `answer` that ends in `#### 72`
    dataset_config: str | None = "main"
    num_held_out: int = 60  # problems


@dataclass
class Config(SRLConfig):
    """SRL with the settings of this example; the options of the command line come on top."""

    output_dir: str | None = "runs/math_srl"
    max_steps: int = 200
    learning_rate: float = 1e-5  # for LoRA; for all weights the paper's 5e-7
    max_completion_length: int = 256
    logging_steps: int = 1


def main() -> None:
    example, args, model_args = TrlParser((Example, Config, ModelConfig)).parse_args_and_config()

    # One row for each step: the problem and the expert's steps so far → the expert's next step.
    solutions = adapt(load_rows(example.dataset, name=example.dataset_config), "gsm8k")
    step_rows, summary = format_trajectories(solutions)
    print(summary)
    rows = split_by_problem(step_rows, example.num_held_out)

    trainer = SRLTrainer(
        model=model_args.model_name_or_path or "Qwen/Qwen2.5-0.5B-Instruct",
        args=args,
        train_dataset=rows["train"],
        peft_config=get_peft_config(model_args),
        quantization_config=get_quantization_config(model_args),
    )
    settings = {"max_completion_length": args.max_completion_length}
    before = evaluate_steps(trainer.model, trainer.processing_class, rows["validation"], **settings)
    trainer.train()
    after = evaluate_steps(trainer.model, trainer.processing_class, rows["validation"], **settings)

    # The reward sees the expert's wording, not whether a step is right: look at both.
    print(f"similarity   {before.similarity:.3f} → {after.similarity:.3f}")
    print(f"exact steps  {before.exact_step_rate:.1%} → {after.exact_step_rate:.1%}")
    trainer.save_model()


if __name__ == "__main__":
    main()
