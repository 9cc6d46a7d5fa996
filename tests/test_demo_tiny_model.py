"""The demo's tiny model: its tokenizer, its warm start, its cache, and a demo of two steps."""

import json
from functools import partial

import pytest

from trl_srl import load_rows, parse_completion
from trl_srl.demo.cache import cached_folder
from trl_srl.demo.tiny_model import (
    TinyModelSettings,
    build_model,
    build_tokenizer,
    encode_rows,
    monologue_for,
    warm_start,
    warm_start_problems,
)
from trl_srl.step_rows import is_step_rows


SMALL = TinyModelSettings(num_problems=40, vocab_size=400, hidden_size=32, num_layers=1, warm_start_steps=12)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(["A cup of tea is 7 ounces of tea.", "He drank 7*6=42 ounces of tea."], vocab_size=300)


def test_think_tags_survive_decoding_without_special_tokens(tokenizer):
    completion = "<think>7 6 42</think>\nHe drank 7*6=42 ounces, €3 × ½."
    ids = [*tokenizer.encode(completion), tokenizer.eos_token_id]
    assert tokenizer.decode(ids, skip_special_tokens=True) == completion
    assert tokenizer.convert_tokens_to_ids("<think>") in ids


def test_every_digit_is_a_token(tokenizer):
    assert tokenizer.tokenize("1234") == ["1", "2", "3", "4"]


def test_chat_template(tokenizer):
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    rendered = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert rendered == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"


def test_monologue_is_the_numbers_of_the_step():
    assert monologue_for("He spent 8 x $7.75 = $62 on 8 notebooks.") == "8 7.75 62 8"


def test_warm_start_shows_the_format_and_lowers_the_loss(tokenizer):
    from datasets import Dataset

    row = {"prompt": [{"role": "user", "content": "A cup of tea"}], "expert_action": "7*6=42"}
    pairs = encode_rows(Dataset.from_list([row]), tokenizer)
    assert tokenizer.decode(pairs[0][1]) == "<think>7 6 42</think>\n7*6=42<|im_end|>"
    assert parse_completion(tokenizer.decode(pairs[0][1][:-1])) == ("7 6 42", "7*6=42")
    losses = warm_start(build_model(tokenizer, SMALL), pairs, SMALL)
    assert len(losses) == 12
    assert losses[-1] < losses[0] - 1


def test_cache_is_reused_and_never_half(tmp_path):
    calls = []

    def build(folder):
        calls.append(folder)
        (folder / "part").write_text("1")
        if len(calls) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_folder("thing", build, tmp_path)
    assert list(tmp_path.iterdir()) == []
    folder = cached_folder("thing", build, tmp_path)
    assert folder == tmp_path / "thing"
    assert [path.name for path in folder.iterdir()] == ["part"]
    assert cached_folder("thing", build, tmp_path) == folder
    assert len(calls) == 2


def test_default_cache_honours_xdg(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cached_folder("thing", lambda folder: None) == tmp_path / "trl-srl" / "thing"


def test_demo_problems_are_disjoint(tokenizer):
    pytest.importorskip("reasoning_gym")
    pytest.importorskip("matplotlib")
    from trl_srl import format_trajectories
    from trl_srl.demo.run import DemoSettings, make_step_rows

    rows = make_step_rows(DemoSettings(num_problems=60, num_held_out=20, max_prompt_length=2000), tokenizer, SMALL)
    warm = set(format_trajectories(warm_start_problems(SMALL))[0]["problem_id"])
    train, held_out = set(rows["train"]["problem_id"]), set(rows["validation"]["problem_id"])
    assert len(train) == 40
    assert len(held_out) == 20
    assert not warm & train
    assert not warm & held_out
    assert not train & held_out


def test_demo_from_problems_to_results(tmp_path, monkeypatch):
    pytest.importorskip("reasoning_gym")
    pytest.importorskip("matplotlib")
    from rich.console import Console

    from trl_srl.demo import run

    # Random weights: what is tested is that the pieces fit, not that they learn.
    monkeypatch.setattr(run, "TinyModelSettings", lambda: SMALL)
    sizes = {"num_problems": 40, "num_held_out": 5, "prompts_per_step": 2, "prompts_per_pass": 1}
    monkeypatch.setattr(run, "DemoSettings", partial(run.DemoSettings, **sizes))
    with (tmp_path / "printed.txt").open("w") as file:
        results = run.run_demo(
            tmp_path, max_steps=2, cache_dir=tmp_path / "cache", console=Console(file=file, width=99)
        )
    assert json.loads((tmp_path / "results.json").read_text())["before"] == results["before"]
    assert (tmp_path / "reward_curve.png").stat().st_size > 1000
    assert (tmp_path / "model" / "model.safetensors").exists()
    rows = load_rows(str(tmp_path / "rows"), split="validation")
    assert len(set(rows["problem_id"])) == 5 and is_step_rows(rows)
    assert set(results["seconds"]) >= {"model", "problems", "evaluation before", "training", "evaluation after"}
    printed = (tmp_path / "printed.txt").read_text()
    for word in ("too weak", "step similarity", "right numbers", "reward_curve.png"):
        assert word in printed


def test_unknown_problems(tmp_path):
    pytest.importorskip("matplotlib")
    from trl_srl.demo.run import run_demo

    with pytest.raises(ValueError, match="Write one of gsm_symbolic, champ"):
        run_demo(tmp_path, problems="aime")
