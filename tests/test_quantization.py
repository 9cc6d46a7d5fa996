"""QLoRA on a CPU: only the adapter moves, it goes on where it was, and an evaluation changes no gradient."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from trl_srl import DynamicSamplingConfig, SRLTrainer
from trl_srl.weights.quantization import (
    check_model_arguments,
    check_one_gpu,
    keep_adapters_in_fp32,
    keep_differentiable_on_cpu,
)


bitsandbytes = pytest.importorskip("bitsandbytes")
AVX512_BF16 = bool(bitsandbytes.functional.has_avx512bf16())
IDS = torch.arange(20, 60)[None]


def lora(**settings):
    return LoraConfig(**({"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | settings))


def layers(model):
    return [module for module in model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]


def adapter_gradient(model):
    model.train()
    model.zero_grad()
    model(input_ids=IDS, labels=IDS).loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])


def evaluate(model):
    model.eval()
    with torch.no_grad():
        model(input_ids=IDS)


def cosine(a, b):
    return torch.cosine_similarity(a, b, dim=0).item()


@pytest.fixture(params=["qwen2", "llama"])  # with and without biases
def qlora_model(request, tmp_path, qlora_base, nf4):
    """A 4-bit model with an adapter that is not zero, on a processor that is said to have AVX512_BF16."""
    base = qlora_base
    if request.param == "llama":
        torch.manual_seed(0)
        shape = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2)
        LlamaForCausalLM(LlamaConfig(vocab_size=261, **shape)).save_pretrained(tmp_path / "llama")
        base = str(tmp_path / "llama")
    torch.manual_seed(0)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, quantization_config=nf4), lora(lora_dropout=0.0))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    for layer in layers(model):
        layer.support_avx512bf16_for_cpu = True  # what bitsandbytes sets there; so this means something everywhere
    assert len(layers(model)) == 14
    return model


def test_an_evaluation_does_not_change_the_gradients(qlora_model):
    before = adapter_gradient(qlora_model)
    assert keep_differentiable_on_cpu(qlora_model) == 14
    evaluate(qlora_model)
    assert cosine(adapter_gradient(qlora_model), before) > 0.999999


def test_layers_that_were_packed_before_are_unpacked(qlora_model, caplog):
    before = adapter_gradient(qlora_model)
    evaluate(qlora_model)
    with caplog.at_level(logging.WARNING):
        keep_differentiable_on_cpu(qlora_model)
    assert "14 4-bit layers were packed for inference" in caplog.text
    assert cosine(adapter_gradient(qlora_model), before) > 0.999  # scales were rounded to bfloat16
    evaluate(qlora_model)
    assert cosine(adapter_gradient(qlora_model), before) > 0.999


@pytest.mark.skipif(not AVX512_BF16, reason="bitsandbytes has its packed kernel on processors with AVX512_BF16 only")
def test_bitsandbytes_still_needs_that(qlora_model):
    """When this fails, bitsandbytes has mended it and keep_differentiable_on_cpu can go."""
    before = adapter_gradient(qlora_model)
    evaluate(qlora_model)
    try:
        assert cosine(adapter_gradient(qlora_model), before) < 0.9
    except RuntimeError as error:
        assert "leaf Variable" in str(error)


def test_only_the_adapter_of_a_4_bit_model_moves_and_it_goes_on(qlora_base, nf4, expert_trajectories, srl_args):
    settings = dict(eval_on_start=True, eval_strategy="steps", eval_steps=1, learning_rate=1e-2)
    data = (expert_trajectories, expert_trajectories.select(range(2)))
    trainer = SRLTrainer(
        qlora_base, srl_args(**settings), *data, quantization_config=nf4, peft_config=lora(modules_to_save=["norm"])
    )
    assert trainer.model.is_loaded_in_4bit
    assert layers(trainer.model)[0].weight.quant_state.nested  # double quantisation
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    gradient = adapter_gradient(trainer.model)
    trainer.evaluate()
    assert cosine(adapter_gradient(trainer.model), gradient) > 0.999999
    trainer.train()
    for name, parameter in trainer.model.named_parameters():
        trained = "lora_" in name or "modules_to_save" in name
        assert torch.equal(before[name], parameter) != trained, name
    assert len([entry for entry in trainer.state.log_history if "eval_reward" in entry]) == 3
    trainer.save_model()

    more = SRLTrainer(Path(trainer.args.output_dir), srl_args(**settings), *data, quantization_config=nf4)
    assert more.processing_class.chat_template == AutoTokenizer.from_pretrained(qlora_base).chat_template
    for (name, one), (same, two) in zip(trainer.model.named_parameters(), more.model.named_parameters(), strict=True):
        assert name == same and torch.equal(one, two) and one.requires_grad == two.requires_grad, name
    more.train()
    moved = [
        name for name, p in more.model.named_parameters() if not torch.equal(p, trainer.model.get_parameter(name))
    ]
    assert moved and all("lora_" in name or "modules_to_save" in name for name in moved)


@pytest.mark.parametrize("bf16", [True, False])
def test_adapters_are_kept_in_fp32(bf16, qlora_base, nf4, expert_trajectories, srl_args):
    """TRL casts them to bfloat16 whatever `bf16` says."""
    trainer = SRLTrainer(
        qlora_base, srl_args(bf16=bf16), expert_trajectories, quantization_config=nf4, peft_config=lora()
    )
    adapter = {name: p for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert {p.dtype for p in adapter.values()} == {torch.float32}
    # What an earlier run has learned is not what the cast has made of it.
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight"
    exact = torch.full_like(adapter[name], 0.1)
    trainer.model.bfloat16()
    assert keep_adapters_in_fp32(trainer.model, {name: exact}) == 28
    assert torch.equal(trainer.model.get_parameter(name), exact)


@pytest.mark.parametrize("quantised", [True, False])
def test_a_module_that_is_trained_whole_keeps_the_precision_of_the_model(
    quantised, qlora_base, nf4, expert_trajectories, srl_args
):
    """In float32 it would not fit the 16-bit layers beside it when completions are generated, without autocast."""
    args = srl_args(bf16=True, max_steps=1, model_init_kwargs={"dtype": "bfloat16"})
    trainer = SRLTrainer(
        qlora_base,
        args,
        expert_trajectories,
        quantization_config=nf4 if quantised else None,
        peft_config=lora(modules_to_save=["norm"]),
    )
    trained = {("lora_" in name, p.dtype) for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert trained == {(True, torch.float32), (False, torch.bfloat16)}
    trainer.train()
    assert trainer.state.global_step == 1


def test_small_updates_reach_an_adapter_under_bf16(qlora_base, nf4, expert_trajectories, srl_args):
    """A step of 1e-5 on weights of about 0.1: in bfloat16, whose steps there are 5e-4, nothing would move."""
    args = srl_args(bf16=True, learning_rate=1e-5, max_steps=1)
    trainer = SRLTrainer(qlora_base, args, expert_trajectories, quantization_config=nf4, peft_config=lora())
    for name, parameter in trainer.model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(std=0.1)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters() if p.requires_grad}
    trainer.train()
    moved = torch.cat([(trainer.model.get_parameter(name) != p).flatten() for name, p in before.items()])
    assert moved.float().mean() > 0.9
    rounded = [trainer.model.get_parameter(name).bfloat16() != p.bfloat16() for name, p in before.items()]
    assert torch.cat([change.flatten() for change in rounded]).float().mean() < 0.1


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    return request.param


def test_fp16_trains_adapters_in_fp32(device, qlora_base, nf4, expert_trajectories, srl_args, monkeypatch):
    """As on a T4, with autocast and the gradient scaler, which refuses 16 bit."""
    settings = dict(fp16=True, bf16=False, use_cpu=device == "cpu", learning_rate=1e-2)
    args = srl_args(model_init_kwargs={"dtype": "float16"}, **settings)
    trainer = SRLTrainer(qlora_base, args, expert_trajectories, quantization_config=nf4, peft_config=lora())
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert {p.dtype for p in before.values()} == {torch.float32}
    assert trainer.accelerator.mixed_precision == "fp16"
    if device == "cpu":
        # PyTorch has both for a CPU too, but accelerate does not use them there, and PEFT asks for CUDA's autocast.
        trainer.accelerator.native_amp, trainer.accelerator.scaler = True, torch.amp.GradScaler("cpu")
        is_enabled = torch.is_autocast_enabled
        monkeypatch.setattr(torch, "is_autocast_enabled", lambda device="cpu": is_enabled(device))
    trainer.train()
    assert trainer.accelerator.scaler.get_scale() == 2.0**16  # no step was left out for an overflow
    assert any(not torch.equal(p, trainer.model.get_parameter(name)) for name, p in before.items())
    assert {p.dtype for p in trainer.model.parameters() if p.requires_grad} == {torch.float32}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("peft_config", [None, lora(modules_to_save=["lm_head"])])
def test_fp16_does_not_train_weights_in_16_bit(peft_config, dtype, qlora_base, expert_trajectories, srl_args):
    args = srl_args(model_init_kwargs={"dtype": dtype}, fp16=True, bf16=False)
    with pytest.raises(ValueError, match=rf"in 16 bit, such as .*weight in {dtype}. Load the model in float32"):
        SRLTrainer(qlora_base, args, expert_trajectories, peft_config=peft_config)
    args.model_init_kwargs = {"dtype": "float32"}
    SRLTrainer(qlora_base, args, expert_trajectories, peft_config=peft_config)


def test_one_process_is_not_given_several_gpus(qlora_base, monkeypatch):
    """Kaggle's two T4, over which TRL would spread the layers."""
    alone = SimpleNamespace(distributed_type="NO")
    args = SimpleNamespace(**(vars(ARGS) | {"distributed_state": alone, "device": torch.device("cuda")}))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"^2 GPUs .*CUDA_VISIBLE_DEVICES=0 .*accelerate launch --num_processes 2"):
        check_model_arguments(qlora_base, args)
    alone.distributed_type = "MULTI_GPU"
    check_one_gpu(args)
    alone.distributed_type, args.device = "NO", torch.device("cpu")
    check_one_gpu(args)


ALONE = SimpleNamespace(distributed_type="NO")
ARGS = SimpleNamespace(
    model_init_kwargs=None,
    trust_remote_code=False,
    use_vllm=False,
    bf16=False,
    fp16=False,
    distributed_state=ALONE,
    device=torch.device("cpu"),
)
VLLM = SimpleNamespace(**(vars(ARGS) | {"use_vllm": True}))


@pytest.mark.parametrize(
    ("args", "quantized", "peft_config", "message"),
    [
        (ARGS, True, None, r"loaded in 4 bit without an adapter.*--use_peft true"),
        (VLLM, True, lora(), r"use_vllm=True with a model in 4 bit.*Set use_vllm=False"),
        (ARGS, False, lora(target_modules=["q_proj", "lm_head"]), r"would never be trained. Take 'lm_head' out"),
        (ARGS, False, lora(target_modules="lm_head"), r"would never be trained. Take 'lm_head' out"),
        (ARGS, False, lora(target_modules=r".*(q_proj|lm_head)"), r"would never be trained. Take 'lm_head' out"),
        (ARGS, False, lora(target_parameters=["lm_head.weight"]), r"would never be trained. Take 'lm_head' out"),
        (VLLM, False, lora(target_modules=r".*embed_tokens"), r"changes `model.embed_tokens` of a model whose input"),
        (VLLM, False, lora(modules_to_save=["lm_head"]), r"changes `lm_head` of a model whose input and output"),
        (VLLM, False, lora(target_modules=["embed_tokens"]), r"changes `model.embed_tokens` of a model whose input"),
    ],
)
def test_what_cannot_work_is_refused_before_the_weights_are_read(
    tmp_path, qlora_base, nf4, args, quantized, peft_config, message
):
    """The folder has a configuration and no weights, so nothing can have been loaded."""
    AutoModelForCausalLM.from_pretrained(qlora_base).config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        check_model_arguments(str(tmp_path), args, nf4 if quantized else None, peft_config)


def test_4_bit_layers_that_compute_in_float32_are_said(qlora_base, nf4, caplog):
    """As they do by TRL's default `dtype`."""
    check_model_arguments(qlora_base, ARGS, nf4, lora())
    assert not caplog.messages
    check_model_arguments(qlora_base, SimpleNamespace(**(vars(ARGS) | {"fp16": True})), nf4, lora())
    assert "although training is in 16 bit: write --dtype float16" in caplog.text


def test_what_works_is_not_refused(qlora_base, nf4):
    for args, quantization_config, peft_config in (
        (ARGS, None, None),
        (ARGS, nf4, lora()),
        (VLLM, None, lora()),
        (ARGS, None, lora(modules_to_save=["lm_head"])),
        (VLLM, None, lora(target_modules=r".*\.(q|v)_proj")),
    ):
        check_model_arguments(qlora_base, args, quantization_config, peft_config)


def test_refusals_look_at_checkpoints_and_models_that_are_quantised_already(tmp_path, qlora_base, nf4):
    model = AutoModelForCausalLM.from_pretrained(qlora_base, quantization_config=nf4)
    model.save_pretrained(tmp_path)
    for quantised in (model, str(tmp_path)):
        with pytest.raises(ValueError, match="4 bit without an adapter"):
            check_model_arguments(quantised, ARGS)
    check_model_arguments(get_peft_model(model, lora()), ARGS)


def test_the_trainer_refuses_too(qlora_base, nf4, expert_trajectories, srl_args, make_model, tokenizer):
    with pytest.raises(ValueError, match="4 bit without an adapter"):
        SRLTrainer(qlora_base, srl_args(), expert_trajectories, quantization_config=nf4)
    adapted = get_peft_model(make_model(), lora())
    assert isinstance(adapted, PeftModel)
    with pytest.raises(ValueError, match=r"has an adapter already.*trl_srl.merge_adapter"):
        SRLTrainer(adapted, srl_args(), expert_trajectories, processing_class=tokenizer, peft_config=lora())


def test_dynamic_sampling_trainer_takes_an_adapter_by_its_path(tmp_path, qlora_base, make_model, tokenizer):
    from trl_srl import DynamicSamplingTrainer

    get_peft_model(AutoModelForCausalLM.from_pretrained(qlora_base), lora()).save_pretrained(tmp_path / "adapter")
    args = DynamicSamplingConfig(str(tmp_path), use_cpu=True, bf16=False, model_init_kwargs={"dtype": "float32"})
    rows = Dataset.from_list([{"prompt": [{"role": "user", "content": "1+1"}]}] * 8)

    def make_trainer(train_dataset):
        return DynamicSamplingTrainer(
            str(tmp_path / "adapter"),
            lambda completions, **_: [0.0] * len(completions),
            args,
            train_dataset=train_dataset,
        )

    with pytest.raises(ValueError, match="`train_dataset` is required"):
        make_trainer(None)
    assert args.model_init_kwargs == {"dtype": "float32"}  # to be used again
    trainer = make_trainer(rows)
    assert isinstance(trainer.model, PeftModel)
    assert args.model_init_kwargs == {"dtype": "float32"}
    assert any(parameter.requires_grad for parameter in trainer.model.parameters())
