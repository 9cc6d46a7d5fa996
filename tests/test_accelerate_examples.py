"""accelerate reads the example configurations, and their README says of each whether it was run."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file


FOLDER = Path(__file__).parents[1] / "examples" / "accelerate"
EXPECTED = {
    "ddp": ("MULTI_GPU", {}),
    "fsdp": ("FSDP", {"fsdp_version": 2}),
    "deepspeed_zero2": ("DEEPSPEED", {"zero_stage": 2}),
    "deepspeed_zero3": ("DEEPSPEED", {"zero_stage": 3, "zero3_save_16bit_model": True}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_accelerate_reads_the_example(name):
    config = load_config_from_file(str(FOLDER / f"{name}.yaml"))  # raises on names that it does not know
    kind, settings = EXPECTED[name]
    assert config.distributed_type == kind
    assert settings.items() <= {**config.fsdp_config, **config.deepspeed_config}.items()


def test_every_example_is_said_to_be_run_or_not():
    table = [line for line in (FOLDER / "README.md").read_text().splitlines() if ".yaml](" in line]
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(EXPECTED)
    assert [line.partition("[")[2].partition(".yaml")[0] for line in table] == list(EXPECTED)
    assert ["**not run**" in line for line in table] == [False, True, True, True]
