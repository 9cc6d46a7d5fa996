"""Models with random weights in the shape of Qwen2.5, a tokenizer and step rows to match: nothing is downloaded."""

import gc
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from benchmarks.tiny_models import CHAT_TEMPLATE


SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128},
    "0.5b": {"hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14, "intermediate_size": 4864},
    "1.5b": {"hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12, "intermediate_size": 8960},
    "3b": {"hidden_size": 2048, "num_hidden_layers": 36, "num_attention_heads": 16, "intermediate_size": 11008},
    "7b": {"hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28, "intermediate_size": 18944},
}
for shape, sizes in SHAPES.items():
    sizes |= {
        "num_key_value_heads": 4 if shape == "7b" else 2,
        "vocab_size": {"tiny": 512, "7b": 152064}.get(shape, 151936),
        "tie_word_embeddings": shape not in ("tiny", "7b"),
    }


def make_tokenizer(vocab_size: int) -> Any:
    """A byte-level tokenizer padded to the model's vocabulary, so that everything a model samples is a text."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    fillers = [f"filler{i}" for i in range(vocab_size - len(symbols) - len(special) - 2)]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate([*symbols, *fillers])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
    )


def make_rows(count: int, prompt_length: int, tokenizer: Any) -> list[dict[str, Any]]:
    """Step rows; every second prompt has `prompt_length` tokens, the others a few less, so that there is padding."""
    empty = len(
        tokenizer.apply_chat_template([{"role": "user", "content": ""}], add_generation_prompt=True)["input_ids"]
    )
    letters = random.Random(0)
    rows = []
    for i in range(count):
        text = "".join(letters.choices("abcdefgh ", k=prompt_length - empty - i % 2 * (i % 9)))
        rows.append(
            {
                "prompt": [{"role": "user", "content": text}],
                "expert_action": "".join(letters.choices("abcdefgh ", k=200)).strip() + ".",
                "problem_id": str(i),
                "step_index": 0,
                "num_steps": 2,
            }
        )
    return rows


def make_model(shape: str, folder: Path, device: str) -> None:
    """Random weights in 16 bit, saved, so that loading is what a user's loading is."""
    tokenizer = make_tokenizer(SHAPES[shape]["vocab_size"])
    config = Qwen2Config(
        **SHAPES[shape],
        max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="bfloat16",
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = Qwen2ForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder, max_shard_size="4GB")
    tokenizer.save_pretrained(folder)
    del model
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()  # what is measured next starts from nothing
