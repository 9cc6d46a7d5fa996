"""The estimate against published sizes, measured peaks, numbers by hand, and bytes counted on real layers."""

import weakref
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, Qwen2Config, Qwen3Config
from trl import ModelConfig

from trl_srl import SRLConfig, memory
from trl_srl.memory import ACTIVATIONS, GIB, NORMED_HEADS, Widths, estimate_memory


CONFIGS = Path(__file__).parent / "fixtures" / "configs"
PUBLISHED = {
    "Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "Qwen2.5-3B-Instruct": 3_085_938_688,
    "Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen3-0.6B": 596_049_920,
    "Qwen3-1.7B": 1_720_574_976,
    "Qwen3-4B": 4_022_468_096,
    "Llama-3.2-1B-Instruct": 1_235_814_400,
    "Llama-3.2-3B-Instruct": 3_212_749_824,
}
QLORA = {"dtype": "bfloat16", "use_peft": True, "load_in_4bit": True, "use_bnb_nested_quant": True}


def model_args(**kwargs):
    return ModelConfig(**({"lora_target_modules": ["all-linear"]} | kwargs))


def srl_config(rows=8, **kwargs):
    defaults = {
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": 8 // rows,
        "max_prompt_length": 512,
        "max_completion_length": 256,
        "use_cpu": True,
    }
    return SRLConfig(**(defaults | kwargs))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_models_have_their_published_number_of_parameters(name):
    estimate = estimate_memory(AutoConfig.from_pretrained(CONFIGS / name), srl_config(), model_args(dtype="bfloat16"))
    assert estimate.parameters == estimate.trained == PUBLISHED[name]
    assert estimate.weights == 2 * PUBLISHED[name]


# Peaks that PyTorch reserved on an H100 (torch 2.11, transformers 5.17, TRL 1.16) in a feasibility run, in GiB: QLoRA,
# r = 16 on all linear layers, 8 rollouts generated at once, 512 + 256 tokens, random weights.
@pytest.mark.parametrize(
    ("name", "rows", "measured"),
    [
        ("Qwen2.5-7B-Instruct", 1, {"load": 5.3, "generate": 6.7, "train": 6.7}),
        ("Qwen2.5-7B-Instruct", 8, {"load": 5.4, "generate": 6.3, "train": 8.9}),
        ("Qwen2.5-1.5B-Instruct", 1, {"generate": 1.7, "train": 1.7}),
    ],
)
def test_within_15_percent_of_measured_peaks(name, rows, measured, monkeypatch):
    # They were measured with adapters in bfloat16, as TRL has them.
    monkeypatch.setattr(memory, "ADAPTER_WIDTH", 2)
    estimate = estimate_memory(AutoConfig.from_pretrained(CONFIGS / name), srl_config(rows), model_args(**QLORA))
    for phase, gib in measured.items():
        assert getattr(estimate, phase) / GIB == pytest.approx(gib, rel=0.15), phase


def small(**kwargs):
    sizes = {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 1000,
        "tie_word_embeddings": False,
    }
    return Qwen2Config(**(sizes | kwargs))


def test_what_stays_by_hand():
    estimate = estimate_memory(small(), srl_config(rows=4), model_args(**QLORA))
    # Each layer: q and o 128 x 128, k and v 128 x 64, gate, up and down 128 x 256; biases 128 + 64 + 64; 2 norms.
    linear = 2 * (2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 256)
    other = 2 * 1000 * 128 + 2 * (128 + 2 * 64 + 2 * 128) + 128
    assert estimate.parameters == linear + other
    # NF4: half a byte; one byte for each 64, four for each 64 x 256 (rounded layer by layer: 14 roundings).
    assert estimate.weights == pytest.approx(linear * (1 / 2 + 1 / 64 + 4 / 64 / 256) + 2 * other, abs=14)
    adapters = 2 * 16 * (2 * (128 + 128) + 2 * (128 + 64) + 3 * (128 + 256))
    assert estimate.trained == adapters
    assert (estimate.adapters, estimate.gradients, estimate.optimizer) == (4 * adapters, 4 * adapters, 8 * adapters)
    # 8 completions of 768 tokens, 2 layers, keys and values, 2 heads of 32, two bytes
    assert estimate.kv_cache == 8 * 768 * 2 * 2 * 2 * 32 * 2
    # With checkpointing the input of each layer, for 4 rows.
    assert estimate.checkpoints == 4 * 768 * 2 * 128 * 2


def test_adapters_and_moments_by_precision():
    sizes = {}
    for name, settings, precision in (
        ("qlora", QLORA, {}),
        ("qlora, fp16", QLORA | {"dtype": "float16"}, {"fp16": True}),
        ("lora", {"dtype": "bfloat16", "use_peft": True}, {}),
        ("lora, 8 bit moments", {"dtype": "bfloat16", "use_peft": True}, {"optim": "adamw_8bit"}),
        ("full", {"dtype": "float32"}, {}),
        ("full, with a reference", {"dtype": "float32"}, {"beta": 0.1}),
    ):
        estimate = estimate_memory(small(), srl_config(**precision), model_args(**settings))
        sizes[name] = [
            round(size / estimate.trained, 2) for size in (estimate.adapters, estimate.gradients, estimate.optimizer)
        ]
        sizes[name].append(estimate.weights // estimate.parameters)
    assert sizes == {
        "qlora": [4, 4, 8, 1],
        "qlora, fp16": [4, 4, 8, 1],
        "lora": [4, 4, 8, 2],
        "lora, 8 bit moments": [4, 4, 2.03, 2],
        "full": [0, 4, 8, 4],
        "full, with a reference": [0, 4, 8, 8],
    }


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_autocast_copies_what_is_trained_in_float32(precision):
    """Counted on real layers: a forward pass holds all their weights again, in 16 bit, until autocast ends."""
    config = small(num_hidden_layers=6)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.gradient_checkpointing_enable()
    with Live() as live, torch.autocast("cpu", torch.bfloat16 if precision == "bf16" else torch.float16):
        model.model(input_ids=torch.zeros(1, 2, dtype=torch.long), use_cache=False)
        copies = live.now
    in_layers = sum(parameter.numel() for parameter in model.model.layers.parameters())
    assert copies == pytest.approx(2 * in_layers, rel=0.05)
    settings = {"bf16": False, precision: True}
    assert (
        estimate_memory(config, srl_config(**settings), model_args(dtype="float32")).cast == 2 * model.num_parameters()
    )
    lora = model_args(dtype="float32", use_peft=True)  # trains few, and those beneath it are not kept
    assert estimate_memory(config, srl_config(**settings), lora).cast == 0
    assert estimate_memory(config, srl_config(bf16=False), model_args(dtype="float32")).cast == 0


def test_chunks_of_the_prompt_save_activations_and_checkpoints_too():
    whole = estimate_memory(small(), srl_config(), model_args(**QLORA))
    chunked = estimate_memory(small(), srl_config(generation_kwargs={"prefill_chunk_size": 128}), model_args(**QLORA))
    unpacked = 2 * 128 * 256  # one weight, in 16 bit
    assert (whole.prompts - unpacked) == 4 * (chunked.prompts - unpacked)
    kept = estimate_memory(small(), srl_config(gradient_checkpointing=False), model_args(**QLORA))
    assert kept.checkpoints == 8 * 768 * 2 * (8 * 256 + 8 * 128 + 12 * 128)


def test_what_fits():
    seven = estimate_memory(
        AutoConfig.from_pretrained(CONFIGS / "Qwen2.5-7B-Instruct"), srl_config(), model_args(**QLORA)
    )
    assert seven.peak == seven.train + GIB // 2
    assert (seven.peak - seven.context) < 10e9  # what PyTorch reserves
    assert seven.card == 12
    assert not seven.fits(10)
    full = estimate_memory(
        AutoConfig.from_pretrained(CONFIGS / "Qwen2.5-7B-Instruct"), srl_config(), model_args(dtype="float32")
    )
    assert full.card is None


@pytest.mark.parametrize(
    ("config", "args", "settings", "message"),
    [
        ({"num_experts": 8}, {}, QLORA, "only dense decoders"),
        ({"layer_types": ["full_attention", "linear_attention"]}, {}, QLORA, "only dense decoders"),
        ({"is_encoder_decoder": True}, {}, QLORA, "only dense decoders"),
        ({"quantization_config": {"load_in_4bit": True}}, {}, QLORA, "quantised already"),
        ({}, {"max_prompt_length": None}, QLORA, "Set max_prompt_length"),
        ({}, {"max_prompt_length": -512}, QLORA, "must both be 1 or more"),
        ({}, {"use_transformers_continuous_batching": True}, QLORA, "Only generation by Transformers' `generate`"),
        ({}, {}, QLORA | {"use_peft": False}, "add --use_peft"),
        ({}, {"optim": "adafactor"}, QLORA, "optim='adafactor' are not known"),
    ],
)
def test_what_is_not_known_is_an_error(config, args, settings, message):
    changed = small()
    for name, value in config.items():
        setattr(changed, name, value)
    with pytest.raises(ValueError, match=message):
        estimate_memory(changed, srl_config(**args), model_args(**settings))


class Live(TorchDispatchMode):
    """The bytes of all tensors that live, and their peak."""

    def __init__(self):
        super().__init__()
        self.now, self.peak, self.storages = 0, 0, {}

    def add(self, tensor):
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.storages:
            self.storages[key] = weakref.ref(storage, lambda _: self.remove(key, size))
            self.now += size
            self.peak = max(self.peak, self.now)

    def remove(self, key, size):
        self.now -= size
        del self.storages[key]

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, torch.Tensor):
                self.add(leaf)
        return output


def count(model, rows, length):
    """Peaks of a forward and backward pass, and of a forward pass without gradients that fills the KV cache."""
    backbone = model.get_base_model().model if hasattr(model, "peft_config") else model.model
    inputs = {"input_ids": torch.zeros(rows, length, dtype=torch.long)}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["attention_mask"][:, 0] = 0
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    with Live() as train:
        with torch.autocast("cpu", torch.bfloat16):
            hidden = backbone(**inputs, use_cache=False).last_hidden_state
        hidden.sum().backward()
    with Live() as generate, torch.no_grad():
        backbone(**inputs, use_cache=True)
    return train.peak, generate.peak


@pytest.mark.parametrize(
    ("config_class", "adapter_width", "quantised"),
    [(Qwen2Config, 2, True), (Qwen3Config, 2, True), (LlamaConfig, 4, False), (Qwen2Config, None, False)],
)
def test_activations_counted_on_real_layers(config_class, adapter_width, quantised, tmp_path):
    """Each layer's operations are run on a CPU, where they make the tensors they make on a GPU."""
    from peft import LoraConfig, get_peft_model

    config = config_class(
        hidden_size=512,
        intermediate_size=2048,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=64,
        vocab_size=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(tmp_path)
    quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype="bfloat16")
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.bfloat16, quantization_config=quantization if quantised else None
    )
    if adapter_width is not None:
        model = get_peft_model(model, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"))
        for parameter in model.parameters():
            if parameter.requires_grad and adapter_width == 2:
                parameter.data = parameter.data.to(torch.bfloat16)  # as TRL does with quantised models
        model.enable_input_require_grads()
    model.gradient_checkpointing_enable()
    model.train()
    few, many = count(model, rows=12, length=32), count(model, rows=20, length=32)
    train, generate = ((b - a) / (8 * 32) for a, b in zip(few, many, strict=True))  # bytes for each token
    known, widths = ACTIVATIONS[adapter_width, 2], Widths(2048, 512, 512)
    if config_class is Qwen3Config:
        known = known._replace(train=known.train._replace(heads=known.train.heads + NORMED_HEADS))
    expected = [sum(a * b for a, b in zip(known_, widths, strict=True)) for known_ in (known.train, known.generate)]
    assert train == pytest.approx(expected[0] + 2 * 2 * 512, rel=0.1)  # the input of two layers
    assert generate == pytest.approx(expected[1] + 2 * 2 * 2 * 2 * 64, rel=0.1)  # keys and values of two layers
