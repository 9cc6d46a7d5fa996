"""A tiny chat model of our own, built on a CPU in about a minute: a tokenizer, a Qwen2 of 0.7 million parameters,
and a short *format warm start*.

SRL needs a student that already follows the format sometimes. The warm start is supervised learning on gsm_symbolic
problems: it shows SRL's prompts, each with the completion `<think>numbers</think>` and the expert's step, where the
monologue is the numbers of that step. So the tiny model has seen expert steps of the templates that the demo trains
on and evaluates with, but none of the demo's problems: `warm_start_problems` are kept out of those.
"""

import hashlib
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, set_seed

from ..formatting import format_trajectories
from ..prompts import THINK_CLOSE, THINK_OPEN, gold_completion, render_prompt
from .cache import cached_folder
from .problems import gsm_symbolic_trajectories


Pair = tuple[list[int], list[int]]  # token ids of a prompt and of its completion

# Short, because every token costs time on a CPU. The warm start and SRL must show the same one.
TINY_SYSTEM_PROMPT = "Think first."

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class TinyModelSettings:
    """All that decides what the tiny model becomes; the cache is keyed by it."""

    num_problems: int = 4000
    max_characters: int = 300
    seed: int = 1234
    vocab_size: int = 2048
    hidden_size: int = 128
    num_layers: int = 3
    warm_start_steps: int = 400
    batch_size: int = 16
    learning_rate: float = 3e-3


def build_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """A byte-level BPE tokenizer with a ChatML template that writes every digit as a token of its own."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    # Not special, as in Qwen3: decoding with skip_special_tokens=True must not lose them.
    bpe.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in (THINK_OPEN, THINK_CLOSE)])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tokenizer: PreTrainedTokenizerBase, settings: TinyModelSettings) -> Qwen2ForCausalLM:
    """A small Qwen2 with random weights."""
    set_seed(settings.seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=3 * settings.hidden_size,
        num_hidden_layers=settings.num_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        initializer_range=0.06,  # learns much faster than with the default of 0.02
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config)


def monologue_for(step: str) -> str:
    """What the warm start thinks before a step: the numbers it will write."""
    return " ".join(re.findall(r"\d+(?:\.\d+)?", step))


def warm_start_problems(settings: TinyModelSettings) -> Dataset:
    """The trajectories that the warm start sees; the demo keeps them out of its own data."""
    return gsm_symbolic_trajectories(settings.num_problems, settings.seed, max_characters=settings.max_characters)


def encode_rows(step_rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> list[Pair]:
    """Token ids of each row's prompt, and of the completion that the warm start shows for it."""
    pairs = []
    for row in step_rows:
        completion = gold_completion(row["expert_action"], monologue_for(row["expert_action"]))
        prompt = render_prompt(row["prompt"], tokenizer, tokenize=True)
        pairs.append((prompt, [*tokenizer.encode(completion), tokenizer.eos_token_id]))
    return pairs


def _collate(pairs: Sequence[Pair]) -> dict[str, torch.Tensor]:
    """Pad on the right: behind causal attention padding needs no mask, only labels that count for nothing."""
    length = max(len(prompt) + len(completion) for prompt, completion in pairs)
    input_ids = torch.zeros((len(pairs), length), dtype=torch.long)
    labels = torch.full((len(pairs), length), -100)
    for i, (prompt, completion) in enumerate(pairs):
        end = len(prompt) + len(completion)
        input_ids[i, :end] = torch.tensor(prompt + completion)
        labels[i, len(prompt) : end] = torch.tensor(completion)
    return {"input_ids": input_ids, "labels": labels}


def _batches(pairs: Sequence[Pair], size: int, seed: int) -> Iterator[list[Pair]]:
    """
    Shuffled batches without end. Sorting by length inside pools of four batches saves padding; sorting all pairs would
    fill each batch from one template, which learns worse.
    """
    rng = random.Random(seed)
    while True:
        shuffled = rng.sample(pairs, len(pairs))
        batches = []
        for start in range(0, len(shuffled), 4 * size):
            pool = sorted(shuffled[start : start + 4 * size], key=lambda pair: len(pair[0]) + len(pair[1]))
            batches += [pool[i : i + size] for i in range(0, len(pool), size)]
        rng.shuffle(batches)
        yield from batches


def warm_start(model: Qwen2ForCausalLM, pairs: Sequence[Pair], settings: TinyModelSettings) -> list[float]:
    """Teach the format by supervised learning, in place. Returns the loss of every step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate)
    steps = settings.warm_start_steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, steps, pct_start=0.05)
    losses = []
    model.train()
    bar = tqdm(range(steps), "warm start", disable=None, leave=False)  # in a terminal only
    for _, batch in zip(bar, _batches(pairs, settings.batch_size, settings.seed), strict=False):
        loss = model(**_collate(batch)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def _build(folder: Path, settings: TinyModelSettings) -> None:
    rows, _ = format_trajectories(warm_start_problems(settings), system_prompt=TINY_SYSTEM_PROMPT)
    texts = [message["content"] for row in rows for message in row["prompt"]] + rows["expert_action"][:]
    tokenizer = build_tokenizer(texts, settings.vocab_size)
    model = build_model(tokenizer, settings)
    warm_start(model, encode_rows(rows, tokenizer), settings)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def tiny_model_folder(settings: TinyModelSettings | None = None, cache_dir: str | Path | None = None) -> Path:
    """
    The tiny model as a folder for `from_pretrained`, built on first use.

    Args:
        settings ([`TinyModelSettings`], *optional*):
            What to build. Other settings make another folder.
        cache_dir (`str` or `Path`, *optional*):
            Where to keep it, by default `~/.cache/trl-srl`.

    Returns:
        `Path`: the folder.
    """
    settings = settings or TinyModelSettings()
    key = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
    return cached_folder(f"tiny-model-{key}", lambda folder: _build(folder, settings), cache_dir)
