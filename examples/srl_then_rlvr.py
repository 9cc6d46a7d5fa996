# /// script
# requires-python = ">=3.11"
# dependencies = ["trl-srl[qlora,eval]"]
# ///
"""SRL, then RLVR: first the expert's steps, then whole solutions with the right answer, from exactly the same weights.

    python examples/srl_then_rlvr.py --load_in_4bit --dtype bfloat16 --use_peft --lora_target_modules all-linear

The options hold for both stages. `trl-srl train --config examples/configs/srl_then_rlvr.yaml` does the same from a
file, and goes on after an interruption; this is what happens inside.
"""

from dataclasses import dataclass

from trl import ModelConfig, TrlParser, get_peft_config, get_quantization_config
from trl.rewards import accuracy_reward

from trl_srl import (
    DynamicSamplingConfig,
    DynamicSamplingTrainer,
    SRLConfig,
    SRLTrainer,
    adapt,
    format_trajectories,
    load_rows,
    make_problem_rows,
    split_by_problem,
)
from trl_srl.evaluation import SolvingSettings, TransformersBackend, evaluate_solutions, read_problems
from trl_srl.weights.handover import check_handover, read_handover, trainer_logits, write_handover


@dataclass
class Example:
    """What is learned from, and what the second stage has of its own."""

    dataset: str = "openai/gsm8k"  # or a .jsonl file with its columns, `question` and `answer`
    dataset_config: str | None = "main"
    num_held_out: int = 60  # problems
    solution_length: int = 1024  # tokens of a whole solution
    solving_prompt: str | None = None  # the system prompt that asks for one


@dataclass
class SRL(SRLConfig):
    """The first stage; the options of the command line come on top."""

    output_dir: str | None = "runs/srl_then_rlvr"
    max_steps: int = 200
    learning_rate: float = 1e-5  # for LoRA
    max_completion_length: int = 256


@dataclass
class RLVR(DynamicSamplingConfig):
    """The second stage; the options of the command line come on top."""

    max_steps: int = 200
    learning_rate: float = 5e-6


def main() -> None:
    example, srl, model_args = TrlParser((Example, SRL, ModelConfig)).parse_args_and_config()
    _, rlvr, *_ = TrlParser((Example, RLVR, ModelConfig)).parse_args_and_config(return_remaining_strings=True)
    srl.output_dir, rlvr.output_dir = f"{srl.output_dir}/srl", f"{srl.output_dir}/rlvr"
    rlvr.max_completion_length = example.solution_length
    model = model_args.model_name_or_path or "Qwen/Qwen2.5-0.5B-Instruct"
    quantized = {"quantization_config": get_quantization_config(model_args)}

    solutions = adapt(load_rows(example.dataset, name=example.dataset_config), "gsm8k")
    rows = split_by_problem(format_trajectories(solutions, system_prompt=srl.system_prompt)[0], example.num_held_out)
    problems, _ = make_problem_rows(rows["train"], system_prompt=example.solving_prompt)
    held_out, _ = read_problems(rows["validation"])
    settings = SolvingSettings(max_completion_length=example.solution_length, system_prompt=example.solving_prompt)

    def accuracy(trainer: DynamicSamplingTrainer) -> str:
        backend = TransformersBackend(trainer.model, trainer.processing_class)
        found = evaluate_solutions(backend, held_out, settings)["metrics"]["greedy_accuracy"]
        return f"{found['value']:.1%} ({found['low']:.1%} to {found['high']:.1%})"

    first = SRLTrainer(model, srl, rows["train"], peft_config=get_peft_config(model_args), **quantized)
    before, start = accuracy(first), trainer_logits(first)
    first.train()
    first.save_model()
    write_handover(first, srl.output_dir, start, {})  # what the model says now, on fixed texts

    # An adapter's folder as the model: it is trained further, on its base model loaded as before.
    second = DynamicSamplingTrainer(srl.output_dir, accuracy_reward, rlvr, train_dataset=problems, **quantized)
    print(check_handover(second, read_handover(srl.output_dir)))  # an error if it says something else
    between = accuracy(second)
    second.train()
    second.save_model()
    print(f"right answers  {before} → SRL {between} → RLVR {accuracy(second)}")


if __name__ == "__main__":
    main()
