"""The command line as a user calls it: prepare → train (alone, from YAML, in two processes) → evaluate; `trl grpo`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from trl_srl.cli import main

from .test_several_processes import LAUNCH


TRAINING = {
    "per_device_train_batch_size": 8,
    "num_generations": 4,
    "max_completion_length": 16,
    "max_steps": 1,
    "bf16": False,
    "use_cpu": True,
    "gradient_checkpointing": False,
    "report_to": "none",
    "dtype": "float32",
}


def run(*command):
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env=os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def prepared(tmp_path, expert_trajectories):
    source = tmp_path / "solutions.jsonl"
    source.write_text("".join(json.dumps(dict(row)) + "\n" for row in expert_trajectories))
    main(["prepare", str(source), "-o", str(tmp_path / "rows"), "--validation_size", "5", "--system_prompt", "S"])
    return tmp_path / "rows"


def test_prepare_train_from_yaml_and_evaluate(tmp_path, prepared, format_model, capsys):
    config = tmp_path / "srl.yaml"
    settings = TRAINING | {"model_name_or_path": format_model, "dataset_name": str(prepared), "eval_strategy": "steps"}
    settings |= {"dataset_test_split": "validation", "output_dir": str(tmp_path / "out"), "use_peft": True}
    config.write_text(yaml.safe_dump(settings | {"lora_target_modules": "all-linear", "min_reward_std": 0.02}))
    main(["train", "--config", str(config), "--learning_rate", "1e-3"])
    out = capsys.readouterr().out
    assert "SRL training data: 70 step rows from 35 problems" in out
    assert "SRL evaluation data: 10 step rows from 5 problems" in out
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "by Supervised Reinforcement Learning (SRL) on `rows` (local data)" in card
    assert "prepared by trl-srl prepare from 40 rows of solutions.jsonl; dropped: none" in card

    arguments = ["--model", str(tmp_path / "out"), "--dataset", str(prepared), "--max_completion_length", "16"]
    main(["evaluate", "--steps", *arguments, "-o", str(tmp_path / "steps")])
    assert "10 step rows" in capsys.readouterr().out
    assert json.loads((tmp_path / "steps" / "results.json").read_text())["num_rows"] == 10
    assert len(pd.read_parquet(tmp_path / "steps" / "steps.parquet")) == 10
    main(["evaluate", "--step_by_step", *arguments, "--max_steps", "2", "-o", str(tmp_path / "solutions")])
    assert "greedy accuracy" in capsys.readouterr().out
    assert len(pd.read_parquet(tmp_path / "solutions" / "problems.parquet")) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset_name", "x", "--output_dir", "y"], "--model_name_or_path is missing"),
        (["--model_name_or_path", "x", "--output_dir", "y"], "--dataset_name is missing"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--model_name_or_path", "x", "--dataset_name", "y.jsonl", "--output_dir", "z"], "There is no file y.jsonl"),
    ],
)
def test_train_ends_with_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["train", *arguments, "--use_cpu", "true", "--bf16", "false"])
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_model_that_cannot_learn_ends_with_one_line(tmp_path, prepared, model, tokenizer):
    model.save_pretrained(tmp_path / "random")
    tokenizer.save_pretrained(tmp_path / "random")
    options = TRAINING | {"model_name_or_path": tmp_path / "random", "dataset_name": prepared, "refill_patience": 1}
    options |= {"output_dir": tmp_path / "out", "max_completion_length": 4}
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    with pytest.raises(SystemExit, match=r"trl-srl train: No informative group in 1 batches .* max_completion_length"):
        main(["train", *flags])


def test_accelerate_launches_the_training_entry_point(tmp_path, prepared, format_model):
    options = TRAINING | {"model_name_or_path": format_model, "dataset_name": prepared, "output_dir": tmp_path / "out"}
    launcher = ["accelerate.commands.launch", *LAUNCH[2]]
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    out = run(*launcher, "-m", "trl_srl.cli.train", *flags)
    assert "SRL: 4 prompts x 4 rollouts = 16 completions per optimizer step" in out
    assert out.count("First batch:") == 1
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_trl_s_own_command_takes_the_reward(tmp_path, prepared, format_model):
    options = TRAINING | {"model_name_or_path": format_model, "dataset_name": prepared, "output_dir": tmp_path / "out"}
    options |= {"reward_funcs": "trl_srl.rewards.step_similarity_reward", "logging_steps": 1}
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    run("trl.scripts.grpo", *flags)
    state = json.loads(next(Path(tmp_path, "out").glob("checkpoint-*/trainer_state.json")).read_text())
    assert 0 < state["log_history"][0]["srl/similarity"] < 1
    assert "rewards/step_similarity_reward/mean" in state["log_history"][0]


def test_help_imports_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "from trl_srl.cli import main; main(['train', '--help'])"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "model_name_or_path" in done.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "trl_srl" in imported
    assert not imported & {"torch", "trl", "transformers", "datasets", "pandas", "numpy"}
