"""SIGKILL at chosen and at random moments, then resume: the run ends as the one that was not killed.

The run announces the moment through a pipe and stands still until it is killed, so that nothing depends on speed. Runs
to be killed are forked from one server process that has imported everything, and see nothing of the tests' state.
"""

import multiprocessing
import os
import random
import signal
from dataclasses import dataclass, field

import pandas as pd
import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from trl_srl import DynamicSamplingConfig, DynamicSamplingTrainer, read_rollouts
from trl_srl.cli import main
from trl_srl.interruptions import newest_complete, why_incomplete


KINDS = ["good", "flat", "flat", "good", "flat"] * 4
ROWS = [{"prompt": [{"role": "user", "content": f"{i}"}], "kind": kind} for i, kind in enumerate(KINDS)]
TIMES = {"train_runtime", "train_samples_per_second", "train_steps_per_second", "step_time", "total_flos"}


@dataclass
class Moments:
    """Counts the moments of a run by name; at the `stop_at`-th it announces itself and waits for the end."""

    stop_at: int | None = None
    pipe: object = None
    names: list[str] = field(default_factory=list)
    rewarded: bool = False

    def passed(self, name):
        self.names.append(name)
        if len(self.names) - 1 == self.stop_at:
            self.pipe.send(name)
            signal.pause()


class Watcher(TrainerCallback, ExportableState):
    """Tells of steps, and of the middle of a checkpoint, where transformers asks for the state of callbacks."""

    def __init__(self, moments):
        self.moments, self.begun = moments, False

    def on_train_begin(self, args, state, control, **kwargs):
        self.begun = True  # before that, transformers asks for the state as well

    def on_step_begin(self, args, state, control, **kwargs):
        self.moments.rewarded = False

    def state(self):
        if self.begun:
            self.moments.passed("saving")
        return {"args": {}, "attributes": {}}


def train(model, output_dir, resume=None, stop_at=None, pipe=None):
    """Six steps with a checkpoint after every second one. Runs in the tests' process and in those to be killed."""
    moments = Moments(stop_at, pipe)

    def reward(completion_ids, kind, **kwargs):
        moments.passed("reward")
        moments.rewarded = True
        return [sum(ids) % 8 / 8 if k == "good" else 0.5 for ids, k in zip(completion_ids, kind, strict=True)]

    def on_forward(*_):
        phase = "loss" if torch.is_grad_enabled() else "refill" if moments.rewarded else "generation"
        moments.passed(phase)

    args = DynamicSamplingConfig(
        output_dir=str(output_dir),
        per_device_train_batch_size=16,
        num_generations=4,
        max_completion_length=6,
        max_steps=6,
        learning_rate=1e-3,
        lr_scheduler_type="cosine",
        logging_steps=1,
        log_completions=True,
        save_steps=2,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
    )
    watcher = Watcher(moments)
    data = Dataset.from_list(ROWS)
    trainer = DynamicSamplingTrainer(model, reward, args, train_dataset=data, callbacks=[watcher])
    trainer.model.register_forward_hook(on_forward)
    trainer.train(resume_from_checkpoint=resume)
    return trainer, moments


def outcome(trainer):
    log = [{k: v for k, v in entry.items() if k not in TIMES} for entry in trainer.state.log_history[:-1]]
    tables = [
        pd.read_parquet(f"{trainer.args.output_dir}/completions/completions_{step:05d}.parquet").astype(str)
        for step in range(1, 7)
    ]
    return log, [table.values.tolist() for table in tables], read_rollouts(trainer.args.output_dir).to_list()


@pytest.fixture(scope="module")
def model(tmp_path_factory, make_model, make_tokenizer):
    folder = str(tmp_path_factory.mktemp("model"))
    make_model().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    return train(model, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trl_srl.dynamic_sampling"])
    return context


@pytest.mark.timeout(120)  # the first one waits for the server's imports, about ten seconds; the others take two
@pytest.mark.parametrize(
    ("name", "seed"),
    [("generation", 0), ("refill", 0), ("saving", 0), ("saving", 1), ("any", 1), ("any", 2)],
)
def test_a_killed_run_ends_as_if_it_had_not_been(model, whole, processes, tmp_path, name, seed):
    names = whole[1].names
    assert set(names) == {"generation", "refill", "loss", "reward", "saving"}
    stop_at = random.Random(seed).choice([i for i, found in enumerate(names) if name in ("any", found)])

    here, there = processes.Pipe(duplex=False)
    run = processes.Process(target=train, args=(model, tmp_path, None, stop_at, there))
    run.start()
    there.close()  # so that a run which ends by itself is an EOFError here
    assert here.recv() == names[stop_at]
    os.kill(run.pid, signal.SIGKILL)
    run.join()
    assert run.exitcode == -signal.SIGKILL

    saved = names[:stop_at].count("saving")
    found, passed_over = newest_complete(tmp_path)
    assert found == (tmp_path / f"checkpoint-{2 * saved}" if saved else None)
    assert len(passed_over) == (names[stop_at] == "saving")
    if names[stop_at] == "saving":
        half = tmp_path / f"checkpoint-{2 * saved + 2}"
        assert (half / "optimizer.pt").exists()
        assert "cut short" in why_incomplete(half)

    resumed, _ = train(model, tmp_path, resume=saved > 0)
    assert resumed.state.global_step == 6
    assert outcome(resumed) == outcome(whole[0])
    for one, other in zip(whole[0].model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def run_command(arguments, output):
    """`trl-srl` with its standard output in a pipe."""
    os.dup2(output.fileno(), 1)
    main(arguments)


@pytest.mark.timeout(120)  # as above, should this be the first
def test_the_command_saves_at_sigterm_and_continues(format_model, processes, tmp_path, expert_trajectories, capsys):
    source, output = tmp_path / "solutions.jsonl", tmp_path / "out"
    expert_trajectories.to_json(source)
    options = dict(
        model_name_or_path=format_model,
        dataset_name=source,
        output_dir=output,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=16,
        max_steps=10_000,
        logging_steps=1,
        disable_tqdm=True,  # prints the log
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to="none",
        dtype="float32",
    )
    command = ["train", *(text for name, value in options.items() for text in (f"--{name}", str(value)))]
    here, there = processes.Pipe(duplex=False)
    run = processes.Process(target=run_command, args=(command, there))
    run.start()
    there.close()
    with open(os.dup(here.fileno()), errors="replace") as lines:
        assert any("'loss'" in line for line in lines)  # waits for the first step
        os.kill(run.pid, signal.SIGTERM)
        (said,) = (line for line in lines if "SIGTERM" in line)
    run.join()
    assert run.exitcode == 0
    (checkpoint,) = output.glob("checkpoint-*")
    step = int(checkpoint.name.removeprefix("checkpoint-"))
    assert said.startswith(f"Stopped by SIGTERM after step {step} of 10000, with a checkpoint in {output}.")
    assert not (output / "model.safetensors").exists()  # the unfinished model is not given out as the result
    main([*command, "--max_steps", str(step + 1), "--resume_from_checkpoint", "true"])
    assert f"Model saved to {output}." in capsys.readouterr().out
    assert (output / f"checkpoint-{step + 1}").exists()
    assert (output / "model.safetensors").exists()
