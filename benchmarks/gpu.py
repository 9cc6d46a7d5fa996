"""What a run takes on a GPU: memory while loading, generating and training, and where the time of a step goes.

    python -m benchmarks.gpu --output gpu-results --time_limit 540

Random weights in the shape of Qwen2.5, a tokenizer made here: nothing is downloaded. Each configuration runs in a
process of its own, so that peaks are its own and a failure ends nothing else; `results.jsonl` grows as they finish,
and what stands in it is not run again, so that a second call goes on. At the end, tables for docs/hardware.md, in
`table.md`.

The trainer is `SRLTrainer`, without dynamic sampling: random weights never write the format. A second reward compares
the whole completion with the expert's step: every rollout costs a similarity, every group has something to learn.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu_tables import tables
from benchmarks.random_models import SHAPES, make_model, make_rows


# Ways to generate, each by a setting of TRL's, but for the last two: TRL 1.16 forbids compilation
# (`disable_compile=True`) and lets no setting allow it; for graphs see graphed_decoding.py.
GENERATION: dict[str, dict[str, Any]] = {
    "dynamic": {},
    "chunked": {"generation_kwargs": {"prefill_chunk_size": 128}},
    "static": {"cache_implementation": "static"},
    "continuous": {"use_transformers_continuous_batching": True},
    "compiled": {"cache_implementation": "static"},
    "graphed": {"cache_implementation": "static"},
}


@dataclass(frozen=True)
class Configuration:
    """One measurement: `generated` completions at once, trained on `rows` at a time."""

    shape: str
    adapters: str = "qlora"
    precision: str = "bf16"
    generation: str = "dynamic"
    rows: int = 8
    generated: int = 8
    prompt_length: int = 512
    completion_length: int = 256
    device: str = "cuda"


LIMIT = 150  # seconds for one configuration, without making its model

# In the order of what is most wanted, should the time end.
PLAN = [
    Configuration("7b"),
    Configuration("1.5b"),
    Configuration("7b", generation="graphed"),
    Configuration("7b", generation="chunked", rows=4, generated=32),  # examples/configs/rtx_3060.yaml
    Configuration("1.5b", "lora", generation="chunked", generated=64),
    Configuration("1.5b", "lora", generation="graphed", generated=64),
    Configuration("1.5b", "lora", generation="static", generated=64),
    Configuration("1.5b", "lora", generation="continuous", generated=64),
    Configuration("1.5b", "qlora", generation="chunked", generated=64),
    Configuration("1.5b", "qlora", generation="graphed", generated=64),
    Configuration("7b", generation="graphed", rows=4, generated=32),
    Configuration("7b", precision="fp16", generation="chunked", rows=4, generated=64),  # examples/configs/t4.yaml
    Configuration("0.5b", "lora", generation="chunked", generated=64),
    Configuration("0.5b"),
    Configuration("3b"),
    Configuration("7b", "lora", generation="chunked", generated=64),  # examples/configs/rtx_4090.yaml
    Configuration("3b", "lora", generation="chunked", generated=64),
    Configuration("1.5b", "lora", generation="compiled", generated=64),
    Configuration("1.5b", "qlora", generation="continuous", generated=64),
]


def measure(configuration: Configuration, folder: Path, steps: int) -> dict[str, Any]:
    """Load, train for `steps` steps, and say what each phase took. Runs in a process of its own."""
    quantised = configuration.adapters == "qlora"
    if quantised and configuration.generation == "compiled":
        raise ValueError("Transformers compiles no model quantised by bitsandbytes (`hf_quantizer.is_compileable`).")
    import torch
    from datasets import Dataset
    from transformers import AutoConfig, AutoTokenizer
    from trl import ModelConfig, get_peft_config, get_quantization_config

    from benchmarks.graphed_decoding import graphed_decoding, record_cuda_graph
    from benchmarks.phases import Phases, PhaseTrainer, whole_completion_reward
    from benchmarks.tiny_models import machine
    from trl_srl import SRLConfig
    from trl_srl.memory import estimate_memory

    on_cpu = configuration.device == "cpu"
    generation = dict(GENERATION[configuration.generation])
    if on_cpu and configuration.generation == "continuous":
        generation["transformers_continuous_batching_config"] = {"num_blocks": 64}
    output = tempfile.mkdtemp()
    args = SRLConfig(
        output,
        per_device_train_batch_size=configuration.rows,
        gradient_accumulation_steps=configuration.generated // configuration.rows,
        num_generations=min(8, configuration.generated),
        max_prompt_length=configuration.prompt_length,
        max_completion_length=configuration.completion_length,
        max_steps=steps,
        learning_rate=1e-5,
        dynamic_sampling=False,
        bf16=configuration.precision == "bf16",
        fp16=configuration.precision == "fp16",
        use_cpu=on_cpu,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        **generation,
    )
    model_args = ModelConfig(
        model_name_or_path=str(folder),
        dtype="bfloat16" if configuration.precision == "bf16" else "float16",
        use_peft=True,
        lora_dropout=0.0,
        lora_target_modules=["all-linear"],
        load_in_4bit=quantised,
        use_bnb_nested_quant=quantised,
    )
    args.model_init_kwargs = {"dtype": model_args.dtype}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompts = configuration.generated // args.num_generations
    rows = Dataset.from_list(make_rows((steps + 1) * prompts, configuration.prompt_length, tokenizer))
    phases = Phases(on_cpu)
    trainer = PhaseTrainer(
        str(folder),
        args,
        train_dataset=rows,
        reward_funcs=whole_completion_reward,
        processing_class=tokenizer,
        quantization_config=get_quantization_config(model_args),
        peft_config=get_peft_config(model_args),
    )
    trainer.phases = phases
    load = phases.end()
    if configuration.generation == "compiled":
        trainer.generation_config.disable_compile = False
    if configuration.generation == "graphed":
        record = (lambda call: call) if on_cpu else record_cuda_graph
        trainer.decoding = lambda: graphed_decoding(trainer.model, record)
    trainer.train()
    try:
        estimate = estimate_memory(AutoConfig.from_pretrained(folder), args, model_args)
    except ValueError:  # generation that cannot be estimated
        estimate = None
    shutil.rmtree(output)
    return {
        "machine": machine(),
        "card": "CPU" if on_cpu else torch.cuda.get_device_name(),
        "load": load,
        "steps": phases.steps,
        # As many at once as in the steps: another batch would be compiled anew.
        "gap": trainer.greedy_gap(rows[: args.num_generations]["prompt"] * prompts),
        # Generation is measured in the first step, when the optimizer has no moments yet.
        "estimate": estimate
        and {"load": estimate.load, "generate": replace(estimate, optimizer=0).generate, "train": estimate.train},
    }


def call(*arguments: str | Path, seconds: float) -> subprocess.CompletedProcess:
    """This script again, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.gpu", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=max(seconds, 0.001))


def run_one(configuration: Configuration, folder: Path, ends: float, steps: int) -> dict[str, Any]:
    """Measure a configuration in a process of its own, and say so if that fails or takes too long."""
    wanted = ("--one", json.dumps(asdict(configuration)))
    with tempfile.NamedTemporaryFile("r", suffix=".json") as answer:
        try:
            if not (folder / "tokenizer.json").exists():  # which is written last
                call(*wanted, "--make", folder, seconds=ends - time.monotonic()).check_returncode()
            limit = min(ends - time.monotonic(), LIMIT)
            measuring = ("--folder", folder, "--steps", str(steps), "--answer", answer.name)
            call(*wanted, *measuring, seconds=limit).check_returncode()
        except subprocess.TimeoutExpired:
            return {"status": "out of time"}
        except subprocess.CalledProcessError as error:
            return {"status": "failed", "error": error.stderr[-2000:]}
        return {"status": "ok", **json.load(answer)}


def run(plan: list[Configuration], output: Path, time_limit: float, steps: int) -> list[dict[str, Any]]:
    """Measure what is not yet in `output`, until the time is over."""
    ends = time.monotonic() + time_limit
    output.mkdir(parents=True, exist_ok=True)
    results = output / "results.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    done = [line["configuration"] for line in lines if line["status"] == "ok"]
    with tempfile.TemporaryDirectory() as models:
        for configuration in plan:
            if asdict(configuration) in done:
                continue
            since = time.monotonic()
            measured = run_one(configuration, Path(models, configuration.shape), ends, steps)
            seconds = round(time.monotonic() - since, 1)
            lines.append({"configuration": asdict(configuration), **measured, "seconds": seconds})
            with results.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
            print(f"{measured['status']:12} {seconds:6} s  {configuration}", flush=True)
            if measured["status"] == "failed":
                print(f"             {measured['error'].strip().splitlines()[-1:]}", flush=True)
            if time.monotonic() >= ends:
                break
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/gpu"), help="folder for results.jsonl and table.md")
    parser.add_argument("--time_limit", type=float, default=540, help="seconds for everything (default: 540)")
    parser.add_argument("--steps", type=int, default=2, help="training steps; the last is reported (default: 2)")
    parser.add_argument("--shape", nargs="+", choices=list(SHAPES), help="only these, of the plan")
    parser.add_argument("--adapters", nargs="+", choices=["qlora", "lora"], help="only these, of the plan")
    parser.add_argument("--precision", nargs="+", choices=["bf16", "fp16"], help="only these, of the plan")
    parser.add_argument("--generation", nargs="+", choices=list(GENERATION), help="only these, of the plan")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: for `--shape tiny`")
    for internal in ("--one", "--make", "--folder", "--answer"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        configuration = Configuration(**json.loads(options.one))
        if options.make:
            make_model(configuration.shape, Path(options.make), configuration.device)
        else:
            measured = measure(configuration, Path(options.folder), options.steps)
            Path(options.answer).write_text(json.dumps(measured))
        return
    plan = PLAN
    if options.shape and "tiny" in options.shape:
        small = {"rows": 4, "generated": 8, "prompt_length": 64, "completion_length": 8, "device": options.device}
        ways = [("lora", way) for way in GENERATION] + [
            ("qlora", way) for way in ("dynamic", "chunked", "static", "graphed")
        ]
        plan = [Configuration("tiny", adapters, generation=way, **small) for adapters, way in ways]
    for name in ("shape", "adapters", "precision", "generation"):
        plan = [one for one in plan if getattr(options, name) is None or getattr(one, name) in getattr(options, name)]
    lines = run(plan, options.output, options.time_limit, options.steps)
    (options.output / "table.md").write_text(tables(lines))
    print(tables(lines))


if __name__ == "__main__":
    main()
