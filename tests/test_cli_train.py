"""From one YAML file and the command line to the options of each stage."""

from pathlib import Path

import pytest
import yaml

from trl_srl.cli import main
from trl_srl.cli.stage_options import parse_options, read_command


TOP = {"model_name_or_path": "base", "dataset_name": "rows", "output_dir": "runs/srl", "learning_rate": "1e-6"}


@pytest.fixture
def config(tmp_path):
    def write(**options):
        (tmp_path / "x.yaml").write_text(yaml.safe_dump(options))
        return ["--config", str(tmp_path / "x.yaml")]

    return write


def test_one_stage(config):
    assert read_command([*config(**TOP), "--lora_r", "8"]).stages == {"srl": TOP | {"lora_r": 8}}
    assert read_command(["--stage", "rlvr", "--adapter", "merge"]).stages == {"rlvr": {"adapter": "merge"}}


def test_the_second_stage_takes_over_what_is_not_the_first_one_s_own(config):
    top = TOP | {"title_hint": True, "system_prompt": "S", "run_name": "one", "load_in_4bit": True, "max_steps": 5}
    command = read_command([*config(**top, rlvr={"max_steps": 7, "adapter": "merge"}), "--lora_r", "8"])
    assert list(command.stages) == ["srl", "rlvr"] and command.chained
    assert command.stages["srl"] == top | {"lora_r": 8}
    assert command.stages["rlvr"] == {
        "model_name_or_path": "runs/srl",
        "output_dir": "runs/srl-rlvr",
        "dataset_name": "rows",
        "learning_rate": "1e-6",
        "load_in_4bit": True,
        "lora_r": 8,
        "max_steps": 7,
        "adapter": "merge",
    }
    for stage in ("srl", "rlvr"):
        only = read_command(
            [*config(**top, rlvr={"max_steps": 7, "adapter": "merge"}), "--lora_r=8", "--stage", stage]
        )
        assert only.stages == {stage: command.stages[stage]}


def test_with_a_stage_the_command_line_is_that_stage_s(config):
    file = config(**TOP, rlvr={"output_dir": "two"})
    rlvr = read_command([*file, "--stage", "rlvr", "--output_dir", "three", "--adapter", "merge"])
    assert rlvr.stages["rlvr"]["output_dir"] == "three" and rlvr.stages["rlvr"]["adapter"] == "merge"
    assert rlvr.stages["rlvr"]["model_name_or_path"] == "runs/srl" and rlvr.chained
    assert not read_command([*file, "--stage", "rlvr", "--model_name_or_path", "other"]).chained
    assert read_command([*file, "--stage", "srl", "--output_dir", "one"]).stages["srl"]["output_dir"] == "one"


def test_a_preset_of_srl_s_does_for_the_second_stage(config, capsys):
    file = config(**TOP, max_prompt_length=512, title_hint=True)
    assert read_command([*file, "--stage", "rlvr", "--lora_r", "8"]).stages == {"rlvr": TOP | {"lora_r": 8}}
    assert "left out for RLVR, as SRL's own: max_prompt_length, title_hint." in capsys.readouterr().out
    with pytest.raises(ValueError, match="no option 'max_promt_length'"):
        read_command([*config(**TOP, max_promt_length=512), "--stage", "rlvr"])


def test_options_become_what_trl_s_parser_makes_of_them():
    options = TOP | {
        "model_name_or_path": "runs/srl",
        "use_cpu": True,
        "bf16": False,
        "lora_target_modules": "all-linear",
    }
    script_args, args, model_args, rlvr_args = parse_options("rlvr", options | {"chat_template_kwargs": {"a": 1}})
    assert (args.learning_rate, args.chat_template_kwargs, args.use_cpu) == (1e-6, {"a": 1}, True)
    assert (model_args.lora_target_modules, script_args.dataset_name) == ("all-linear", "rows")
    assert (rlvr_args.adapter, rlvr_args.system_prompt) == ("continue", None)
    assert args.model_init_kwargs == {"revision": "main", "attn_implementation": None, "dtype": "float32"}


def test_the_example_is_understood():
    example = Path(__file__).parents[1] / "examples" / "configs" / "srl_then_rlvr.yaml"
    command = read_command(
        ["--config", str(example), "--dataset_name", "rows", "--use_cpu", "true", "--bf16", "false"]
    )
    _, srl, model = parse_options("srl", command.stages["srl"])
    _, rlvr, second_model, own = parse_options("rlvr", command.stages["rlvr"])
    assert (srl.learning_rate, rlvr.learning_rate, own.adapter) == (1e-5, 5e-6, "continue")
    assert (srl.max_completion_length, rlvr.max_completion_length) == (256, 1024)
    assert second_model.model_name_or_path == srl.output_dir == "runs/srl" and rlvr.output_dir == "runs/rlvr"
    assert model.load_in_4bit and second_model.load_in_4bit and rlvr.gradient_accumulation_steps == 16


@pytest.mark.parametrize(
    ("top", "rlvr", "arguments", "message"),
    [
        ({"lerning_rate": 1}, None, [], "there is no option 'lerning_rate'; did you mean 'learning_rate'?"),
        ({}, {"format_penalty": 0}, [], "rlvr: there is no option 'format_penalty'"),
        ({}, [1], [], "`rlvr:` must hold options"),
        ({}, {"model_name_or_path": "x"}, [], "rlvr: model_name_or_path is the first stage's result by itself"),
        ({}, {"max_steps": 1}, ["--resume_from_checkpoint", "runs/checkpoint-1"], "but not of which stage"),
        ({}, {}, ["--stage", "rlvr"], "The first stage in runs/srl is not complete"),
        ({"dataset_name": None}, None, [], "--dataset_name is missing"),
    ],
)
def test_mistakes_end_with_one_line(tmp_path, monkeypatch, config, capsys, top, rlvr, arguments, message):
    monkeypatch.chdir(tmp_path)
    block = {} if rlvr is None else {"rlvr": rlvr}
    settings = {"use_cpu": True, "bf16": False}
    with pytest.raises(SystemExit) as exit_info:
        main(["train", *config(**(TOP | settings | top), **block), *arguments])
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_unknown_options_on_the_command_line_are_named(config, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["train", *config(**TOP), "--no_such_option", "1"])
    assert exit_info.value.code == 2
    assert "no_such_option" in capsys.readouterr().err.splitlines()[-1]
