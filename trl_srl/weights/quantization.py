"""QLoRA goes through TRL's own arguments (`quantization_config`, `peft_config`). What is left to do is here: refuse
what cannot work before anything large is loaded, and mend two things that would break the training.
"""

import logging
import re
from collections.abc import Iterable
from typing import Any

import torch
from accelerate.utils import DistributedType, is_peft_model
from transformers import AutoConfig, PretrainedConfig
from transformers.utils import is_bitsandbytes_available
from trl import GRPOConfig

from .adapter_loading import find_base, read_adapter


logger = logging.getLogger(__name__)

HEAD, EMBEDDINGS = "lm_head", "model.embed_tokens"


def _model_config(model: Any, args: GRPOConfig, revision: str | None) -> tuple[PretrainedConfig, Any]:
    """The configuration of a model (a path, an id or a loaded one), and of the adapter that it brings, or None."""
    if not isinstance(model, str):
        return model.config, next(iter(model.peft_config.values())) if is_peft_model(model) else None
    adapter = read_adapter(model, revision)
    if adapter is not None:
        return find_base(model, adapter)[1], adapter
    return AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=args.trust_remote_code), None


def _bitsandbytes_settings(config: PretrainedConfig, quantization_config: Any) -> dict[str, Any]:
    """How bitsandbytes is to hold the weights, on loading or in the checkpoint already; empty if it does not."""
    settings = quantization_config or getattr(config, "quantization_config", None) or {}
    if not isinstance(settings, dict):
        settings = settings.to_dict()
    return settings if settings.get("quant_method") == "bitsandbytes" else {}


def describe_quantization(config: PretrainedConfig) -> str | None:
    """How bitsandbytes holds the weights of a model with this configuration, in words; None if it does not."""
    settings = getattr(config, "quantization_config", None)
    if settings is None:
        return None
    values = settings if isinstance(settings, dict) else settings.to_dict()
    shown = ("load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type", "bnb_4bit_use_double_quant")
    return ", ".join(f"{name}={values[name]}" for name in shown if values.get(name))


def _is_listed(place: str, names: Iterable[str]) -> bool:
    return place.rpartition(".")[2] in {name.rpartition(".")[2] for name in names}


def _is_target(place: str, adapter: Any) -> bool:
    """Whether an adapter's configuration (or None) puts an adapter on the module at a place, as PEFT reads it."""
    targets = getattr(adapter, "target_modules", None) or []
    weights = getattr(adapter, "target_parameters", None) or []
    if _is_listed(place, (weight.rpartition(".")[0] for weight in weights)):
        return True
    if isinstance(targets, str):  # a pattern; also "all-linear", which leaves out the head
        return re.fullmatch(targets, place) is not None
    return _is_listed(place, targets)


def check_model_arguments(
    model: Any, args: GRPOConfig, quantization_config: Any = None, peft_config: Any = None
) -> None:
    """
    Refuse what TRL cannot train, before a large model is loaded.

    Args:
        model (`str` or [`~transformers.PreTrainedModel`] or `PeftModel`):
            The model of the trainer.
        args ([`~trl.GRPOConfig`]):
            Its arguments.
        quantization_config, peft_config (*optional*):
            As given to the trainer.

    Raises:
        `ValueError`: that says what to write instead.
    """
    init_kwargs = args.model_init_kwargs if isinstance(args.model_init_kwargs, dict) else {}
    if isinstance(model, str) and "device_map" not in init_kwargs:
        check_one_gpu(args)
    config, brought = _model_config(model, args, init_kwargs.get("revision"))
    quantised = _bitsandbytes_settings(config, quantization_config or init_kwargs.get("quantization_config"))
    bits = (4 if quantised.get("load_in_4bit") or quantised.get("_load_in_4bit") else 8) if quantised else None
    name = model if isinstance(model, str) else "The model"
    if brought is not None and peft_config is not None:
        raise ValueError(
            f"{name} has an adapter already, and `peft_config` (--use_peft) asks for a new one. To train that adapter "
            "further leave `peft_config` out; for a new one on top merge the first: trl_srl.merge_adapter, or "
            "`trl-srl merge`."
        )
    adapter = brought if brought is not None else peft_config
    if bits and adapter is None:
        raise ValueError(
            f"{name} is loaded in {bits} bit without an adapter, and quantised weights cannot be trained. Pass "
            "`peft_config=LoraConfig(…)` (on the command line --use_peft true), or do not quantise."
        )
    if bits == 4 and (args.bf16 or args.fp16) and quantised.get("bnb_4bit_compute_dtype") == "float32":
        logger.warning(
            "The 4-bit layers compute in float32, which is slow on a GPU, although training is in 16 bit: write "
            f"--dtype {'bfloat16' if args.bf16 else 'float16'} (bnb_4bit_compute_dtype in Python)."
        )
    if bits and args.use_vllm:
        # TRL pushes the packed weights of bitsandbytes, without the state that says how to unpack them:
        # https://github.com/huggingface/trl/issues/4973. To be removed when
        # https://github.com/huggingface/trl/pull/6922 is in the oldest TRL that we support.
        raise ValueError(
            f"use_vllm=True with a model in {bits} bit: TRL sends vLLM weights that are packed, whose shapes vLLM "
            "refuses. Set use_vllm=False, so that transformers generates, or train the adapter on the model in 16 bit "
            "(--load_in_4bit false --dtype bfloat16)."
        )
    if _is_target(HEAD, adapter):
        raise ValueError(
            f"The adapter is to change `{HEAD}`, but TRL reads the log-probabilities from `{HEAD}.weight` past the "
            f"adapter, so that it would never be trained. Take '{HEAD}' out of `target_modules` "
            "(--lora_target_modules); 'all-linear' leaves it out by itself."
        )
    whole = getattr(adapter, "modules_to_save", None) or []
    embedded = [place for place in (HEAD, EMBEDDINGS) if _is_target(place, adapter) or _is_listed(place, whole)]
    if embedded and args.use_vllm and config.get_text_config().tie_word_embeddings:
        # A model with tied embeddings has one matrix in vLLM and, once one side is trained, two here.
        raise ValueError(
            f"The adapter changes `{embedded[0]}` of a model whose input and output embeddings are one matrix. "
            "vLLM keeps them one, so it would sample from another model than the one that is trained. Leave it out of "
            "`target_modules` and `modules_to_save`, or set use_vllm=False."
        )


def check_one_gpu(args: GRPOConfig) -> None:
    """
    Refuse to spread a model over several GPUs in one process, as TRL's `device_map="auto"` does by itself.

    Its layers would work one after another, and its head on another GPU than the advantages that the loss needs.

    Raises:
        `ValueError`: that says how to start on one GPU, or on all.
    """
    alone = args.distributed_state.distributed_type == DistributedType.NO
    if alone and args.device.type == "cuda" and (count := torch.cuda.device_count()) > 1:
        raise ValueError(
            f"{count} GPUs are visible to one process, which would spread the model over them, layer by layer. Start "
            "on one of them with CUDA_VISIBLE_DEVICES=0 (in a notebook, set it before PyTorch is imported), or with a "
            f"process for each: accelerate launch --num_processes {count} -m trl_srl.cli.train …"
        )


def check_trained_in_fp32(model: torch.nn.Module) -> None:
    """
    Refuse to train 16-bit weights under `fp16=True`: the gradient scaler would stop at the end of the first step
    (https://github.com/huggingface/trl/issues/4901).

    Args:
        model ([`~torch.nn.Module`]):
            The model as it is about to be trained.

    Raises:
        `ValueError`: that names one of the weights and says what to write instead.
    """
    short = [(name, p.dtype) for name, p in model.named_parameters() if p.requires_grad and p.dtype.itemsize == 2]
    if short:
        name, dtype = short[0]
        raise ValueError(
            f"fp16=True trains weights in float32, but {len(short)} of those to be trained are in 16 bit, such as "
            f"{name} in {str(dtype).removeprefix('torch.')}. Load the model in float32 (--dtype float32), or train an "
            "adapter (`peft_config`, --use_peft) without `modules_to_save`: the weights beneath it may stay in 16 bit."
        )


def keep_differentiable_on_cpu(model: torch.nn.Module) -> int:
    """
    Keep 4-bit layers differentiable on a CPU with AVX512_BF16; elsewhere nothing changes.

    There bitsandbytes repacks the weights of a `Linear4bit` for good in the first forward pass in evaluation mode. Its
    kernel for packed weights has no backward pass: training after an evaluation then fails, for layers with a bias, or
    goes on with wrong gradients.

    Args:
        model ([`~torch.nn.Module`]):
            The model. Layers that an earlier evaluation has packed are unpacked, but for a rounding of their scales
            to bfloat16 that cannot be undone; a warning says so.

    Returns:
        `int`: number of 4-bit layers.
    """
    if not is_bitsandbytes_available():
        return 0
    import bitsandbytes

    # The kernel came with https://github.com/bitsandbytes-foundation/bitsandbytes/pull/1804; nobody seems to have
    # reported this consequence (but see issue 2078 there). To be removed when test_quantization.py says that a layer
    # which was evaluated gives right gradients by itself.
    layers = [module for module in model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
    packed = 0
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
        if getattr(getattr(layer.weight, "quant_state", None), "packing_format_for_cpu", False):
            packed += 1
            layer.state_dict()  # unpacks the weights in place
    if packed:
        logger.warning(
            f"{packed} 4-bit layers were packed for inference by a forward pass before the trainer was made. They are "
            "unpacked again, with scales rounded to bfloat16. Make the trainer before you evaluate, or load the model "
            "anew."
        )
    return len(layers)


def trainable_weights(model: Any) -> dict[str, torch.Tensor]:
    """Copies of the weights that a `PeftModel` trains, by name; nothing for other models."""
    if not isinstance(model, torch.nn.Module) or not is_peft_model(model):
        return {}
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def keep_adapters_in_fp32(model: Any, trained: dict[str, torch.Tensor]) -> int:
    """
    Undo TRL's cast of the adapters on a quantised model to bfloat16; other models are left alone.

    TRL follows the QLoRA paper there, whatever `bf16` says. With `fp16=True` the gradient scaler cannot unscale
    bfloat16 gradients (https://github.com/huggingface/trl/issues/4901), so that a T4 could not train at all. With
    bf16 it can, but a bfloat16 weight has 8 bits: at the learning rates of GRPO most updates are smaller than half of
    the last one, and are rounded away. Products are still made in 16 bit, by autocast. To be removed when TRL keeps
    them in float32.

    A module that is trained as a whole (`modules_to_save`) gets the precision of the one it stands for: what comes
    before and after it computes in that one, and generation knows no autocast.

    Args:
        model ([`~transformers.PreTrainedModel`] or `PeftModel`):
            The model as TRL has made it.
        trained (`dict[str, torch.Tensor]`):
            What [`trainable_weights`] gave before, for an adapter that was trained already: the cast has rounded it.

    Returns:
        `int`: number of parameters (tensors) that were cast.
    """
    if not (getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False)):
        return 0
    cast = 0
    for name, parameter in model.named_parameters():
        whole_module, found, weight = name.partition("modules_to_save.")
        dtype = torch.float32
        if found:
            dtype = model.get_parameter(f"{whole_module}original_module.{weight.partition('.')[2]}").dtype
        if parameter.requires_grad and parameter.dtype != dtype:
            parameter.data = trained.get(name, parameter.data).to(parameter.device, dtype)
            cast += 1
    return cast
