"""What writes completions: one small interface, and two ways to fill it, transformers and vLLM.

A backend takes chat messages and gives texts, everything else in the evaluation knows neither tokens nor devices. The
opening think tag that a chat template may prefill is put back, so that a text reads the same whoever wrote it.
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from ..prompts import THINK_OPEN, Message, is_think_prefilled, render_prompt
from ..weights.adapter_loading import load_adapter, read_adapter
from ..weights.quantization import describe_quantization


BACKENDS = ("transformers", "vllm")


class Generated(NamedTuple):
    """A completion: its text without the token that ends it, its length in tokens, and whether it was cut off."""

    text: str
    num_tokens: int
    truncated: bool


class Backend(Protocol):
    """
    Whatever writes completions.

    Attributes:
        name (`str`): What `results.json` says of it.
        batch_size (`int`): Completions it writes at once.
        dtype (`str`): Precision of its weights, and how they are quantised.
    """

    name: str
    batch_size: int
    dtype: str

    def generate(
        self, prompts: Sequence[list[Message]], *, max_completion_length: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Generated]:
        """One completion for each prompt (chat messages), in their order. A temperature of 0 decodes greedily."""
        ...


def _require_chat_template(tokenizer: PreTrainedTokenizerBase) -> None:
    if tokenizer.chat_template is None:
        raise ValueError(
            "The tokenizer has no chat template, so SRL's prompts cannot be rendered: use an instruct model."
        )


def _decode(ids: Sequence[int], rendered: str, tokenizer: Any, eos_ids: set[int]) -> Generated:
    """Read a completion's token ids, which may be padded after the one that ends it."""
    end = next((i for i, token in enumerate(ids) if token in eos_ids), None)
    text = str(tokenizer.decode(ids[:end], skip_special_tokens=False))
    if is_think_prefilled(rendered):
        text = THINK_OPEN + text
    return Generated(text, len(ids) if end is None else end + 1, truncated=end is None)


def _batches(prompts: Sequence[list[int]], batch_size: int) -> Iterator[list[int]]:
    """Places of the prompts in batches of similar length, so that little is padded."""
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


class TransformersBackend:
    """
    A transformers model and its tokenizer.

    Args:
        model ([`~transformers.PreTrainedModel`]):
            The model, on the device to use. Its mode (training or evaluation) is restored after each call.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            Its tokenizer, with a chat template.
        batch_size (`int`, *optional*, defaults to `16`):
            Completions generated at once.
    """

    name = "transformers"

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_size: int = 16) -> None:
        _require_chat_template(tokenizer)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        self.model: Any = model
        self.tokenizer: Any = tokenizer
        self.batch_size = batch_size
        quantization = describe_quantization(model.config)
        self.dtype = str(model.dtype).removeprefix("torch.") + (f", {quantization}" if quantization else "")
        eos = model.generation_config.eos_token_id
        self._eos_ids = {tokenizer.eos_token_id, *(eos if isinstance(eos, list) else [eos])} - {None}

    def generate(
        self, prompts: Sequence[list[Message]], *, max_completion_length: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Generated]:
        """As in [`Backend`]."""
        set_seed(seed)
        prompt_ids = [render_prompt(prompt, self.tokenizer, tokenize=True) for prompt in prompts]
        # As in training and in vLLM, whatever the checkpoint's own generation_config says: Qwen2.5 penalises
        # repetitions there.
        neutral = {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_p": None}
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}
        if temperature > 0:
            sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        results: list[Generated | None] = [None] * len(prompts)
        was_training = self.model.training
        self.model.eval()
        for places in _batches(prompt_ids, self.batch_size):
            completions = self._complete(
                [prompt_ids[place] for place in places],
                max_new_tokens=max_completion_length,
                eos_token_id=sorted(self._eos_ids),
                **neutral,
                **sampling,
            )
            for place, ids in zip(places, completions.tolist(), strict=True):
                rendered = render_prompt(prompts[place], self.tokenizer)
                results[place] = _decode(ids, rendered, self.tokenizer, self._eos_ids)
        self.model.train(was_training)
        return [result for result in results if result is not None]

    @torch.no_grad()
    def _complete(self, prompt_ids: Sequence[list[int]], **generation: Any) -> torch.Tensor:
        """Token ids of the completions, padded on the right."""
        padded = self.tokenizer.pad({"input_ids": list(prompt_ids)}, padding_side="left", return_tensors="pt")
        padded = padded.to(self.model.device)
        output = self.model.generate(
            input_ids=padded["input_ids"],
            attention_mask=padded["attention_mask"],
            pad_token_id=self.tokenizer.pad_token_id,
            **generation,
        )
        return output[:, padded["input_ids"].shape[1] :]


class VLLMBackend:
    """
    A vLLM engine in this process, for speed on a GPU. Not run by us: no GPU was at hand; tested with a stand-in.

    Args:
        model (`str`):
            Path or Hub id of a model, or of a LoRA adapter, which is then applied to its base model.
        batch_size (`int`, *optional*, defaults to `256`):
            Completions at once, vLLM's `max_num_seqs`.
        **engine (*optional*):
            Everything else that `vllm.LLM` takes: `tensor_parallel_size`, `gpu_memory_utilization`, `max_model_len`, …

    Raises:
        `ImportError`: when vLLM is not installed.
    """

    name = "vllm"

    def __init__(self, model: str, *, batch_size: int = 256, **engine: Any) -> None:
        try:
            import vllm
        except ImportError as error:
            raise ImportError("The vllm backend needs the package vllm: pip install 'trl-srl[vllm]'") from error
        self.batch_size, self.dtype = batch_size, str(engine.get("dtype", "auto"))
        self._sampling_params = vllm.SamplingParams
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model)
        _require_chat_template(self.tokenizer)
        adapter = Path(model, "adapter_config.json")
        if adapter.exists():
            from vllm.lora.request import LoRARequest

            settings = json.loads(adapter.read_text(encoding="utf-8"))
            engine |= {"enable_lora": True, "max_lora_rank": settings["r"], "tokenizer": model}
            self._options = {"lora_request": LoRARequest("adapter", 1, model)}
            model = settings["base_model_name_or_path"]
        else:
            self._options = {}
        self._engine = vllm.LLM(model=model, max_num_seqs=batch_size, **engine)

    def generate(
        self, prompts: Sequence[list[Message]], *, max_completion_length: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Generated]:
        """As in [`Backend`]."""
        # A seed for each: with one for all of them, vLLM writes the same sample for the same prompt.
        rng = random.Random(seed)
        settings = [
            self._sampling_params(temperature=temperature, max_tokens=max_completion_length, seed=rng.getrandbits(31))
            for _ in prompts
        ]
        requests = [{"prompt_token_ids": render_prompt(prompt, self.tokenizer, tokenize=True)} for prompt in prompts]
        outputs = self._engine.generate(requests, settings, use_tqdm=False, **self._options)
        results = []
        for prompt, output in zip(prompts, outputs, strict=True):
            ids = list(output.outputs[0].token_ids)
            cut_off = output.outputs[0].finish_reason == "length"
            # vLLM leaves the token that ended a completion in, or not, depending on how it was told of it.
            ending = set() if cut_off or not ids else {ids[-1]} & {*self.tokenizer.all_special_ids}
            generated = _decode(ids, render_prompt(prompt, self.tokenizer), self.tokenizer, ending)
            results.append(Generated(generated.text, generated.num_tokens, truncated=cut_off))
        return results


def load_backend(
    name: str, model: str, batch_size: int | None = None, dtype: str = "auto", quantization_config: Any = None
) -> Backend:
    """
    A backend for a model by name.

    Args:
        name (`str`):
            One of `BACKENDS`.
        model (`str`):
            Path or Hub id of a model, or of a PEFT adapter.
        batch_size (`int`, *optional*):
            Completions at once; by default 16 with transformers, 256 with vLLM.
        dtype (`str`, *optional*, defaults to `"auto"`):
            Precision of the weights: `"float16"`, `"bfloat16"`, `"float32"`, or that of the checkpoint.
        quantization_config ([`~transformers.BitsAndBytesConfig`], *optional*):
            As in training: an adapter is then evaluated on the weights it was trained on, in a quarter of the memory.

    Returns:
        [`Backend`].
    """
    size = {} if batch_size is None else {"batch_size": batch_size}
    if name == "vllm":
        if quantization_config is not None:
            raise ValueError("Only the transformers backend quantises weights: take it, or no quantisation.")
        return VLLMBackend(model, dtype=dtype, **size)
    if name != "transformers":
        raise ValueError(f"backend={name!r} is unknown. Write one of {', '.join(BACKENDS)}.")
    # Transformers' own loading of adapters leaves out what DoRA has learned.
    load = load_adapter if read_adapter(model) else AutoModelForCausalLM.from_pretrained
    settings = {} if quantization_config is None else {"quantization_config": quantization_config}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    policy: Any = load(model, dtype=dtype, device_map=device, **settings)
    return TransformersBackend(policy, AutoTokenizer.from_pretrained(model), **size)
