"""Agents' trajectories through the whole library: adapter, step rows, training, evaluation, on a tiny model."""

import json
import random

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from trl_srl import SRLTrainer, adapt, evaluate_steps, format_trajectories, gold_completion
from trl_srl.prompts import render_prompt


def chat(number):
    messages = [{"role": "user", "content": f"{number}+{number}"}]
    for command in ("add", "sum", "submit"):
        messages += [
            {"role": "assistant", "content": f"I {command}.\n\n```bash\n{command} {number}\n```"},
            {"role": "user", "content": f"OBSERVATION:\nsum is {number}"},
        ]
    return {"messages": json.dumps(messages), "resolved": number != 3}


@pytest.fixture(scope="module")
def trajectories():
    return adapt(Dataset.from_list([chat(number) for number in range(6)]), "swe_smith")


@pytest.fixture(scope="module")
def agent_model(tmp_path_factory, make_model, make_tokenizer, trajectories):
    """Folder of a tiny model after a supervised warm start on actions with wrong commands."""
    torch.manual_seed(0)
    rng = random.Random(0)
    tokenizer, model = make_tokenizer(), make_model()
    rows, _ = format_trajectories(trajectories, system_prompt="S")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(150):
        prompts = [render_prompt(row["prompt"], tokenizer, tokenize=True) for row in rng.sample(list(rows), 8)]
        actions = [f"```bash\n{rng.choice(['add', 'sum', 'ls', 'submit'])} {rng.randint(0, 9)}\n```" for _ in prompts]
        endings = [tokenizer(gold_completion(action, "m") + tokenizer.eos_token)["input_ids"] for action in actions]
        length = max(len(prompt) + len(ending) for prompt, ending in zip(prompts, endings, strict=True))
        input_ids = torch.full((len(prompts), length), tokenizer.pad_token_id)
        labels = torch.full((len(prompts), length), -100)
        for i, (prompt, ending) in enumerate(zip(prompts, endings, strict=True)):
            input_ids[i, : len(prompt) + len(ending)] = torch.tensor(prompt + ending)
            labels[i, len(prompt) : len(prompt) + len(ending)] = torch.tensor(ending)
        model(input_ids=input_ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("agent-model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def logged(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def test_training_reads_actions_and_moves_weights(agent_model, trajectories, srl_args, capsys):
    args = srl_args(max_steps=2, max_completion_length=40, history_window=2)
    trainer = SRLTrainer(agent_model, args, trajectories)
    row = trainer.train_dataset[2]
    assert [message["role"] for message in row["prompt"]] == ["system", *["user", "assistant"] * 2, "user"]
    assert (row["expert_action"], row["action_format"]) == ("```bash\nsubmit 0\n```", "command")
    assert "15 step rows from 5 problems" in capsys.readouterr().out
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert any(not torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True))
    assert all(0 < rate <= 1 for rate in logged(trainer, "srl/action_rate"))
    assert all(0 < similarity < 1 for similarity in logged(trainer, "srl/similarity"))


def test_evaluation_compares_canonical_forms(agent_model, trajectories):
    loaded = AutoModelForCausalLM.from_pretrained(agent_model), AutoTokenizer.from_pretrained(agent_model)
    rows = format_trajectories(trajectories, system_prompt="S")[0].to_list()
    wordy = [row | {"expert_action": f"I do it.\n\n{row['expert_action']}\nDone."} for row in rows]

    def evaluate(rows):
        return evaluate_steps(*loaded, Dataset.from_list(rows), max_completion_length=40)

    assert evaluate(wordy) == evaluate(rows)
    assert evaluate(rows).similarity > 0.5
    as_text = [row | {"action_format": "text"} for row in wordy]
    assert evaluate(as_text).similarity < evaluate(rows).similarity
