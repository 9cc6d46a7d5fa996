"""Run by test_generation_backends.py, alone or under `accelerate launch`: refills through TRL's vLLM paths.

Arguments: model folder, output folder, number of rollouts for each device, then the runs to make, one after the other:
`server`, `colocate`, `colocate-sleep`. With two processes, colocated engines share a tensor-parallel group.
"""

import json
import sys
from pathlib import Path

import vllm_stand_in


vllm_stand_in.install()

from accelerate import PartialState  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import PrinterCallback  # noqa: E402

from trl_srl import DynamicSamplingConfig, DynamicSamplingTrainer  # noqa: E402


def scripted_reward(completions, number, **kwargs):
    """Three rows of five are informative: rollouts of a group differ, wherever a rank's slice begins."""
    rounds.append(len(number))
    return [i % 4 / 4 if n % 5 < 3 else 0.5 for i, n in enumerate(number)]


def train(run, model, output, batch_size):
    state = PartialState()
    settings = {"vllm_mode": run.split("-")[0], "vllm_enable_sleep_mode": run.endswith("sleep")}
    server = None
    if run == "server":
        if state.is_main_process:
            server = vllm_stand_in.Server(model)
            vllm_stand_in.connect(server)
        settings["vllm_server_base_url"] = server.url if server else "http://127.0.0.1:1"  # only the first connects
    else:
        settings["vllm_tensor_parallel_size"] = state.num_processes
    args = DynamicSamplingConfig(
        output_dir=str(output / run),
        per_device_train_batch_size=batch_size,
        num_generations=4,
        max_completion_length=8,
        max_steps=3,
        max_refill_rounds=3,
        learning_rate=1e-2,
        logging_steps=1,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_vllm=True,
        **settings,
    )
    data = Dataset.from_list([{"prompt": [{"role": "user", "content": f"{n}"}], "number": n} for n in range(40)])
    rounds.clear()
    trainer = DynamicSamplingTrainer(model, scripted_reward, args, train_dataset=data)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    parameters = list(trainer.model.parameters())
    result = {
        "rounds": list(rounds),
        "checksum": sum(parameter.detach().double().abs().sum().item() for parameter in parameters),
        "log": trainer.state.log_history[:-1],
    }
    if run != "server" or server:
        engine = server or vllm_stand_in.LLM.made[-1]
        result |= {"requests": engine.requests, "pushes": engine.pushes / len(parameters)}
        result |= {"calls": server.calls} if server else {"max_num_seqs": engine.max_num_seqs}
    (output / f"{run}-rank{state.process_index}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    rounds: list[int] = []
    model_folder, output_folder, rollouts, *runs = sys.argv[1:]
    for name in runs:
        train(name, model_folder, Path(output_folder), int(rollouts))
    PartialState().wait_for_everyone()
    PartialState().destroy_process_group()  # or a rank may abort because the other one has left
