"""skills/trl-srl followed to the letter: each of its commands, in its order, in one folder, on a tiny model."""

import json
import shlex

import pytest
import yaml

from trl_srl.cli import main

from ..test_skill import LINES, YAML


# What a tiny model on a CPU needs otherwise; everything else stands as the skill has it.
MODEL = "Qwen/Qwen2.5-1.5B-Instruct"
HERE = {
    "--validation_size": "5",
    "--max_steps": "2",
    "--eval_steps": "1",
    "--max_completion_length": "24",
    "--learning_rate": "1e-2",
    "--num_samples": "2",
}
SETTINGS = {"use_cpu": True, "dtype": "float32", "fp16": False, "gradient_checkpointing": False, "disable_tqdm": True}
SETTINGS |= {"gradient_accumulation_steps": 4, "max_completion_length": 24, "learning_rate": 1e-2, "save_steps": 1}


def adapted(line):
    """The arguments of a command, with the values above in place of the skill's."""
    words = shlex.split(line.replace(MODEL, "tiny"))[1:]
    words = [HERE.get(before, word) for before, word in zip(["", *words[:-1]], words, strict=True)]
    if words[0] == "prepare":
        words += ["--system_prompt", "S"]
    if words[0] == "evaluate":
        words += ["--max_completion_length", "24", *(() if "--steps" in words else ("--system_prompt", "A"))]
    return words


@pytest.mark.slow
def test_every_command_in_its_order(tmp_path, monkeypatch, expert_trajectories, qlora_base, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").symlink_to(qlora_base)
    rows = [
        {"question": row["problem"], "answer": "\n".join([*row["steps"][:2], f"#### {row['answer']}"])}
        for row in expert_trajectories
    ]
    (tmp_path / "solutions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "srl.yaml").write_text(yaml.safe_dump(yaml.safe_load(YAML) | SETTINGS))
    followed = [line for line in LINES if not {"--version", "--rewrite_with"} & {*line.split()}]
    shown = []
    for line in followed:
        main(adapted(line))
        shown.append(capsys.readouterr().out)
    assert len(followed) >= 15
    printed = "\n".join(shown)
    for expected in (
        "70 step rows from 35 problems",
        "0 problems are in both training and validation",
        "Fits a card of",
        "First batch:",
        "step similarity: ",
        "greedy accuracy: ",
        "rollouts to browse",
        "left out for RLVR, as SRL's own: max_prompt_length",
        "The second stage starts 0.0e+00 from where the first ended",
        "Verified by the logits on 8 texts",
        "with 2 evaluations",
        "with 1 evaluations",
    ):
        assert expected in printed, expected
