"""The whole chain as a user runs it: QLoRA SRL → RLVR → merge → verify → generate, and what may happen on the way."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from trl_srl.cli import main

from .test_several_processes import LAUNCH


QLORA = {
    "load_in_4bit": True,
    "use_bnb_nested_quant": True,
    "use_peft": True,
    "lora_r": 4,
    "lora_target_modules": "all-linear",
}
SHARED = {
    "per_device_train_batch_size": 16,
    "num_generations": 4,
    "max_completion_length": 24,
    "max_steps": 2,
    "save_steps": 1,
    "logging_steps": 1,
    "bf16": False,
    "use_cpu": True,
    "gradient_checkpointing": False,
    "report_to": "none",
    "per_device_eval_batch_size": 40,
    "disable_tqdm": True,
}


def same(one, two):
    return one.keys() == two.keys() and all(one[name].equal(two[name]) for name in one)


@pytest.fixture
def run(tmp_path, monkeypatch, qlora_base, expert_trajectories, capsys):
    """Runs `trl-srl train` on the additions, and returns what it printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in expert_trajectories))

    def train(*arguments, rlvr=None, processes=1, **top):
        options = SHARED | {"model_name_or_path": qlora_base, "dataset_name": "sums.jsonl", "output_dir": "srl"}
        options |= {"learning_rate": 1e-2, "system_prompt": "S"} | top
        if rlvr is not None:
            options["rlvr"] = {"system_prompt": "A", "learning_rate": 5e-3, "max_refill_rounds": 10} | rlvr
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(options))
        if processes > 1:
            command = [
                sys.executable,
                "-m",
                "accelerate.commands.launch",
                *LAUNCH[processes],
                "-m",
                "trl_srl.cli.train",
            ]
            environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
            command += ["--config", "config.yaml"]
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200).stdout
        main(["train", "--config", "config.yaml", *arguments])
        return capsys.readouterr().out

    return train


def test_qlora_from_the_first_step_to_a_merged_model(tmp_path, run, qlora_base, capsys):
    out = run(**QLORA, rlvr={}, eval_strategy="steps", eval_steps=1, eval_on_start=True, dataset_test_split="train")
    assert "RLVR train data: 40 problems from 40 rows" in out
    assert "The second stage starts 0.0e+00 from where the first ended" in out
    srl, rlvr = (load_file(tmp_path / stage / "adapter_model.safetensors") for stage in ("srl", "srl-rlvr"))
    assert srl.keys() == rlvr.keys() and not same(srl, rlvr)
    log = json.loads((tmp_path / "srl-rlvr/checkpoint-2/trainer_state.json").read_text())["log_history"]
    assert any(
        0 < entry["rewards/accuracy_reward/mean"] < 1 for entry in log if "rewards/accuracy_reward/mean" in entry
    )
    assert any("eval_rewards/accuracy_reward/mean" in entry for entry in log)

    # The second stage is killed after its first checkpoint. The same command goes on, without the first stage.
    shutil.rmtree(tmp_path / "srl-rlvr/checkpoint-2")
    for path in (tmp_path / "srl-rlvr").glob("*.safetensors"):
        path.unlink()
    settings = dict(eval_strategy="steps", eval_steps=1, eval_on_start=True, dataset_test_split="train")
    out = run("--resume_from_checkpoint", "true", **QLORA, rlvr={}, **settings)
    assert "The first stage is complete in srl; it is not run again." in out and "SRL:" not in out
    assert same(load_file(tmp_path / "srl-rlvr/adapter_model.safetensors"), rlvr)  # as if it had not been killed
    assert same(load_file(tmp_path / "srl/adapter_model.safetensors"), srl)
    with pytest.raises(SystemExit):
        run(**QLORA, rlvr={}, lora_alpha=8, **settings)
    assert "finished first stage with other options (lora_alpha: None → 8)" in capsys.readouterr().err

    main(["merge", "srl-rlvr", "-o", "merged"])
    assert "Verified by the logits on 8 texts" in capsys.readouterr().out
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    prompt = [{"role": "system", "content": "A"}, {"role": "user", "content": "1+1"}]
    ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    text = tokenizer.decode(model.generate(**ids, max_new_tokens=24, do_sample=False)[0, ids["input_ids"].shape[1] :])
    assert text.startswith("<think>m</think>\n\\boxed{")


def test_the_first_adapter_merged_and_a_new_one_in_two_commands(tmp_path, run, qlora_base):
    settings = QLORA | {"load_in_4bit": False, "dtype": "bfloat16", "learning_rate": 3e-2}
    out = run("--stage", "srl", **settings, rlvr={"adapter": "merge"})
    assert "RLVR" not in out and not (tmp_path / "srl-rlvr").exists()
    out = run("--stage", "rlvr", **settings, rlvr={"adapter": "merge"})
    assert "Verified by the logits on 8 texts" in out and "SRL" not in out
    start = json.loads((tmp_path / "srl-rlvr/adapter_config.json").read_text())["base_model_name_or_path"]
    assert start == "srl-rlvr/_start"
    assert (tmp_path / start / "model.safetensors").exists()
    srl, rlvr = (load_file(tmp_path / stage / "adapter_model.safetensors") for stage in ("srl", "srl-rlvr"))
    assert not same(srl, rlvr)


def test_whole_models(tmp_path, run, capsys):
    with pytest.raises(SystemExit):
        run("--resume_from_checkpoint", "true")
    assert capsys.readouterr().err.endswith("train: There is no complete checkpoint in srl to resume from.\n")
    out = run(learning_rate=1e-3, rlvr={"output_dir": "both", "learning_rate": 1e-3})
    assert "The second stage starts 0.0e+00 from where the first ended" in out
    srl, rlvr = (load_file(tmp_path / stage / "model.safetensors") for stage in ("srl", "both"))
    assert not same(srl, rlvr)


@pytest.mark.slow
@pytest.mark.timeout(260)
@pytest.mark.parametrize("adapter", [{}, QLORA], ids=["whole", "QLoRA"])
def test_two_processes_begin_the_second_stage_together(run, adapter):
    out = run(learning_rate=1e-3, rlvr={"learning_rate": 1e-3}, processes=2, **adapter)
    assert "The second stage starts 0.0e+00 from where the first ended" in out
    assert out.splitlines()[-1] == "Model saved to srl-rlvr."


def test_another_first_stage_is_not_taken_for_the_one_before(tmp_path, run, capsys):
    """Its adapter is merged anew, and the second stage's checkpoints, which go on from the other one, are refused."""
    settings = {"use_peft": True, "lora_r": 4, "lora_target_modules": "all-linear", "rlvr": {"adapter": "merge"}}
    run(**settings)
    merged = load_file(tmp_path / "srl-rlvr/_start/model.safetensors")
    (tmp_path / "srl/_handover.logits").unlink()
    for checkpoint in tmp_path.glob("srl/checkpoint-*"):
        shutil.rmtree(checkpoint)
    with pytest.raises(SystemExit):
        run("--resume_from_checkpoint", "true", learning_rate=2e-2, **settings)
    assert "checkpoint-2 goes on from another result of the first stage than srl holds now" in capsys.readouterr().err
    assert not same(merged, load_file(tmp_path / "srl-rlvr/_start/model.safetensors"))


def test_a_lost_first_stage_is_noticed(tmp_path, run, qlora_base, capsys):
    """Somebody puts the base model's weights where the first stage's were; or the batch has grown too large."""
    run("--stage", "srl", rlvr={})
    with pytest.raises(SystemExit):
        run("--stage", "rlvr", rlvr={"gradient_accumulation_steps": 20})
    assert "train: The training data have 40 rows, but one batch takes 80 prompts" in capsys.readouterr().err
    shutil.copy(f"{qlora_base}/model.safetensors", tmp_path / "srl/model.safetensors")
    with pytest.raises(SystemExit):
        run("--stage", "rlvr", rlvr={})
    assert "The second stage does not start from the first one's weights." in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("--stage", "rlvr", rlvr={"adapter": "merge"})
    assert "adapter: merge, but srl holds no adapter" in capsys.readouterr().err
