"""A run that is stopped and continued is the run that was not; an incomplete checkpoint is never picked up."""

import json
import os
import signal
import threading
from pathlib import Path

import pandas as pd
import pytest
import torch
from datasets import Dataset, IterableDataset
from safetensors.torch import load_file
from transformers import TrainerCallback

from trl_srl import DynamicSamplingConfig, DynamicSamplingTrainer
from trl_srl.interruptions import mark_complete, mark_incomplete, newest_complete, read_marker, why_incomplete


def reward_of_ids(completion_ids, kind, **kwargs):
    """Rewards that depend on what was generated; a "flat" row's are equal."""
    return [sum(ids) % 8 / 8 if k == "good" else 0.5 for ids, k in zip(completion_ids, kind, strict=True)]


KINDS = ["good", "flat", "good", "good", "flat"] * 4
ROWS = [{"prompt": [{"role": "user", "content": f"{i}"}], "kind": kind} for i, kind in enumerate(KINDS)]
TIMES = {
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
    "step_time",
    "total_flos",
    "train_loss",
}


@pytest.fixture
def make_trainer(make_model, tokenizer, srl_args, tmp_path):
    def make(folder="run", data=None, callbacks=None, eval_dataset=None, **kwargs):
        settings = dict(
            output_dir=str(tmp_path / folder),
            max_completion_length=6,
            max_steps=6,
            save_strategy="steps",
            save_steps=2,
            log_completions=True,
            lr_scheduler_type="cosine",
        )
        return DynamicSamplingTrainer(
            make_model(),
            reward_of_ids,
            srl_args(cls=DynamicSamplingConfig, **settings | kwargs),
            train_dataset=Dataset.from_list(ROWS) if data is None else data,
            eval_dataset=eval_dataset,
            processing_class=tokenizer,
            callbacks=callbacks,
        )

    return make


def told(trainer):
    """Everything that was logged and does not measure time, step by step."""
    return [{k: v for k, v in entry.items() if k not in TIMES} for entry in trainer.state.log_history[:-1]]


def prompts_and_completions(trainer, after):
    """TRL's completions tables of the steps after `after`."""
    names = [f"{trainer.args.output_dir}/completions/completions_{s:05d}.parquet" for s in range(after + 1, 7)]
    return [pd.read_parquet(name).astype(str).values.tolist() for name in names if os.path.exists(name)]


def assert_same_run(one, other, after=0):
    assert told(one) == told(other)
    tables = prompts_and_completions(other, after)
    while not tables[0]:  # a step without generation: TRL repeats the rows of the last one, if it still has them
        tables.pop(0)
    assert tables == prompts_and_completions(one, after)[-len(tables) :]
    for left, right in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(left, right)


def checkpoints(trainer):
    return sorted(name for name in os.listdir(trainer.args.output_dir) if name.startswith("checkpoint"))


@pytest.mark.parametrize(
    ("checkpoint", "settings"),
    [
        (2, {}),
        (4, {}),
        (4, dict(per_device_train_batch_size=40)),  # ten prompts of twenty: the end of the second epoch
        (3, dict(per_device_train_batch_size=40, save_steps=3)),  # in the middle of the second epoch
        # One generation for four optimizer steps, and a checkpoint after two of them.
        (2, dict(per_device_train_batch_size=8, steps_per_generation=2, num_iterations=2)),
        (3, dict(per_device_train_batch_size=8, steps_per_generation=4, save_steps=3)),
        (2, dict(per_device_train_batch_size=8, steps_per_generation=2, gradient_accumulation_steps=4)),
    ],
    ids=["step 2", "step 4", "epoch's end", "second epoch", "num_iterations", "steps_per_generation", "accumulation"],
)
def test_a_resumed_run_is_the_uninterrupted_one(make_trainer, checkpoint, settings):
    whole = make_trainer("whole", **settings)
    whole.train()
    assert any(entry.get("dynamic_sampling/refill_rounds") for entry in told(whole))
    resumed = make_trainer("resumed", **settings)
    resumed.train(resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-{checkpoint}")
    assert resumed.state.global_step == 6
    assert_same_run(whole, resumed, after=checkpoint)


def test_a_run_that_was_killed_after_its_last_checkpoint_makes_no_step_more(make_trainer, caplog):
    whole = make_trainer("whole")
    whole.train()
    last = f"{whole.args.output_dir}/checkpoint-{whole.state.max_steps}"
    resumed = make_trainer("resumed")
    resumed.train(resume_from_checkpoint=last)
    assert resumed.state.global_step == whole.state.global_step and "nothing is left to train" in caplog.text
    assert all(torch.equal(p, resumed.model.get_parameter(name)) for name, p in whole.model.named_parameters())


def test_such_a_run_ends_with_its_best_weights_where_they_are_asked_for(make_trainer):
    evaluated = dict(eval_strategy="steps", eval_steps=2, load_best_model_at_end=True, metric_for_best_model="reward")
    evaluated |= dict(eval_dataset=Dataset.from_list(ROWS[:4]))
    whole = make_trainer("whole", **evaluated)
    whole.train()
    last = Path(whole.args.output_dir, "checkpoint-6")
    state = json.loads((last / "trainer_state.json").read_text())
    best = state["best_model_checkpoint"] = f"{whole.args.output_dir}/checkpoint-2"
    (last / "trainer_state.json").write_text(json.dumps(state))
    resumed = make_trainer("resumed", **evaluated)
    resumed.train(resume_from_checkpoint=str(last))
    wanted = load_file(f"{best}/model.safetensors")
    assert all(torch.equal(p, resumed.model.get_parameter(name)) for name, p in wanted.items())
    assert not torch.equal(next(iter(load_file(last / "model.safetensors").values())), next(iter(wanted.values())))


def test_a_resumed_stream_is_the_uninterrupted_one(make_trainer):
    def stream():
        return IterableDataset.from_generator(lambda: iter(ROWS))

    whole = make_trainer("whole", data=stream())
    whole.train()
    resumed = make_trainer("resumed", data=stream())
    resumed.train(resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-4")
    assert_same_run(whole, resumed, after=4)


class AtStep(TrainerCallback):
    """Does something at the beginning of a step."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step + 1 == self.step:
            self.action()


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("jit", [False, True], ids=["", "enable_jit_checkpoint"])
def test_sigterm_saves_and_ends_and_the_run_goes_on_as_if_nothing_had_happened(make_trainer, caplog, jit):
    whole = make_trainer("whole")
    whole.train()
    assert not whole.interrupted
    # A checkpoint at step 3 where none was due, also when checkpoints are switched off.
    settings = dict(save_strategy="no", enable_jit_checkpoint=jit)
    stopped = make_trainer("stopped", callbacks=[AtStep(3, terminate)], **settings)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    stopped.train()
    assert stopped.interrupted
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert "SIGTERM: stopped after step 3 of 6, with a checkpoint" in caplog.text
    assert checkpoints(stopped) == ["checkpoint-3"]
    resumed = make_trainer("stopped", **settings)
    resumed.train(resume_from_checkpoint=True)
    assert not resumed.interrupted
    assert_same_run(whole, resumed)


def test_a_handler_of_the_user_s_keeps_sigterm(make_trainer):
    received = []
    before = signal.signal(signal.SIGTERM, lambda *_: received.append(1))
    try:
        trainer = make_trainer(max_steps=2, callbacks=[AtStep(1, terminate)])
        trainer.train()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (received, trainer.interrupted, trainer.state.global_step) == ([1], False, 2)


def test_training_outside_the_main_thread_works(make_trainer):
    trainer = make_trainer(max_steps=1)
    thread = threading.Thread(target=trainer.train)
    thread.start()
    thread.join()
    assert trainer.state.global_step == 1


def test_incomplete_checkpoints_are_passed_over_or_refused(make_trainer, caplog):
    trainer = make_trainer(save_steps=1, max_steps=4)
    trainer.train()
    folder = trainer.args.output_dir
    os.remove(f"{folder}/checkpoint-4/dynamic_sampling.json")  # killed before the end of writing
    os.remove(f"{folder}/checkpoint-3/optimizer.pt")  # killed while it was deleted
    resumed = make_trainer(max_steps=5)
    resumed.train(resume_from_checkpoint=True)
    assert f"Resuming from {folder}/checkpoint-2. Passed over as incomplete: {folder}/checkpoint-4: it has no" in (
        caplog.text
    )
    assert f"{folder}/checkpoint-3: it has lost optimizer.pt" in caplog.text
    assert resumed.state.global_step == 5
    os.remove(f"{folder}/checkpoint-1/dynamic_sampling.json")
    with pytest.raises(ValueError, match=r"Cannot resume from .*checkpoint-1: it has no .*json.*=True"):
        make_trainer().train(resume_from_checkpoint=f"{folder}/checkpoint-1")
    with pytest.raises(ValueError, match="checkpoint-9: there is no such folder"):
        make_trainer().train(resume_from_checkpoint=f"{folder}/checkpoint-9")
    with pytest.raises(ValueError, match=r"There is no complete checkpoint in .*/empty to resume from"):
        make_trainer("empty").train(resume_from_checkpoint=True)


def test_older_checkpoints_stay_until_the_new_one_is_complete(make_trainer, monkeypatch):
    seen = []

    def spy(folder, state):
        seen.append(sorted(name for name in os.listdir(folder.parent) if name.startswith("checkpoint")))
        mark_complete(folder, state)

    monkeypatch.setattr("trl_srl.resuming.mark_complete", spy)
    trainer = make_trainer(max_steps=3, save_steps=1, save_total_limit=1)
    trainer.train()
    assert seen == [["checkpoint-1"], ["checkpoint-1", "checkpoint-2"], ["checkpoint-2", "checkpoint-3"]]
    assert checkpoints(trainer) == ["checkpoint-3"]
    saved = torch.load(f"{trainer.args.output_dir}/checkpoint-3/training_args.bin", weights_only=False)
    assert saved.save_total_limit == trainer.args.save_total_limit == 1


def test_the_marker_names_what_must_be_there(tmp_path):
    folder = tmp_path / "checkpoint-7"
    (folder / "global_step7").mkdir(parents=True)
    (folder / "model.safetensors").write_text("weights")
    (folder / "global_step7" / "shard.pt").write_text("state")
    assert "no dynamic_sampling.json" in why_incomplete(folder)
    mark_complete(folder, {"epoch": 1})
    assert why_incomplete(folder) is None
    assert read_marker(folder) == {"epoch": 1, "files": ["global_step7/shard.pt", "model.safetensors"]}
    assert json.loads((folder / "dynamic_sampling.json").read_text()) == read_marker(folder)
    assert sorted(os.listdir(folder)) == ["dynamic_sampling.json", "global_step7", "model.safetensors"]
    mark_complete(folder, {"epoch": 2})  # written over, and it does not name itself
    assert read_marker(folder)["files"] == ["global_step7/shard.pt", "model.safetensors"]
    (folder / "global_step7" / "shard.pt").unlink()
    assert why_incomplete(folder) == "it has lost global_step7/shard.pt"
    mark_incomplete(folder)
    mark_incomplete(tmp_path / "nowhere")
    assert "no dynamic_sampling.json" in why_incomplete(folder)


def test_the_newest_is_that_of_the_highest_step(tmp_path):
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-100", "checkpoint-best"):
        (tmp_path / name).mkdir()
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-best"):
        mark_complete(tmp_path / name, {})
    found, passed_over = newest_complete(tmp_path)
    assert found == tmp_path / "checkpoint-10"
    assert list(passed_over) == [tmp_path / "checkpoint-100"]
    assert newest_complete(tmp_path / "nowhere") == (None, {})
