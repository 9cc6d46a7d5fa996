"""Adapters find their base model, or say where it was looked for."""

import shutil

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from trl_srl import SRLTrainer
from trl_srl.weights.adapter_loading import find_base, load_adapter, read_adapter


@pytest.fixture
def adapter(tmp_path, qlora_base):
    shutil.copytree(qlora_base, tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    settings = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(model, settings).save_pretrained(tmp_path / "adapter")
    return str(tmp_path / "adapter")


def test_an_adapter_is_told_from_a_complete_model(tmp_path, adapter, qlora_base):
    assert read_adapter(adapter).r == 4
    assert read_adapter(qlora_base) is None
    assert read_adapter("nobody/no-such-model") is None  # transformers says what is wrong with it
    shutil.copy(f"{adapter}/adapter_config.json", tmp_path / "base")
    assert read_adapter(str(tmp_path / "base")) is None  # a complete model with an adapter beside it
    with pytest.raises(ValueError, match="holds no adapter"):
        load_adapter(qlora_base)


def test_broken_weights_are_a_clear_error(tmp_path, adapter):
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match=rf"The weights of the adapter in {adapter} are broken \(.*header"):
        load_adapter(adapter)


def test_it_is_loaded_on_its_base_model(adapter):
    model = load_adapter(adapter, is_trainable=True, dtype="float16")
    assert isinstance(model, PeftModel)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.float16}
    assert not any(p.requires_grad for p in load_adapter(adapter).parameters())


def test_a_base_that_has_moved(tmp_path, adapter, expert_trajectories, srl_args):
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"is not at .*base \(base_model_name_or_path in its adapter_config"):
        SRLTrainer(adapter, srl_args(), expert_trajectories)
    base, config = find_base(adapter, read_adapter(adapter), str(tmp_path / "elsewhere"))
    assert (base, config.hidden_size) == (str(tmp_path / "elsewhere"), 64)
    with pytest.raises(FileNotFoundError, match="is not at nowhere: "):
        find_base(adapter, read_adapter(adapter), "nowhere")
