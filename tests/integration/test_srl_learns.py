"""The whole job on a tiny model: similarity to the expert's steps rises on problems that were not trained on."""

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from trl_srl import SRLTrainer, evaluate_steps, format_trajectories, split_by_problem


def test_similarity_rises_on_held_out_problems(format_model, expert_trajectories: Dataset, srl_args):
    rows, _ = format_trajectories(expert_trajectories, system_prompt="S")
    splits = split_by_problem(rows, validation_size=10)
    tokenizer = AutoTokenizer.from_pretrained(format_model)
    settings = dict(max_completion_length=24, temperature=1.0, batch_size=20)
    before = evaluate_steps(
        AutoModelForCausalLM.from_pretrained(format_model), tokenizer, splits["validation"], **settings
    )
    args = srl_args(max_steps=80, per_device_train_batch_size=64, learning_rate=2e-3, logging_steps=20)
    trainer = SRLTrainer(format_model, args, splits["train"])
    trainer.train()
    after = evaluate_steps(trainer.model, tokenizer, splits["validation"], **settings)
    assert before.num_rows == after.num_rows == 20
    assert after.similarity > before.similarity + 0.1, (before, after)
    assert after.format_rate >= 0.9
