"""The scripts in examples/ run as they stand, on a tiny model and on small files in the data sets' own schemas."""

import json
import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest


EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
# A CPU, and a run of seconds.
QUICK = [
    *("--use_cpu", "true", "--bf16", "false", "--gradient_checkpointing", "false", "--report_to", "none"),
    *("--max_steps", "1", "--max_completion_length", "24", "--num_generations", "4"),
    *("--per_device_train_batch_size", "8", "--system_prompt", "S", "--save_strategy", "no", "--disable_tqdm", "true"),
]


@pytest.fixture
def run_example(monkeypatch, tmp_path, capsys, format_model):
    def run(name, rows, *options):
        data = tmp_path / "data.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        arguments = ["--dataset", str(data), "--model_name_or_path", format_model, *QUICK, *options]
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_short_stories_that_declare_what_they_need(script):
    text = script.read_text()
    assert len(text.splitlines()) < 100
    header = re.search(r"^# /// script\n((?:# .*\n)+?)# ///$", text, re.MULTILINE)[1]
    declared = tomllib.loads(re.sub("^# ", "", header, flags=re.MULTILINE))
    assert declared["requires-python"] == ">=3.11"
    extras = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    package = next(need for need in declared["dependencies"] if need.startswith("trl-srl"))
    assert set(re.findall(r"[a-z0-9]+", package.removeprefix("trl-srl"))) <= set(extras)


def test_math_srl(run_example):
    rows = [
        {"question": f"{a}+{b}?", "answer": f"We add {a} and {b}.\nThat is <<{a}+{b}={a + b}>>{a + b}.\n#### {a + b}"}
        for a in range(4)
        for b in range(4)
    ]
    out = run_example("math_srl.py", rows, "--num_held_out", "4", "--dataset_config", "None")
    assert "32 step rows from 16 problems" in out
    assert re.search(r"similarity   0\.\d{3} → 0\.\d{3}", out)
    assert Path("runs/math_srl/model.safetensors").exists()


def test_custom_similarity(run_example, expert_trajectories):
    out = run_example("custom_similarity.py", expert_trajectories.to_list())
    assert re.search(r"similarity 0\.\d{3}, numbers -?0\.\d{3}", out)


def test_the_numbers_of_a_step_by_hand():
    score = runpy.run_path(str(EXAMPLES / "custom_similarity.py"))["number_similarity"]
    # 48, 2, 24 against 48, 2, 26: M = 2, T = 6; no number to compare; malformed.
    completions = ["<think></think>48 / 2 = 24", "<think></think>so", "48 / 2 = 26"]
    assert score(completions, ["48 / 2 = 26", "therefore", "48 / 2 = 26"]) == [4 / 6, None, -1.0]


def test_agent_actions(run_example):
    def turn(command, observation):
        call = {
            "id": "1",
            "type": "function",
            "function": {"name": "bash", "arguments": json.dumps({"command": command})},
        }
        return [
            {"role": "assistant", "content": "I look.", "tool_calls": [call]},
            {"role": "tool", "content": observation, "tool_call_id": "1"},
        ]

    rows = [
        {
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": f"Mend issue {i}."},
                *turn(f"ls {i}", "a.py"),
                *turn(f"cat {i}/a.py", "x = 1"),
            ],
            "resolved": True,
        }
        for i in range(6)
    ]
    out = run_example("agent_actions.py", rows, "--split", "train", "--max_prompt_length", "2000")
    assert '{"arguments":{"command":"ls 0"},"name":"bash"}' in out
    assert "12 step rows from 6 problems" in out


def test_srl_then_rlvr(run_example, qlora_base):
    rows = [
        {"question": f"{a}+{b}", "answer": f"add {a} and {b}\nsum is {a + b}\n#### {a + b}"}
        for a in range(1, 5)
        for b in range(1, 5)
    ]
    out = run_example(
        "srl_then_rlvr.py",
        rows,
        *("--model_name_or_path", qlora_base, "--load_in_4bit", "--use_peft", "--lora_target_modules", "all-linear"),
        *("--num_held_out", "4", "--dataset_config", "None", "--learning_rate", "1e-2"),
        *("--solution_length", "24", "--solving_prompt", "A"),
    )
    assert "The second stage starts 0.0e+00 from where the first ended" in out
    assert re.search(r"right answers  \d+\.\d% \(.*\) → SRL \d+\.\d% \(.*\) → RLVR \d+\.\d% \(.*\)", out)
    assert Path("runs/srl_then_rlvr/rlvr/adapter_model.safetensors").exists()
