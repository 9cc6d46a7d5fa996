"""A merged model is the adapter's, whatever the adapter changes, or it is not there."""

import json
import re
import shutil
import subprocess
import sys
import time

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from trl_srl import merge_adapter
from trl_srl.cli import main
from trl_srl.weights.merging import MergeReport, check_merge
from trl_srl.weights.probe import probe_logits, relative_difference


EVERYWHERE = {"target_modules": "all-linear"}


@pytest.fixture
def make_adapter(tmp_path, qlora_base):
    """The folder of an adapter with random weights on a base model, which may be another folder."""

    def make(base=qlora_base, std=0.1, **settings):
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        torch.manual_seed(1)
        model = get_peft_model(model, LoraConfig(r=4, task_type="CAUSAL_LM", **settings))
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "lora_A" not in name:
                parameter.data += torch.randn_like(parameter) * std
        model.save_pretrained(tmp_path / "adapter")
        tokenizer = AutoTokenizer.from_pretrained(qlora_base)
        tokenizer.chat_template += "{# of the adapter #}"
        tokenizer.save_pretrained(tmp_path / "adapter")
        return tmp_path / "adapter", probe_logits(model.eval(), tokenizer)

    return make


def left_behind(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("settings", "tied"),
    [
        (EVERYWHERE, True),
        (EVERYWHERE | {"use_dora": True}, True),
        (EVERYWHERE | {"modules_to_save": ["lm_head"]}, False),
        (EVERYWHERE | {"modules_to_save": ["embed_tokens"]}, False),
        (EVERYWHERE | {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}, True),
        ({"target_modules": ["q_proj", "embed_tokens"]}, False),
    ],
)
def test_the_merged_model_is_the_adapter_s(tmp_path, make_adapter, settings, tied):
    """The base model's input and output embeddings are one matrix; they part if the adapter changes one of them."""
    adapter, wanted = make_adapter(**settings)
    report = merge_adapter(adapter, tmp_path / "merged", dtype="float32")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert relative_difference(probe_logits(merged, tokenizer), wanted) < 1e-5
    assert report.error < 1e-5 and report.change == pytest.approx(report.from_base, rel=1e-3) and report.change > 0.1
    assert merged.config.tie_word_embeddings == tied
    assert tokenizer.chat_template.endswith("{# of the adapter #}")
    assert {"generation_config.json", "tokenizer.json", "model.safetensors"} <= set(left_behind(tmp_path / "merged"))
    assert left_behind(tmp_path) == ["adapter", "merged"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bit(tmp_path, make_adapter, dtype):
    adapter, wanted = make_adapter(**EVERYWHERE)
    report = merge_adapter(adapter, tmp_path / "merged", dtype=dtype)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert merged.dtype == getattr(torch, dtype)
    assert report.error <= report.tolerance == {"bfloat16": 0.05, "float16": 0.01}[dtype]
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    assert relative_difference(probe_logits(merged, tokenizer), wanted) < 2 * report.tolerance


def test_the_command_merges_onto_a_sharded_base_in_its_own_precision(tmp_path, make_adapter, qlora_base, capsys):
    base = AutoModelForCausalLM.from_pretrained(qlora_base, dtype=torch.float16)
    base.save_pretrained(tmp_path / "base", max_shard_size="50KB")
    assert len(list((tmp_path / "base").glob("*.safetensors"))) > 2
    adapter, _ = make_adapter(base=str(tmp_path / "base"), **EVERYWHERE)
    main(["merge", str(adapter), "-o", str(tmp_path / "deep" / "merged")])
    out = capsys.readouterr().out
    assert f"in float16: {tmp_path}/deep/merged" in out and "(tolerance 1e-02)" in out
    assert json.loads((tmp_path / "deep" / "merged" / "config.json").read_text())["dtype"] == "float16"


def test_sigterm_leaves_nothing_behind(tmp_path, make_adapter):
    adapter, _ = make_adapter(**EVERYWHERE)
    there = left_behind(tmp_path)
    command = [sys.executable, "-c", "from trl_srl.cli import main; main()", "merge", str(adapter), "-o"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "merged")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and left_behind(tmp_path) == there:
        time.sleep(0.001)
    process.terminate()
    assert process.wait(60) == 143
    assert left_behind(tmp_path) == there


def test_a_base_that_has_moved(tmp_path, make_adapter, qlora_base, capsys):
    shutil.copytree(qlora_base, tmp_path / "base")
    adapter, _ = make_adapter(base=str(tmp_path / "base"), **EVERYWHERE)
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(SystemExit) as exit_info:
        main(["merge", str(adapter), "-o", str(tmp_path / "merged")])
    assert exit_info.value.code == 2
    assert f"is not at {tmp_path}/base" in (line := capsys.readouterr().err.splitlines()[-1])
    assert "--base_model PATH" in line
    assert left_behind(tmp_path) == ["adapter", "elsewhere"]
    report = merge_adapter(adapter, tmp_path / "merged", base_model=str(tmp_path / "elsewhere"))
    assert (report.dtype, report.base_model) == ("bfloat16", str(tmp_path / "elsewhere"))


def test_an_untrained_adapter(tmp_path, make_adapter):
    adapter, _ = make_adapter(std=0.0, **EVERYWHERE)
    with pytest.raises(ValueError, match=r"changes nothing.*not been trained.*Nothing was written"):
        merge_adapter(adapter, tmp_path / "merged")
    assert left_behind(tmp_path) == ["adapter"]


@pytest.mark.parametrize(
    ("change", "from_base", "error", "message"),
    [
        (0.3, 0.3, 0.04, None),
        (0.02, 0.022, 0.02, None),  # a small change, and as much rounding: still nearer to the adapter
        (0.3, 0.3, 0.06, "is not the adapter's: its logits are 6.0e-02 from the adapter's (tolerance 5e-02)"),
        (0.02, 0.02, 0.021, "What the adapter has learned is lost in the rounding to bfloat16"),
        (0.02, float("nan"), float("nan"), "is not the adapter's"),
    ],
)
def test_what_is_near_enough(change, from_base, error, message):
    report = MergeReport("merged", "base", "bfloat16", change, from_base, error, tolerance=0.05)
    if message is None:
        check_merge(report)
    else:
        with pytest.raises(ValueError, match=re.escape(message)):
            check_merge(report)


def test_a_merge_that_went_wrong_leaves_nothing(tmp_path, make_adapter, qlora_base):
    """No weight of this base model is smaller than 0.05: all that the adapter adds, at most 6e-5, is rounded away."""
    base = AutoModelForCausalLM.from_pretrained(qlora_base)
    for parameter in base.parameters():
        parameter.data = (parameter.sign() * (parameter.abs() + 0.05)).to(torch.bfloat16)
    base.save_pretrained(tmp_path / "base")
    adapter, _ = make_adapter(base=str(tmp_path / "base"), std=5e-5, **EVERYWHERE)
    with pytest.raises(ValueError, match=r"rounding to bfloat16: .* 0.0e\+00 from the base model.s. Nothing"):
        merge_adapter(adapter, tmp_path / "deep" / "merged")
    assert left_behind(tmp_path) == ["adapter", "base"]
    assert merge_adapter(adapter, tmp_path / "merged", dtype="float32").change > 0


def test_refusals(tmp_path, make_adapter, qlora_base, nf4):
    adapter, _ = make_adapter(**EVERYWHERE)
    with pytest.raises(ValueError, match="holds no adapter"):
        merge_adapter(qlora_base, tmp_path / "merged")
    with pytest.raises(ValueError, match=r"dtype='int8' is unknown. Write one of bfloat16, float16, float32"):
        merge_adapter(adapter, tmp_path / "merged", dtype="int8")
    AutoModelForCausalLM.from_pretrained(qlora_base, quantization_config=nf4).save_pretrained(tmp_path / "base-4bit")
    with pytest.raises(ValueError, match=r"is stored quantised.*--base_model"):
        merge_adapter(adapter, tmp_path / "merged", base_model=str(tmp_path / "base-4bit"))
    assert left_behind(tmp_path) == ["adapter", "base-4bit"]
    with pytest.raises(FileExistsError, match="is not an empty folder"):
        merge_adapter(adapter, tmp_path)
    (tmp_path / "empty").mkdir()
    assert merge_adapter(adapter, tmp_path / "empty").output_dir == str(tmp_path / "empty")
