"""An adapter and its base model → one model, which is loaded again and compared before it is called done."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers import AutoTokenizer, PretrainedConfig
from trl.trainer.utils import create_model_from_path

from .adapter_loading import find_base, load_adapter, read_adapter
from .probe import PROBE_TEXTS, probe_logits, relative_difference


if TYPE_CHECKING:
    from peft import PeftModel

# How far the merged model's logits may be from the adapter's. Adding the adapter to 16-bit weights rounds them (to 8
# bits in bfloat16, 11 in float16), and both models round their activations; the values are ours.
TOLERANCES = {"bfloat16": 0.05, "float16": 0.01, "float32": 0.0001}


class MergeReport(NamedTuple):
    """
    How a merged model compares with the base model and the adapter on it, by logits on fixed texts.

    Attributes:
        output_dir (`str`): Where the merged model is.
        base_model (`str`): What the adapter was merged into.
        dtype (`str`): Precision of the merged weights.
        change (`float`): How far the adapter's logits are from the base model's, relative to the norm of these.
        from_base (`float`): How far the merged model's logits are from the base model's, likewise.
        error (`float`): How far the merged model's logits are from the adapter's, likewise.
        tolerance (`float`): The largest error that is accepted in this precision.
    """

    output_dir: str
    base_model: str
    dtype: str
    change: float
    from_base: float
    error: float
    tolerance: float

    def __str__(self) -> str:
        return (
            f"Merged into {self.base_model} in {self.dtype}: {self.output_dir}\n"
            f"Verified by the logits on {len(PROBE_TEXTS)} texts, after loading it again: {self.error:.1e} from the "
            f"adapter's (tolerance {self.tolerance:.0e}), {self.from_base:.1e} from the base model's; the adapter's "
            f"are {self.change:.1e} from the base model's."
        )


def _choose_dtype(dtype: str | None, config: PretrainedConfig) -> str:
    if dtype is None:
        own = str(config.dtype).removeprefix("torch.")
        return own if own in ("float16", "bfloat16") else "bfloat16"
    if dtype not in TOLERANCES:
        raise ValueError(f"dtype={dtype!r} is unknown. Write one of {', '.join(TOLERANCES)}.")
    return dtype


def _merge(model: "PeftModel") -> Any:
    """Merge; of tied embeddings, give each side weights of its own if the adapter has changed one."""
    inner: Any = model.get_base_model()
    inputs, outputs = inner.get_input_embeddings(), inner.get_output_embeddings()
    changed = any(hasattr(module, "base_layer") or hasattr(module, "original_module") for module in (inputs, outputs))
    tied = inner.config.get_text_config().tie_word_embeddings
    if tied and changed and not hasattr(outputs, "original_module"):
        # What is added to the input embeddings must not reach the output embeddings through the shared matrix.
        layer = getattr(outputs, "base_layer", outputs)
        layer.weight = torch.nn.Parameter(layer.weight.detach().clone())
    merged = model.merge_and_unload()
    untied = merged.get_input_embeddings().weight.data_ptr() != merged.get_output_embeddings().weight.data_ptr()
    if tied and untied:
        merged.config.tie_word_embeddings = merged.config.get_text_config().tie_word_embeddings = False
        merged.all_tied_weights_keys = {}
    return merged


def merge_adapter(
    adapter: str | Path, output_dir: str | Path, *, base_model: str | None = None, dtype: str | None = None
) -> MergeReport:
    """
    Merge an adapter into its base model, save the result with its tokenizer, load it again and verify it.

    The base model is loaded as it is, never in 4 bit, also when the adapter was trained on a quantised one. The result
    appears in `output_dir` when it has been verified, and not at all otherwise. Runs on the CPU and needs the memory
    of one model in `dtype`, and its disk space.

    Args:
        adapter (`str` or `Path`):
            Folder or id of the adapter, as saved by a trainer with a `peft_config`.
        output_dir (`str` or `Path`):
            A folder that is empty or does not exist.
        base_model (`str`, *optional*):
            Where the base model is, if not where the adapter's configuration says.
        dtype (`str`, *optional*):
            `"bfloat16"`, `"float16"` or `"float32"`; the base model's own if that has 16 bits, else `"bfloat16"`.

    Returns:
        [`MergeReport`]

    Raises:
        `ValueError`: if the adapter changes nothing, or the merged model is not what the adapter was.
        `FileNotFoundError`: if the base model has moved.
        `FileExistsError`: if `output_dir` is not empty.

    Example:

    ```python
    from trl_srl import merge_adapter

    print(merge_adapter("runs/srl", "runs/srl-merged"))
    ```
    """
    adapter, output = str(adapter), Path(output_dir)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"{output} is not an empty folder. Name one that does not exist yet.")
    config = read_adapter(adapter)
    if config is None:
        raise ValueError(f"{adapter} holds no adapter: there is nothing to merge, or it is a complete model already.")
    base, base_config = find_base(adapter, config, base_model)
    if getattr(base_config, "quantization_config", None) is not None:
        raise ValueError(
            f"The base model {base} is stored quantised, and merging into quantised weights would lose what was "
            "learned. Name the model that it was made from, in 16 bit, by base_model (--base_model)."
        )
    dtype = _choose_dtype(dtype, base_config)
    has_tokenizer = (Path(adapter) / "tokenizer_config.json").is_file() or not Path(adapter).is_dir()
    tokenizer = AutoTokenizer.from_pretrained(adapter if has_tokenizer else base)

    model = load_adapter(adapter, base_model, dtype=dtype, device_map=None)
    with model.disable_adapter():
        base_logits = probe_logits(model, tokenizer)
    adapter_logits = probe_logits(model, tokenizer)
    change = relative_difference(adapter_logits, base_logits)
    if change == 0:
        raise ValueError(
            f"The adapter in {adapter} changes nothing: with and without it the model gives the same logits in "
            f"{dtype}. It has not been trained, its weights were not saved, or they are too small for that precision "
            "(--dtype float32). Nothing was written."
        )
    # Beside the first folder that would have to be made, which is left to be made if all goes well.
    existing = next(folder for folder in output.absolute().parents if folder.exists())
    unfinished = existing / f".{output.name}.unfinished-{os.getpid()}"
    try:
        unfinished.mkdir()
        merged = _merge(model).to(getattr(torch, dtype))
        merged.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        del model, merged
        again = create_model_from_path(str(unfinished), dtype=dtype, device_map=None)
        logits = probe_logits(again, AutoTokenizer.from_pretrained(unfinished))
        report = MergeReport(
            str(output),
            base,
            dtype,
            change=change,
            from_base=relative_difference(logits, base_logits),
            error=relative_difference(logits, adapter_logits),
            tolerance=TOLERANCES[dtype],
        )
        check_merge(report)
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.exists():
            output.rmdir()
        os.replace(unfinished, output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return report


def check_merge(report: MergeReport) -> None:
    """Raise `ValueError` unless the merged model is the adapter's, and nearer to it than to the base model."""
    numbers = (
        f"its logits are {report.error:.1e} from the adapter's (tolerance {report.tolerance:.0e}) and "
        f"{report.from_base:.1e} from the base model's. Nothing was written."
    )
    if not report.error <= report.tolerance:
        raise ValueError(
            f"The merged model is not the adapter's: {numbers} Is {report.base_model} the model that it was trained "
            "on? If so, try dtype='float32' (--dtype float32)."
        )
    if not report.error < report.from_base:
        raise ValueError(
            f"What the adapter has learned is lost in the rounding to {report.dtype}: {numbers} Merge in "
            "dtype='float32' (--dtype float32), or use the adapter unmerged."
        )
