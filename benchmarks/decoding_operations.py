"""How many operations a model of 28 layers runs for one token: a GPU that decodes waits for Python to start each.

    python -m benchmarks.decoding_operations

Counted on a CPU, on a Qwen2 of narrow layers: the number does not depend on their width, nor on the machine. Views,
which compute nothing, are left out.
"""

import tempfile
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Qwen2Config

from trl_srl.weights.quantization import keep_differentiable_on_cpu


LAYERS = 28  # as Qwen2.5 1.5B and 7B
ADAPTERS = {"none": None, "bfloat16": torch.bfloat16, "float32": torch.float32}


class Operations(TorchDispatchMode):
    """Counts what is computed while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        (result, *_) = function._schema.returns
        is_view = result.alias_info is not None and not result.alias_info.is_write
        self.count += not is_view and function is not torch.ops.aten._unsafe_view.default
        return function(*args, **(kwargs or {}))


def count_operations(quantised: bool, adapters: torch.dtype | None, layers: int = LAYERS) -> int:
    """Of one decoding step, with LoRA on all linear layers in a precision, or without."""
    config = Qwen2Config(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=64,
    )
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype="bfloat16")
    with tempfile.TemporaryDirectory() as folder:
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
        settings = {"quantization_config": nf4} if quantised else {}
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **settings)
    keep_differentiable_on_cpu(model)  # or its 4-bit layers would run another kernel than a GPU's
    if adapters is not None:
        model = get_peft_model(model, LoraConfig(target_modules="all-linear", lora_dropout=0.0))
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(adapters)
    with torch.no_grad():
        prompt = model(input_ids=torch.tensor([[1, 2, 3]]))
        with Operations() as operations:
            model(input_ids=torch.tensor([[4]]), past_key_values=prompt.past_key_values)
    return operations.count


def main() -> None:
    print(f"| weights | {' | '.join(f'adapters: {name}' for name in ADAPTERS)} |\n|---|---|---|---|")
    for quantised in (True, False):
        counts = [f"{count_operations(quantised, dtype):,}" for dtype in ADAPTERS.values()]
        print(f"| {'NF4' if quantised else 'bfloat16'} | {' | '.join(counts)} |")


if __name__ == "__main__":
    main()
