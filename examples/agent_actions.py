# /// script
# requires-python = ">=3.11"
# dependencies = ["trl-srl[qlora]"]
# ///
"""SRL on agents: a teacher's trajectories in a repository → a small model that writes its next command.

    python examples/agent_actions.py --load_in_4bit --dtype bfloat16 --use_peft --lora_target_modules all-linear

The prompt is the task and the last two actions with what came of them; the model thinks, then acts. Only the action is
compared with the teacher's, in a canonical form: neither prose around it nor the order of keys in its JSON counts.
"""

from dataclasses import dataclass

from trl import ModelConfig, TrlParser, get_peft_config, get_quantization_config

from trl_srl import SRLConfig, SRLTrainer, adapt, format_trajectories, load_rows


@dataclass
class Example:
    """What is learned from."""

    dataset: str = "SWE-bench/SWE-smith-trajectories"  # or a .jsonl file with chat `messages`
    split: str = "xml"  # says which functions there are; "tool" does not
    adapter: str = "swe_smith"
    max_trajectories: int = 500


@dataclass
class Config(SRLConfig):
    """SRL with the settings of this example; the options of the command line come on top."""

    output_dir: str | None = "runs/agent_actions"
    max_steps: int = 200
    learning_rate: float = 1e-5  # for LoRA
    max_prompt_length: int | None = 8192  # in tokens; earlier actions are left out to fit, the task never
    max_completion_length: int = 1024
    history_window: int = 2  # actions in the prompt, as in the paper
    logging_steps: int = 1


def main() -> None:
    example, args, model_args = TrlParser((Example, Config, ModelConfig)).parse_args_and_config()
    trajectories = load_rows(example.dataset, split=example.split)
    trajectories = trajectories.select(range(min(example.max_trajectories, len(trajectories))))
    rows, summary = format_trajectories(adapt(trajectories, example.adapter), history_window=args.history_window)
    print(summary)
    print(f"An action to learn, as {rows[0]['action_format']}:\n{rows[0]['expert_action']}")

    trainer = SRLTrainer(
        model=model_args.model_name_or_path or "Qwen/Qwen2.5-Coder-0.5B-Instruct",
        args=args,
        train_dataset=rows,
        peft_config=get_peft_config(model_args),
        quantization_config=get_quantization_config(model_args),
    )
    trainer.train()
    last = next(log for log in reversed(trainer.state.log_history) if "srl/similarity" in log)
    print(f"similarity {last['srl/similarity']:.3f}, actions that can be run {last['srl/action_rate']:.1%}")
    trainer.save_model()


if __name__ == "__main__":
    main()
