"""Run by test_two_processes.py under `accelerate launch`: a few steps of dynamic sampling, decisions written per rank.

Arguments: model folder, output folder, number of rollouts for each device.
"""

import json
import sys
from pathlib import Path

from datasets import Dataset

from trl_srl import DynamicSamplingConfig, DynamicSamplingTrainer


def scripted_reward(completions, number, **kwargs):
    """Rows with an even number are informative: rollouts of a group differ, wherever a rank's slice begins."""
    return [0.5 if n % 2 else i % 4 / 4 for i, n in enumerate(number)]


class Recorder(DynamicSamplingTrainer):
    """Writes down what is trained on, batch by batch."""

    def _sample_batch(self, inputs):
        rollouts, rewards, num_masked = super()._sample_batch(inputs)
        record.append(
            {
                "numbers": [rollout.row["number"] for rollout in rollouts],
                "rewards": [round(r, 4) for r in rewards.nan_to_num(-9).flatten().tolist()],
                "num_masked": num_masked,
                "position": [self._refill_stream.epoch, self._refill_stream.position],
            }
        )
        return rollouts, rewards, num_masked


if __name__ == "__main__":
    model, output, batch_size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    record: list[dict] = []
    numbers = [0, 1, 3, 5, 7, 9, 2, 11, 13, 15, 17, 4] * 2
    data = Dataset.from_list([{"prompt": [{"role": "user", "content": f"{n}"}], "number": n} for n in numbers])
    args = DynamicSamplingConfig(
        output_dir=str(output),
        per_device_train_batch_size=batch_size,
        num_generations=4,
        max_completion_length=6,
        max_steps=3,
        max_refill_rounds=2,
        learning_rate=1e-3,
        logging_steps=1,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = Recorder(model, scripted_reward, args, train_dataset=data)
    trainer.train()
    checksum = sum(parameter.detach().double().abs().sum().item() for parameter in trainer.model.parameters())
    result = {
        "record": record,
        "checksum": checksum,
        "log": [
            {name: value for name, value in entry.items() if name.startswith("dynamic_sampling/") or name == "reward"}
            for entry in trainer.state.log_history
        ],
    }
    rank = trainer.accelerator.process_index
    (output / f"rank{rank}-of-{trainer.accelerator.num_processes}.json").write_text(json.dumps(result))
