"""Which model fits which preset: the table of docs/hardware.md and the lines in examples/configs, by `trl_srl.memory`.

    python -m benchmarks.memory_table

Nothing is downloaded: the models' configs are in tests/fixtures/configs.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from transformers import AutoConfig
from trl import ModelConfig, ScriptArguments

from trl_srl import SRLConfig
from trl_srl.cli.stage_options import as_dataclasses, read_command
from trl_srl.memory import GIB, MemoryEstimate, estimate_memory


ROOT = Path(__file__).parents[1]
PRESETS = {"t4": 16, "rtx_3060": 12, "rtx_4090": 24, "two_rtx_4090": 24, "a100_h100": 80}  # GB of (each) card
MODELS = (
    "Qwen2.5-0.5B-Instruct",
    "Qwen2.5-1.5B-Instruct",
    "Qwen2.5-3B-Instruct",
    "Qwen2.5-7B-Instruct",
    "Qwen3-0.6B",
    "Qwen3-1.7B",
    "Qwen3-4B",
    "Llama-3.2-1B-Instruct",
    "Llama-3.2-3B-Instruct",
)
TWO_STAGES = "Qwen2.5-1.5B-Instruct"  # the model of srl_then_rlvr.yaml


@cache
def read_preset(preset: str, *options: str, stage: str = "srl") -> tuple[ScriptArguments, SRLConfig, ModelConfig]:
    """What `trl-srl train --config examples/configs/PRESET.yaml` reads, on any machine."""
    file = str(ROOT / "examples" / "configs" / f"{preset}.yaml")
    stages = read_command(["--config", file, "--use_cpu", "true", *options]).stages
    script_args, args, model_args, *_ = as_dataclasses(stage, stages[stage])
    args.max_prompt_length = stages["srl"]["max_prompt_length"]  # the second stage has no such option
    return script_args, args, model_args


def estimate(model: str, preset: str, *options: str, stage: str = "srl") -> MemoryEstimate:
    config = AutoConfig.from_pretrained(ROOT / "tests" / "fixtures" / "configs" / model)
    return estimate_memory(config, *read_preset(preset, *options, stage=stage)[1:])


def cell(model: str, preset: str) -> str:
    """GiB with the CUDA context; what does not fit the preset's card is said."""
    needed = estimate(model, preset)
    return f"{needed.peak / GIB:.1f}" + ("" if needed.fits(PRESETS[preset]) else " does not fit")


def table(models: Iterable[str] = MODELS) -> dict[str, dict[str, str]]:
    return {model: {preset: cell(model, preset) for preset in PRESETS} for model in models}


def as_row(model: str, row: dict[str, str]) -> str:
    return f"| {model} | {' | '.join(row.values())} |"


def as_markdown(cells: dict[str, dict[str, str]]) -> str:
    lines = [f"| estimated, GiB | {' | '.join(f'{preset}.yaml, {gb} GB' for preset, gb in PRESETS.items())} |"]
    lines.append("|---" * (len(PRESETS) + 1) + "|")
    lines += [as_row(model, row) for model, row in cells.items()]
    return "\n".join(lines) + "\n"


def as_comment(cells: dict[str, dict[str, str]], preset: str) -> str:
    """What stands in a preset of its memory."""
    lines = ["# Memory in GiB with the CUDA context, estimated by `trl-srl memory`, not measured:"]
    lines += [f"#   {model:23} {row[preset]}" for model, row in cells.items()]
    return "\n".join(lines) + "\n"


def two_stages_as_comment() -> str:
    """What stands in srl_then_rlvr.yaml."""
    lines = ["# Memory in GiB with the CUDA context, estimated by `trl-srl memory`, not measured:"]
    for stage in ("srl", "rlvr"):
        lines.append(f"#   {stage.upper():5} {estimate(TWO_STAGES, 'srl_then_rlvr', stage=stage).peak / GIB:.1f}")
    return "\n".join(lines) + "\n"


def main() -> None:
    cells = table()
    print(as_markdown(cells))
    for preset in PRESETS:
        print(f"{preset}.yaml\n{as_comment(cells, preset)}")
    print(f"srl_then_rlvr.yaml\n{two_stages_as_comment()}")


if __name__ == "__main__":
    main()
