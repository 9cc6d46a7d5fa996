"""How much memory a run needs on one GPU, reckoned from the model's config: no weights are loaded.

Parameters are counted on the meta device, adapters by PEFT itself. What remains are activations, at their largest
point; docs/hardware.md has the formulas and where each number comes from.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from accelerate import init_empty_weights
from transformers import AutoModelForCausalLM, PretrainedConfig
from trl import GRPOConfig, ModelConfig, get_peft_config


GIB = 2**30
CARDS = (4, 6, 8, 10, 12, 16, 24, 32, 40, 48, 80)  # what is sold, in GB as their makers count
USABLE = 0.92  # of a card: a T4 of 16 GB with error correction leaves 14.7 GiB
CONTEXT = GIB // 2  # CUDA context, cuBLAS workspaces
ADAPTER_WIDTH = 4  # bytes: our trainers keep adapters in float32, see weights/quantization.py
ALLOCATOR = 1.05  # what PyTorch's caching allocator reserves beyond what is allocated
NF4_BLOCK, NESTED_BLOCK = 64, 256  # weights per scale, and scales per scale of double quantisation (bitsandbytes)
NORMED_HEADS = 8  # more for each token and width of all heads, where queries and keys are normalised
LOGITS_TILE = (4096, 32768)  # tokens x vocabulary that TRL's fused head holds at once


class Widths(NamedTuple):
    """Bytes for each token, by width: of the MLP, of all attention heads, and of the residual stream."""

    mlp: int
    heads: int
    hidden: int


class Activations(NamedTuple):
    """
    Activations at their largest point.

    Attributes:
        generate (`Widths`): Of the prompts' forward pass in generation, without the KV cache.
        train (`Widths`): Of one layer's backward pass, which recomputes its forward pass.
        kept (`Widths`): Of one layer that is kept for the backward pass, without gradient checkpointing.
    """

    generate: Widths
    train: Widths
    kept: Widths


# By the bytes of an adapter's weight (None: no adapters) and of a weight of the model. Counted on the real layers of
# Qwen2, Qwen3 and Llama with and without bitsandbytes; tests/test_memory.py counts again.
ACTIVATIONS: dict[tuple[int | None, int], Activations] = {
    (2, 2): Activations(Widths(8, 0, 8), Widths(12, 8, 6), Widths(8, 8, 12)),
    (4, 2): Activations(Widths(12, 0, 12), Widths(14, 10, 30), Widths(8, 10, 18)),
    (4, 4): Activations(Widths(16, 0, 16), Widths(14, 10, 32), Widths(8, 10, 18)),
    (None, 2): Activations(Widths(6, 0, 8), Widths(12, 8, 15), Widths(8, 8, 16)),
    (None, 4): Activations(Widths(12, 0, 16), Widths(10, 8, 32), Widths(8, 8, 26)),
}


@dataclass(frozen=True)
class MemoryEstimate:
    """
    What a run needs on one GPU, in bytes. Made by [`estimate_memory`].

    Attributes:
        parameters (`int`): Number of the model's parameters, shared ones once.
        trained (`int`): Number of parameters that are trained.
        weights, adapters, gradients, optimizer (`int`): What stays, or comes back at every step.
        cast (`int`): Autocast's copies in 16 bit of weights that are trained in float32, in every forward pass.
        kv_cache (`int`): Keys and values of all completions that are generated at once, at full length.
        prompts (`int`): Activations of the prompts' forward pass.
        sampling (`int`): Logits and probabilities of one token of every completion.
        checkpoints (`int`): What the forward pass keeps for the backward pass.
        layer (`int`): Activations of the layer that is in its backward pass.
        logits (`int`): What TRL's fused head holds of the logits, forward or backward.
        context (`int`): CUDA context, not seen by PyTorch's allocator.
    """

    parameters: int
    trained: int
    weights: int
    adapters: int
    gradients: int
    optimizer: int
    cast: int
    kv_cache: int
    prompts: int
    sampling: int
    checkpoints: int
    layer: int
    logits: int
    context: int = CONTEXT

    @property
    def load(self) -> int:
        """Peak that PyTorch reserves while the model is loaded."""
        return round(ALLOCATOR * self.weights)

    @property
    def generate(self) -> int:
        """Peak that PyTorch reserves while completions are generated, from the second step on."""
        state = self.weights + self.adapters + self.optimizer + self.cast
        return round(ALLOCATOR * (state + self.kv_cache + max(self.prompts, self.sampling)))

    @property
    def train(self) -> int:
        """Peak that PyTorch reserves until the end of a step; its allocator gives back nothing after generation."""
        state = self.weights + self.adapters + self.gradients + self.optimizer + self.cast
        return max(self.generate, round(ALLOCATOR * (state + self.checkpoints + max(self.layer, self.logits))))

    @property
    def peak(self) -> int:
        """What the whole process takes, with the CUDA context."""
        return self.train + self.context

    @property
    def card(self) -> int | None:
        """The smallest size of card, in GB, that this fits; None if there is none."""
        return next((size for size in CARDS if self.fits(size)), None)

    def fits(self, card: float) -> bool:
        """Whether this fits a card of `card` GB, of which 92 % can be used."""
        return self.peak <= USABLE * card * GIB


def estimate_memory(config: PretrainedConfig, args: GRPOConfig, model_args: ModelConfig) -> MemoryEstimate:
    """
    How much memory a training run needs on each GPU, estimated from the model's config. Nothing is loaded.

    It knows dense decoders (Qwen2, Qwen3, Llama and their like) in 16 or 32 bit or quantised by bitsandbytes, with or
    without LoRA, AdamW, generation by Transformers, and attention that does not hold its scores (SDPA, flash).

    Args:
        config ([`~transformers.PretrainedConfig`]):
            The model's config.
        args ([`~trl.GRPOConfig`]):
            As for training: batch, lengths, precision, optimizer. `args.max_prompt_length` is needed.
        model_args ([`~trl.ModelConfig`]):
            As for training: `dtype`, quantisation, adapters.

    Returns:
        [`MemoryEstimate`].

    Example:

    ```python
    >>> from transformers import Qwen2Config
    >>> from trl import ModelConfig
    >>> from trl_srl import SRLConfig
    >>> from trl_srl.memory import estimate_memory

    >>> config = Qwen2Config(hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
    ...                      num_key_value_heads=2, vocab_size=151936, tie_word_embeddings=True)  # Qwen2.5-0.5B
    >>> args = SRLConfig(use_cpu=True, max_prompt_length=512, max_completion_length=256)
    >>> model_args = ModelConfig(dtype="bfloat16", use_peft=True, lora_target_modules=["all-linear"])
    >>> estimate = estimate_memory(config, args, model_args)
    >>> f"{estimate.parameters:,}", f"{estimate.trained:,}", estimate.card
    ('494,032,768', '8,798,208', 4)

    ```
    """
    _check(config, args, model_args)
    width = _bytes_of(config.dtype if model_args.dtype in ("auto", None) else getattr(torch, model_args.dtype))
    quantised = model_args.load_in_4bit or model_args.load_in_8bit
    with init_empty_weights():
        model: Any = AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    weights = width * parameters
    unpacked = 0
    if quantised:
        head = model.get_output_embeddings()  # transformers leaves it, and the embeddings, as they are
        sizes = [m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
        weights += sum(round((_quantised_bytes(model_args) - width) * size) for size in sizes)
        unpacked = width * max(sizes)  # one weight at a time is unpacked for its product
    trained, adapter_width = parameters, None
    if model_args.use_peft:
        from peft import get_peft_model

        adapted = get_peft_model(model, get_peft_config(model_args), low_cpu_mem_usage=True)
        trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
        adapter_width = ADAPTER_WIDTH
    elif args.beta:
        weights *= 2  # the reference model
    trained_width = adapter_width or width
    autocasts = adapter_width is None and width == 4 and (args.bf16 or args.fp16)

    rows = args.per_device_train_batch_size
    generated = args.generation_batch_size // args.world_size
    prompt, completion = args.max_prompt_length, args.max_completion_length
    text = config.get_text_config()
    layers, hidden, vocab = text.num_hidden_layers, text.hidden_size, text.vocab_size
    head_dim = getattr(text, "head_dim", None) or hidden // text.num_attention_heads
    widths = Widths(text.intermediate_size, text.num_attention_heads * head_dim, hidden)
    generate, train, kept = ACTIVATIONS[adapter_width, width]
    if quantised and width == 2:
        # bitsandbytes' layers keep the adapters' input in 16 bit under autocast, that is in training, not in
        # generation (PEFT's `requires_conversion`).
        _, train, kept = ACTIVATIONS[2, 2]
    if any(name.endswith("q_norm") for name, _ in model.named_modules()):  # Qwen3
        train = Widths(train.mlp, train.heads + NORMED_HEADS, train.hidden)
    kept_bytes = width * hidden if args.gradient_checkpointing else _dot(kept, widths)
    chunk = min((args.generation_kwargs or {}).get("prefill_chunk_size") or prompt, prompt)
    scored = rows * completion
    tile = min(scored, LOGITS_TILE[0]) * min(vocab, LOGITS_TILE[1])
    return MemoryEstimate(
        parameters=parameters,
        trained=trained,
        weights=weights,
        adapters=trained * adapter_width if adapter_width else 0,
        gradients=trained * trained_width,
        optimizer=_optimizer_bytes(args, trained, trained_width),
        cast=2 * parameters if autocasts else 0,
        kv_cache=generated * (prompt + completion) * layers * 2 * text.num_key_value_heads * head_dim * width,
        prompts=generated * chunk * _dot(generate, widths) + unpacked,
        # The model's logits, and scores and probabilities in float32; beside them one layer's keys and values,
        # repeated for every head.
        sampling=generated * (vocab * (width + 4 + 4) + (prompt + completion) * 2 * widths.heads * width),
        checkpoints=rows * (prompt + completion) * layers * kept_bytes,
        layer=rows * (prompt + completion) * _dot(train, widths) + unpacked,
        # A tile of the logits; the hidden states of what is scored and their gradient, in float32 and cast.
        logits=width * tile + scored * hidden * (width + 4 + width) + (0 if adapter_width else 4 * vocab * hidden),
    )


def _check(config: PretrainedConfig, args: GRPOConfig, model_args: ModelConfig) -> None:
    """What cannot be estimated is an error, not a number."""
    text = config.get_text_config()
    needed = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    mixed = {"full_attention", "sliding_attention"}.issuperset(getattr(text, "layer_types", None) or ())
    experts = [name for name in ("num_experts", "num_local_experts", "n_routed_experts") if getattr(text, name, None)]
    if config.is_encoder_decoder or experts or not mixed or not all(getattr(text, name, None) for name in needed):
        raise ValueError(
            f"The memory of a {config.model_type!r} model is not known: only dense decoders are. Measure it, for "
            "instance with torch.cuda.max_memory_reserved() after two steps."
        )
    if getattr(config, "quantization_config", None):
        raise ValueError(
            "This checkpoint is quantised already. Name the model in 16 bit that it was made of, and --load_in_4bit."
        )
    if getattr(args, "max_prompt_length", None) is None:
        raise ValueError("How long are the prompts? Set max_prompt_length, in tokens; memory grows with it.")
    if args.max_prompt_length < 1 or args.max_completion_length < 1:
        raise ValueError(
            f"max_prompt_length={args.max_prompt_length} and max_completion_length={args.max_completion_length} must "
            "both be 1 or more."
        )
    if args.use_vllm or args.use_transformers_continuous_batching:
        raise ValueError(
            "Only generation by Transformers' `generate` can be estimated. vLLM takes the share of the card that "
            "vllm_gpu_memory_utilization says, continuous batching that of its max_memory_percent; leave them out for "
            "an estimate of the rest."
        )
    if (model_args.load_in_4bit or model_args.load_in_8bit) and not model_args.use_peft:
        raise ValueError("Quantised weights cannot be trained: add --use_peft.")
    optim = str(getattr(args.optim, "value", args.optim))
    if "adamw" not in optim:
        raise ValueError(f"The states of optim={optim!r} are not known. Use AdamW (adamw_torch_fused, …).")


def _bytes_of(dtype: torch.dtype | str | None) -> int:
    dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype or torch.float32
    return dtype.itemsize


def _dot(bytes_by_width: Widths, widths: Widths) -> int:
    return sum(count * width for count, width in zip(bytes_by_width, widths, strict=True))


def _quantised_bytes(model_args: ModelConfig) -> float:
    """For each weight, with its share of the scales."""
    if model_args.load_in_8bit:
        return 1.0  # one float32 scale for each row
    scale = 1 + 4 / NESTED_BLOCK if model_args.use_bnb_nested_quant else 4
    return 0.5 + scale / NF4_BLOCK


def _optimizer_bytes(args: GRPOConfig, trained: int, width: int) -> int:
    """AdamW's two moments: of the parameters' own type, or of 8 bit with a float32 scale for each 256."""
    return round(2 * trained * (1 + 4 / NESTED_BLOCK if "8bit" in args.optim else width))
