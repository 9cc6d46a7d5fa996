"""Defaults are the paper's, bad values end in one clear error, and TRL's parser reads every field."""

import pytest
import torch
from transformers import training_args
from transformers.utils import is_torch_bf16_gpu_available
from trl import GRPOConfig, TrlParser

from trl_srl.config import DynamicSamplingConfig, SRLConfig


@pytest.fixture
def make_config(tmp_path):
    def make(config_class=SRLConfig, **fields):
        return config_class(output_dir=str(tmp_path), bf16=False, use_cpu=True, report_to="none", **fields)

    return make


@pytest.fixture
def parse(tmp_path):
    def parse(*argv):
        common = ["--output_dir", str(tmp_path), "--bf16", "false", "--use_cpu", "true"]
        (config,) = TrlParser((SRLConfig,)).parse_args_and_config([*common, *argv])
        return config

    return parse


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 5e-7),
        ("warmup_steps", 0),
        ("num_generations", 8),
        ("temperature", 1.0),
        ("top_p", 1.0),
        ("beta", 0.0),
        ("max_grad_norm", 1.0),
        ("loss_type", "grpo"),
        ("scale_rewards", "group"),
        ("format_penalty", -1.0),
        ("title_hint", False),
        ("include_last_step", False),
        ("dynamic_sampling", True),
    ],
)
def test_default_is_the_papers(make_config, name, value):
    assert getattr(make_config(), name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_reward_std", 0.01),
        ("max_refill_rounds", 3),
        ("refill_fallback", "mask"),
        ("refill_patience", 10),
        ("num_generations_eval", 1),
        ("system_prompt", None),
        ("max_prompt_length", None),
    ],
)
def test_default_that_is_ours(make_config, name, value):
    assert getattr(make_config(), name) == value


def test_the_papers_precision_is_kept(tmp_path):
    assert SRLConfig.__dataclass_fields__["bf16"].default is GRPOConfig.__dataclass_fields__["bf16"].default is None


def test_configs_are_grpo_configs(make_config):
    assert isinstance(make_config(), DynamicSamplingConfig)
    assert isinstance(make_config(), GRPOConfig)


def test_dynamic_sampling_alone_changes_no_default_of_trl(make_config):
    ours, trls = make_config(DynamicSamplingConfig), make_config(GRPOConfig)
    added = {
        "dynamic_sampling",
        "min_reward_std",
        "max_refill_rounds",
        "refill_fallback",
        "refill_patience",
        "save_rollouts",
    }
    times = {"logging_dir", "run_name"}
    names = set(GRPOConfig.__dataclass_fields__) - times
    assert set(DynamicSamplingConfig.__dataclass_fields__) - set(GRPOConfig.__dataclass_fields__) == added
    assert {name for name in names if getattr(ours, name) != getattr(trls, name)} == set()


def test_every_new_field_has_a_help_text():
    new = set(SRLConfig.__dataclass_fields__) - set(GRPOConfig.__dataclass_fields__)
    assert {name for name in new if not SRLConfig.__dataclass_fields__[name].metadata.get("help")} == set()


@pytest.mark.parametrize("fallback", ["mask", "replace", "error"])
def test_refill_fallbacks(make_config, fallback):
    assert make_config(refill_fallback=fallback).refill_fallback == fallback


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"refill_fallback": "drop"}, r"refill_fallback='drop' is unknown\. Write one of mask, replace, error\."),
        ({"min_reward_std": -0.01}, r"min_reward_std=-0\.01 is too small\. Write 0 or more\."),
        ({"max_refill_rounds": -1}, r"max_refill_rounds=-1 is too small\. Write 0 or more\."),
        ({"refill_patience": 0}, r"refill_patience=0 is too small\. Write 1 or more\."),
    ],
)
def test_bad_value_says_what_to_write(make_config, fields, message):
    with pytest.raises(ValueError, match=message):
        make_config(**fields)


@pytest.mark.parametrize("fields", [{"min_reward_std": 0.0}, {"max_refill_rounds": 0}, {"refill_patience": 1}])
def test_smallest_allowed_value(make_config, fields):
    make_config(**fields)


@pytest.mark.parametrize(
    ("fields", "batch", "parts", "group"),
    [
        ({"per_device_train_batch_size": 6, "num_generations": 4}, 6, "6 x 1 processes", 4),
        ({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 3}, 6, "2 x 1 processes", 8),
        ({"per_device_train_batch_size": 4, "steps_per_generation": 3}, 12, "4 x 1 processes", 8),
        ({"generation_batch_size": 12}, 12, "generation_batch_size", 8),
    ],
)
def test_batch_that_holds_no_whole_groups(make_config, fields, batch, parts, group):
    with pytest.raises(ValueError) as error:
        make_config(**fields)
    text = str(error.value)
    assert text.startswith(f"A batch of {batch} completions (")
    assert parts in text
    assert f"cannot hold whole groups of num_generations={group}. Make it a multiple of {group}" in text
    assert "None" not in text


def test_the_advice_for_the_batch_works(make_config):
    make_config(per_device_train_batch_size=4, num_generations=4)
    make_config(per_device_train_batch_size=6, num_generations=4, gradient_accumulation_steps=4)


def test_other_errors_of_trl_pass_unchanged(make_config):
    with pytest.raises(ValueError, match="at least 2 generations"):
        make_config(num_generations=1)


def test_evaluation_batch_needs_no_multiple_of_the_group(make_config):
    assert make_config(eval_strategy="steps", eval_steps=1, per_device_eval_batch_size=3).num_generations_eval == 1


def test_command_line(parse):
    config = parse(
        *("--dynamic_sampling", "false", "--title_hint", "true", "--max_prompt_length", "100"),
        *("--include_last_step", "--format_penalty", "-0.5", "--system_prompt", "Be brief."),
        *("--min_reward_std", "0.05", "--max_refill_rounds", "5", "--refill_fallback", "replace"),
        *("--refill_patience", "2", "--num_generations", "4", "--learning_rate", "1e-6"),
    )
    assert config.dynamic_sampling is False
    assert config.title_hint is config.include_last_step is True
    assert (config.max_prompt_length, config.format_penalty, config.system_prompt) == (100, -0.5, "Be brief.")
    assert (config.min_reward_std, config.max_refill_rounds) == (0.05, 5)
    assert (config.refill_fallback, config.refill_patience) == ("replace", 2)
    assert (config.num_generations, config.learning_rate) == (4, 1e-6)


def test_command_line_without_options_has_the_defaults(parse):
    config = parse()
    assert (config.dynamic_sampling, config.title_hint, config.max_prompt_length) == (True, False, None)
    assert (config.learning_rate, config.loss_type) == (5e-7, "grpo")


def test_command_line_refuses_an_unknown_fallback(parse, capsys):
    with pytest.raises(SystemExit) as error:
        parse("--refill_fallback", "drop")
    assert error.value.code == 2
    assert "--refill_fallback" in capsys.readouterr().err


def test_yaml(parse, tmp_path):
    path = tmp_path / "srl.yaml"
    path.write_text(
        "dynamic_sampling: false\ntitle_hint: true\nmax_prompt_length: 100\nlearning_rate: 1.0e-6\n"
        "refill_fallback: error\n"
    )
    config = parse("--config", str(path))
    assert (config.dynamic_sampling, config.title_hint, config.max_prompt_length) == (False, True, 100)
    assert (config.learning_rate, config.refill_fallback) == (1e-6, "error")


def test_command_line_goes_before_yaml(parse, tmp_path):
    path = tmp_path / "srl.yaml"
    path.write_text("max_prompt_length: 100\ntitle_hint: true\n")
    config = parse("--config", str(path), "--max_prompt_length", "200")
    assert (config.max_prompt_length, config.title_hint) == (200, True)


@pytest.mark.parametrize(
    "metric", [None, "eval_loss", "srl/truncated_rate", "eval_completions/mean_length", "entropy"]
)
def test_the_best_checkpoint_goes_by_something_that_cannot_be_gamed(make_config, metric):
    best = dict(load_best_model_at_end=True, eval_strategy="steps", eval_steps=1, save_steps=1)
    if metric is None:
        config = make_config(**best)
        assert (config.metric_for_best_model, config.greater_is_better) == ("eval_srl/similarity", True)
        assert make_config().metric_for_best_model is None
        for name in ("rewards/mine/mean", "eval_held_out_srl/similarity", "eval_small_reward"):
            assert make_config(metric_for_best_model=name).greater_is_better is True
    else:
        with pytest.raises(
            ValueError, match=r"may prefer a model that writes nothing usable\. Write one of eval_srl/sim"
        ):
            make_config(metric_for_best_model=metric, **best)


@pytest.mark.skipif(is_torch_bf16_gpu_available(), reason="here bfloat16 is right")
@pytest.mark.parametrize("config_class", [SRLConfig, DynamicSamplingConfig])
def test_without_a_gpu_the_error_names_the_settings_of_a_cpu(config_class, tmp_path, make_config):
    with pytest.raises(ValueError, match="On a CPU write use_cpu=True, bf16=False"):
        config_class(output_dir=str(tmp_path))
    assert make_config(config_class).use_cpu


def test_emulated_bfloat16_is_refused(tmp_path, monkeypatch):
    """A T4, as PyTorch and transformers describe it: bfloat16 is supported, if emulation counts."""

    class OnT4(SRLConfig):
        @property
        def device(self):
            return torch.device("cuda") if super().device else None

    monkeypatch.setattr(training_args, "is_torch_bf16_gpu_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    with pytest.raises(ValueError, match="on an older GPU such as a T4 bf16=False, fp16=True"):
        OnT4(str(tmp_path))
    assert OnT4(str(tmp_path), bf16=False).bf16 is False
