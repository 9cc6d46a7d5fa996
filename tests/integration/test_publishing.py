"""Model cards of real runs (full, LoRA, QLoRA, SRL → RLVR), their code, and a push to a stand-in for the Hub."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
import yaml
from datasets import Dataset
from huggingface_hub import ModelCard, metadata_load
from transformers import BitsAndBytesConfig, TrainerCallback

from trl_srl import DynamicSamplingConfig, DynamicSamplingTrainer, SRLConfig, SRLTrainer

from .hub_stand_in import HubStandIn


SETTINGS = {
    "per_device_train_batch_size": 8,
    "num_generations": 4,
    "max_completion_length": 24,
    "max_steps": 2,
    "learning_rate": 1e-3,
    "logging_steps": 1,
    "bf16": False,
    "use_cpu": True,
    "gradient_checkpointing": False,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
}


def srl(model, data, folder, peft_config=None, quantization_config=None, **settings):
    args = SRLConfig(output_dir=str(folder), system_prompt="S", **(SETTINGS | settings))
    return SRLTrainer(model, args, data, peft_config=peft_config, quantization_config=quantization_config)


def run_code(folder, monkeypatch, capsys):
    """Run the card's Python blocks as they stand, where the model's name leads to it; returns what they print."""
    monkeypatch.chdir(folder.parent)
    blocks = re.findall(r"^```python\n(.*?)^```", (folder / "README.md").read_text(), re.S | re.M)
    capsys.readouterr()
    for block in blocks:
        exec(compile(block, "card", "exec"), {})
    return len(blocks), capsys.readouterr().out


@pytest.fixture(scope="module")
def srl_run(tmp_path_factory, format_model, expert_trajectories):
    """A run that was stopped after two steps of four and continued by another trainer."""
    folder = tmp_path_factory.mktemp("runs") / "srl"
    first = srl(format_model, expert_trajectories, folder, save_strategy="steps", save_steps=2, max_steps=2)
    first.train()
    card = (folder / "README.md").read_text()
    second = srl(format_model, expert_trajectories, folder, save_strategy="steps", save_steps=2, max_steps=4)
    second.dataset_name = "me/additions"
    second.train(resume_from_checkpoint=True)
    second.save_model()
    return folder, card


def test_the_card_comes_with_each_checkpoint(srl_run):
    _, card = srl_run
    assert "| Optimizer steps | 2 |" in card and "80 step rows from 40 problems" in card
    assert "| Prompts x rollouts for each step | 2 x 4 |" in card


def test_a_resumed_run_is_told_whole(srl_run):
    folder, _ = srl_run
    card = (folder / "README.md").read_text()
    assert re.search(r"\| steps 1–2 \| CPU .* \| [\d.]+ s \|\n\| steps 3–4 \| CPU .* \| [\d.]+ s \|", card)
    assert "The run was interrupted and continued" in card
    assert "[me/additions](https://huggingface.co/datasets/me/additions)" in card
    assert "| On training prompts | step 1 | step 4 |" in card
    facts = json.loads((folder / "training_facts.json").read_text())
    assert str(folder.parent) not in json.dumps(facts)  # no path of this machine


def test_its_code_runs(srl_run, monkeypatch, capsys):
    blocks, printed = run_code(srl_run[0], monkeypatch, capsys)
    assert blocks == 2 and printed.strip()


def test_the_card_of_a_second_stage(srl_run, format_model, expert_trajectories, monkeypatch, capsys):
    def brevity(completions, **kwargs):
        return [-len(completion[0]["content"]) for completion in completions]

    folder = srl_run[0].parent / "rlvr"
    rows = [{"prompt": [{"role": "user", "content": row["problem"]}]} for row in expert_trajectories]
    args = DynamicSamplingConfig(output_dir=str(folder), **(SETTINGS | {"max_steps": 1}))
    trainer = DynamicSamplingTrainer(str(srl_run[0]), brevity, args, train_dataset=Dataset.from_list(rows))
    trainer.train()
    trainer.save_model()
    card = (folder / "README.md").read_text()
    assert "on an expert's steps (srl, from `format-model" in card
    assert "- 40 prompts\n- the first stage, srl: 80 step rows from 40 problems" in card
    assert "| Reward functions | brevity |" in card and "deng2025supervised" in card
    assert {"dynamic-sampling", "srl", "two-stage"} <= set(metadata_load(folder / "README.md")["tags"])
    blocks, printed = run_code(folder, monkeypatch, capsys)
    assert blocks == 3 and printed.strip()

    args.output_dir = str(folder.parent / "other")
    trainer = DynamicSamplingTrainer(format_model, brevity, args, train_dataset=Dataset.from_list(rows))
    trainer.first_stage = str(srl_run[0])  # the model's configuration names another folder
    trainer.create_model_card()
    card = (folder.parent / "other" / "README.md").read_text()
    assert "This model was trained from `srl` (a local folder)" in card and "No step was made." in card


@pytest.mark.parametrize("quantized", [False, True], ids=["LoRA", "QLoRA"])
def test_the_card_of_an_adapter(format_model, expert_trajectories, tmp_path, monkeypatch, capsys, quantized):
    peft = pytest.importorskip("peft")
    quantization = None
    if quantized:
        pytest.importorskip("bitsandbytes")
        quantization = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
        )
    config = peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = srl(format_model, expert_trajectories, tmp_path / "adapter", config, quantization, max_steps=1)
    trainer.train()
    trainer.save_model()
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert "It is a LORA adapter" in card and "| Adapter | LORA, rank 4, alpha 8, on down\\_proj, gate\\_proj" in card
    assert ("load\\_in\\_4bit=True, bnb\\_4bit\\_quant\\_type=nf4" in card) == quantized
    data = metadata_load(tmp_path / "adapter" / "README.md")
    assert data["library_name"] == "peft" and {"srl", "trl", "trl-srl"} <= set(data["tags"])
    assert "base_model" not in data  # PEFT would have written its path
    blocks, printed = run_code(tmp_path / "adapter", monkeypatch, capsys)
    assert blocks == 2 and printed.strip()


def test_the_best_checkpoint_is_named(format_model, expert_trajectories, tmp_path):
    args = SRLConfig(
        output_dir=str(tmp_path / "best"),
        system_prompt="S",
        **SETTINGS
        | {
            "save_strategy": "steps",
            "save_steps": 1,
            "eval_strategy": "steps",
            "eval_steps": 1,
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_held_out_srl/similarity",
            "greater_is_better": True,
        },
    )
    held_out = {"held_out": expert_trajectories.select(range(4))}
    trainer = SRLTrainer(format_model, args, expert_trajectories, eval_dataset=held_out)
    trainer.train()
    trainer.save_model()
    best = trainer.state.best_model_checkpoint.rpartition("/")[2]
    card = (tmp_path / "best" / "README.md").read_text()
    assert f"Its weights are those of {best}, the best by eval\\_held\\_out\\_srl/similarity." in card
    assert "| On evaluation data: held\\_out | step 1 | step 2 |" in card


class Listener(TrainerCallback):
    """A tracker of the user's own."""

    def __init__(self):
        self.names = set()

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.names |= set(logs)


def test_a_broken_result_does_not_end_a_run(srl_run, expert_trajectories, tmp_path, caplog):
    file = tmp_path / "run" / "evaluation" / "results.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    srl(str(srl_run[0]), expert_trajectories, tmp_path / "run").create_model_card()
    assert "The model card is written without evaluations" in caplog.text and str(file) in caplog.text
    assert "Not evaluated" in (tmp_path / "run" / "README.md").read_text()


def test_a_callback_gets_all_that_is_logged(format_model, expert_trajectories, tmp_path):
    listener = Listener()
    trainer = srl(format_model, expert_trajectories, tmp_path / "run", max_steps=1)
    trainer.add_callback(listener)
    trainer.train()
    trainer.evaluate(trainer.train_dataset.select(range(8)))
    trainer.evaluate({"a": trainer.train_dataset.select(range(8)), "b": trainer.train_dataset.select(range(8, 16))})
    assert listener.names >= EXPECTED
    for name in ("srl/similarity", "reward", "srl/format_rate"):
        assert {f"eval_{name}", f"eval_a_{name}", f"eval_b_{name}"} <= listener.names
    assert not [name for name in listener.names if name.startswith("eval_dynamic_sampling")]


EXPECTED = {
    "reward",
    "reward_all_groups",
    *(f"srl/{name}" for name in ("similarity", "format_rate", "exact_step_rate", "truncated_rate", "cut_rate")),
    *(f"dynamic_sampling/{name}" for name in ("refill_rounds", "groups_generated", "acceptance", "filled", "surplus")),
    *(f"dynamic_sampling/dropped/{name}" for name in ("unscored", "truncated", "bad_format", "low_std")),
}

PUSH = """
import json, sys
from trl_srl.cli import main
folder = sys.argv[1]
main(["train", "--config", f"{folder}/srl.yaml"])
main(["card", f"{folder}/out", "--push_to_hub", "me/new"])
main(["card", f"{folder}/out", "--push_to_hub", "me/model"])
from trackio.sqlite_storage import SQLiteStorage
logs = SQLiteStorage.get_logs("additions", "one")
print("TRACKIO", json.dumps(logs))
"""


@pytest.fixture(scope="module")
def pushed(tmp_path_factory, format_model, expert_trajectories):
    """`trl-srl train` with trackers and pushes, then `trl-srl card --push_to_hub`, in a process that is online."""
    pytest.importorskip("trackio")
    pytest.importorskip("tensorboard")
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("push")
    (folder / "solutions.jsonl").write_text("".join(json.dumps(dict(row)) + "\n" for row in expert_trajectories))
    settings = SETTINGS | {
        "model_name_or_path": format_model,
        "dataset_name": str(folder / "solutions.jsonl"),
        "dataset_test_split": "train",
        "output_dir": str(folder / "out"),
        "system_prompt": "S",
        "eval_strategy": "steps",
        "eval_steps": 2,
        "save_strategy": "steps",
        "save_steps": 1,
        "report_to": ["tensorboard", "trackio"],
        "project": "additions",
        "run_name": "one",
        "trackio_static_space_id": False,
        "push_to_hub": True,
        "hub_model_id": "me/model",
        "dtype": "float32",
    }
    (folder / "srl.yaml").write_text(yaml.safe_dump(settings))
    hub = HubStandIn()
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"} | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": "hf_test",
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_XET": "1",  # its protocol is not spoken here; files travel by LFS
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRACKIO_DIR": str(folder / "trackio"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PUSH, str(folder)], env=environment, capture_output=True, text=True, timeout=200
    )
    hub.close()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return hub, folder, done.stdout


def test_the_model_is_pushed_with_its_card(pushed):
    hub, folder, _ = pushed
    *in_training, new, again = (repository["name"] for repository in hub.created)  # the Hub wants it before a commit
    assert set(in_training) == {"model"} and (new, again) == ("new", "model")
    assert hub.commits[-4:] == ["Model save", "End of training", "Update the model card", "Update the model card"]
    assert set(hub.unknown) <= {"GET /api/whoami-v2"}  # trackio asks who is there
    for name in ("README.md", "figures/training.png", "model.safetensors", "tokenizer.json", "training_facts.json"):
        assert hub.files[name] == (folder / "out" / name).read_bytes(), name
    assert not [name for name in hub.files if name.startswith("checkpoint")]


def test_the_pushed_card_is_validated_and_says_the_id(pushed):
    hub, _, _ = pushed
    card = hub.files["README.md"].decode()
    assert hub.validated[-1] == {"content": card, "repoType": "model"}
    assert 'pipeline("text-generation", model="me/model")' in card
    assert "on `solutions.jsonl` (local data)" in card
    assert ModelCard(card).data.get("datasets") is None


def test_trackers_get_all_that_is_logged(pushed):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, folder, stdout = pushed
    logs = json.loads(
        next(line for line in stdout.splitlines() if line.startswith("TRACKIO ")).removeprefix("TRACKIO ")
    )
    in_trackio = {name for entry in logs for name in entry}
    (events,) = folder.rglob("events.out.tfevents.*")
    accumulator = EventAccumulator(str(events)).Reload()
    for names in (in_trackio, set(accumulator.Tags()["scalars"])):
        assert {f"train/{name}" for name in EXPECTED} <= names
        assert {"eval/srl/similarity", "eval/srl/format_rate", "eval/reward"} <= names
    state = json.loads((folder / "out" / "trainer_state.json").read_text())
    logged = [entry["srl/similarity"] for entry in state["log_history"] if "srl/similarity" in entry]
    assert [event.value for event in accumulator.Scalars("train/srl/similarity")] == pytest.approx(logged)
    assert [e["train/srl/similarity"] for e in logs if "train/srl/similarity" in e] == pytest.approx(logged)
