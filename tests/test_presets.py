"""Every file of examples/configs starts by itself, fits the card that it names, and says what was estimated."""

from pathlib import Path

import pytest
import yaml
from datasets import Dataset

from benchmarks.memory_table import (
    MODELS,
    PRESETS,
    ROOT,
    as_comment,
    as_markdown,
    as_row,
    read_preset,
    table,
    two_stages_as_comment,
)


FOLDER = ROOT / "examples" / "configs"
# What a CPU cannot do: 16-bit mixed precision as on a GPU, bitsandbytes' paged optimizer. And it should not take long.
ON_CPU = {
    "use_cpu": "true",
    "bf16": "false",
    "fp16": "false",
    "dtype": "float32",
    "optim": "adamw_torch",
    "max_completion_length": "8",
    "max_steps": "1",
    "max_refill_rounds": "0",
    "save_strategy": "no",
}


def test_every_preset_is_in_the_table():
    other = {"srl_then_rlvr"}  # two stages, for any card
    assert {file.stem for file in FOLDER.glob("*.yaml")} - other == set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_value_of_a_preset_is_read(preset):
    script_args, args, model_args = read_preset(preset)
    for name, value in yaml.safe_load((FOLDER / f"{preset}.yaml").read_text()).items():
        (owner,) = (options for options in (script_args, args, model_args) if hasattr(options, name))
        assert getattr(owner, name) == value, name
    assert args.fp16 is not args.bf16
    assert model_args.dtype == ("float16" if args.fp16 else "bfloat16")
    assert args.chat_template_kwargs == {"enable_thinking": True}


def test_batches_by_hand():
    batches = {}
    for preset in PRESETS:
        _, args, _ = read_preset(preset)
        batches[preset] = (args.generation_batch_size // args.num_generations, args.num_generations)
    assert batches == {
        "t4": (8, 8),
        "rtx_3060": (4, 8),
        "rtx_4090": (8, 8),
        "two_rtx_4090": (8, 8),  # on each card
        "a100_h100": (16, 8),
    }


@pytest.mark.parametrize("models", [MODELS[3:4], pytest.param(MODELS, marks=pytest.mark.slow)], ids=["7B", "all"])
def test_the_estimates_in_the_presets_and_the_docs_are_today_s(models):
    """`python -m benchmarks.memory_table` prints what belongs there. Every model fits every preset's card."""
    cells, page = table(models), (ROOT / "docs" / "hardware.md").read_text()
    for model, row in cells.items():
        assert as_row(model, row) in page
        assert not any("does not fit" in cell for cell in row.values())
        for preset, cell in row.items():
            assert f"#   {model:23} {cell}\n" in (FOLDER / f"{preset}.yaml").read_text(), preset
    assert two_stages_as_comment() in (FOLDER / "srl_then_rlvr.yaml").read_text()
    if models == MODELS:
        assert as_markdown(cells) in page
        for preset in PRESETS:
            assert as_comment(cells, preset) in (FOLDER / f"{preset}.yaml").read_text(), preset


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains_a_step(preset, format_model, tmp_path, monkeypatch):
    """By `trl-srl train` from its file, but with a model that is here and what a CPU can do. QLoRA is NF4 here too."""
    pytest.importorskip("bitsandbytes")
    from trl_srl.cli import main

    rows = [
        {
            "prompt": [{"role": "user", "content": f"What is {i} + 1?"}],
            "expert_action": f"It is {i + 1}.",
            "problem_id": str(i),
            "step_index": 0,
            "num_steps": 2,
        }
        for i in range(16)
    ]
    monkeypatch.chdir(tmp_path)
    Path("rows").mkdir()
    Dataset.from_list(rows).to_parquet("rows/train.parquet")
    options = {"config": str(FOLDER / f"{preset}.yaml"), "model_name_or_path": format_model, **ON_CPU}
    main(["train", *(word for name, value in options.items() for word in (f"--{name}", value))])
    assert Path("runs", "srl", "adapter_model.safetensors").exists()
