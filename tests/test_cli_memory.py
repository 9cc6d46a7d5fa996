"""`trl-srl memory`: what it prints, and its errors."""

from pathlib import Path

import pytest

from trl_srl.cli import main


ROOT = Path(__file__).parents[1]
SEVEN = str(ROOT / "tests" / "fixtures" / "configs" / "Qwen2.5-7B-Instruct")


def test_a_preset_and_an_option(capsys):
    main(["memory", "--model", SEVEN, "--preset", str(ROOT / "examples" / "configs" / "rtx_3060.yaml")])
    preset = capsys.readouterr().out
    assert "7.62 B parameters, 40.4 M trained" in preset
    assert "32 completions generated at once, trained on 4 at a time; prompts of 512, completions of 256" in preset
    assert "weights 5.17 + adapters 0.15 + optimizer 0.30 + KV cache 1.31" in preset
    assert "Fits a card of 10 GB. Estimated, not measured" in preset
    main(["memory", "--model", SEVEN, "--preset", str(ROOT / "examples" / "configs" / "rtx_3060.yaml"),
          "--gradient_accumulation_steps", "16"])  # fmt: skip
    assert "KV cache 2.62" in capsys.readouterr().out


def test_both_stages_of_a_file(capsys):
    file = str(ROOT / "examples" / "configs" / "srl_then_rlvr.yaml")
    main(["memory", "--model", SEVEN, "--preset", file])
    first, second = capsys.readouterr().out.split("RLVR, the second stage\n")
    assert first.startswith("SRL, the first stage\n") and "prompts of 512, completions of 256 tokens" in first
    assert "128 completions generated at once, trained on 8 at a time; prompts of 512, completions of 1024" in second
    main(["memory", "--model", SEVEN, "--preset", file, "--stage", "rlvr", "--max_prompt_length", "100"])
    assert "prompts of 100, completions of 1024" in capsys.readouterr().out


def test_without_a_preset(capsys):
    options = "--max_prompt_length 512 --max_completion_length 256 --load_in_4bit --use_bnb_nested_quant --use_peft"
    main(
        ["memory", f"--model={SEVEN}", *options.split(), "--lora_target_modules", "all-linear", "--dtype", "bfloat16"]
    )
    out = capsys.readouterr().out
    assert "8 completions generated at once, trained on 8 at a time" in out
    assert "Fits a card of 12 GB" in out
    main(["memory", "--model", SEVEN, "--max_prompt_length", "512"])  # all weights, in float32
    assert "Fits no card of 80 GB" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max_prompt_length", "512"], "Which model? Name it with --model."),
        (["--model", SEVEN], "Set max_prompt_length"),
        (
            ["--model", SEVEN, "--max_length", "512"],
            "unrecognized arguments: --max_length 512. `trl-srl train --help_all` lists",
        ),
        (["--model", "no/such-model", "--max_prompt_length", "512"], "no/such-model"),
        (["--model", SEVEN, "--preset", "no_such.yaml"], "no_such.yaml"),
    ],
)
def test_what_cannot_work_is_one_error(options, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["memory", *options])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_help_says_what_it_takes(capsys):
    with pytest.raises(SystemExit):
        main(["memory", "--help"])
    out = capsys.readouterr().out
    assert "--preset" in out
    assert "Every option of `trl-srl train` is taken too" in " ".join(out.split())
