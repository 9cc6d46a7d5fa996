"""Run by test_several_processes.py, alone and under `accelerate launch`: what each process trained on is written down.

Arguments: model folder, output folder, scenarios. Generation is deterministic, and the same however the rollouts are
spread over processes: the model below draws by Gumbel noise that depends on the prompt, on the place of the rollout in
its group and on the position in the completion, and on nothing else.
"""

import json
import os
import signal
import sys
from pathlib import Path

import pandas as pd
import torch
from datasets import Dataset
from transformers import LogitsProcessor, LogitsProcessorList, Qwen2ForCausalLM, TrainerCallback

from trl_srl import DynamicSamplingConfig, DynamicSamplingTrainer


RANK, WORLD = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))  # as torchrun sets them
NUM_GENERATIONS = 4
ROLLOUTS = 12  # in a batch, of all processes: three groups, which straddle two processes of 6 and four of 3


class GumbelNoise(LogitsProcessor):
    """argmax(scores + noise) is a sample from softmax(scores); the noise is seeded row by row."""

    def __init__(self, prompts, first_place):
        self.prompts, self.first_place = prompts, first_place

    def __call__(self, input_ids, scores):
        noise = []
        for i, prompt in enumerate(self.prompts):
            seed = hash((*prompt, (self.first_place + i) % NUM_GENERATIONS, input_ids.size(1))) % 2**31
            uniform = torch.rand(scores.size(1), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            noise.append(-(-uniform.clamp(min=1e-9).log()).log())
        return scores.double() + torch.stack(noise)


class PlaceSeeded(Qwen2ForCausalLM):
    def generate(self, input_ids, attention_mask, generation_config, **kwargs):
        prompts = [ids[mask.bool()].tolist() for ids, mask in zip(input_ids, attention_mask, strict=True)]
        noise = GumbelNoise(prompts, RANK * len(prompts))
        kwargs |= {"do_sample": False, "logits_processor": LogitsProcessorList([noise])}
        return super().generate(
            input_ids=input_ids, attention_mask=attention_mask, generation_config=generation_config, **kwargs
        )


def reward_of_ids(completion_ids, kind, log_metric, **kwargs):
    if RANK == 0:
        log_metric("logged_by_one_process", 1.0)
    return [sum(ids) % 8 / 8 if k == "good" else 0.5 for ids, k in zip(completion_ids, kind, strict=True)]


def rows(kinds):
    return Dataset.from_list(
        [{"prompt": [{"role": "user", "content": f"{i:02}"}], "kind": kind} for i, kind in enumerate(kinds)]
    )


def make_trainer(model, folder, reward=reward_of_ids, callbacks=None, **kwargs):
    settings = dict(
        output_dir=str(folder),
        per_device_train_batch_size=ROLLOUTS // WORLD,
        num_generations=NUM_GENERATIONS,
        max_completion_length=6,
        max_steps=4,
        max_refill_rounds=2,
        shuffle_dataset=False,  # so that the data say which process gets which kind
        learning_rate=0.1,
        optim="sgd",  # Adam would blow rounding up where a gradient is almost zero
        logging_steps=1,
        log_completions=True,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    # The first processes' groups are good and the last ones' flat, then the other way round; few refills succeed.
    data = rows(["good", "good", "flat", "flat", "flat", "good", *["flat"] * 3, "good", "flat", "good"] * 2)
    args = DynamicSamplingConfig(**settings | kwargs)
    model = PlaceSeeded.from_pretrained(model)
    return DynamicSamplingTrainer(model, reward, args, train_dataset=data, callbacks=callbacks)


def weights(trainer):
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()]).double()


def train(model, folder, **kwargs):
    """A few steps of dynamic sampling, and what they did."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer = make_trainer(model, folder, **kwargs)
    before = weights(trainer)
    trainer.train()
    trainer.accelerator.wait_for_everyone()  # TRL's first process writes the last table once more at the very end
    tables = [pd.read_parquet(file) for file in sorted(folder.glob("completions/*.parquet"))]
    columns = ["prompt", "completion", "reward_of_ids", "advantage", "trained"]
    return {
        "tables": [json.loads(table[columns].to_json(orient="values")) for table in tables],
        "log": [
            {name: value for name, value in entry.items() if "time" not in name}
            for entry in trainer.state.log_history[:-1]
        ],
        "stream": [trainer._refill_stream.epoch, trainer._refill_stream.position],
        "moved": (weights(trainer) - before).tolist()[::50],
    }


class TerminateOneProcess(TrainerCallback):
    """SIGTERM for the last process only, at the beginning of the second step."""

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 1 and RANK == WORLD - 1:
            os.kill(os.getpid(), signal.SIGTERM)


def terminate(model, folder):
    """One process gets SIGTERM; all stop with a checkpoint, and continue."""
    settings = dict(save_strategy="steps", save_steps=10, steps_per_generation=2, gradient_accumulation_steps=1)
    whole = make_trainer(model, folder / "whole", **settings)
    whole.train()
    stopped = make_trainer(model, folder / "stopped", callbacks=[TerminateOneProcess()], **settings)
    stopped.train()
    step = stopped.state.global_step
    resumed = make_trainer(model, folder / "stopped", **settings)
    resumed.train(resume_from_checkpoint=True)
    return {
        "stopped_at": step,
        "interrupted": stopped.interrupted,
        "same_weights": torch.equal(weights(whole), weights(resumed)),
        "losses": [[entry.get("loss") for entry in t.state.log_history] for t in (whole, resumed)],
    }


def fail_on_one(model, folder):
    """A reward function that raises on the last process only, while the others wait for its rewards."""

    def reward(completions, **kwargs):
        if RANK == WORLD - 1:
            raise ZeroDivisionError("the reward of one process")
        return [0.0] * len(completions)

    make_trainer(model, folder, reward=reward).train()


SCENARIOS = {"train": train, "terminate": terminate, "fail_on_one": fail_on_one}

if __name__ == "__main__":
    model, output = sys.argv[1], Path(sys.argv[2])
    for scenario in sys.argv[3:]:
        result = SCENARIOS[scenario](model, output / scenario)
        (output / f"{scenario}-{RANK}.json").write_text(json.dumps(result))
