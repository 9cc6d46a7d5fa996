"""Trained adapters: finding their base model, and loading both, to be trained further or to be merged.

TRL loads complete models only: given the folder of an adapter it fails, or a user starts from the base again and the
first stage is lost. What is loaded here goes through TRL's `create_model_from_path` and PEFT's `PeftModel`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig
from transformers.utils import CONFIG_NAME, is_peft_available
from transformers.utils.peft_utils import find_adapter_config_file
from trl import GRPOConfig
from trl.trainer.utils import create_model_from_path


if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel


def read_adapter(model: str, revision: str | None = None) -> "PeftConfig | None":
    """The configuration of an adapter, if `model` (a path or id) holds one and not a complete model."""
    if (Path(model) / CONFIG_NAME).is_file() or find_adapter_config_file(model, revision=revision) is None:
        return None
    if not is_peft_available():
        raise ImportError(f"{model} holds an adapter, which needs PEFT: pip install 'trl-srl[qlora]'")
    from peft import PeftConfig

    return PeftConfig.from_pretrained(model, revision=revision)


def find_base(adapter: str, config: "PeftConfig", base_model: str | None = None) -> tuple[str, PretrainedConfig]:
    """
    The base model of an adapter and its configuration.

    Args:
        adapter (`str`):
            Path or id of the adapter.
        config (`PeftConfig`):
            Its configuration, which names the base model it was trained on.
        base_model (`str`, *optional*):
            Where the base model is now, if it has moved.

    Raises:
        `FileNotFoundError`: if there is no model at that place.
    """
    base = base_model or config.base_model_name_or_path
    if not base:
        raise ValueError(f"The adapter in {adapter} does not say which model it was trained on: name its base model.")
    try:
        return base, AutoConfig.from_pretrained(base, revision=None if base_model else config.revision)
    except (OSError, ValueError) as error:
        whence = "" if base_model else " (base_model_name_or_path in its adapter_config.json)"
        raise FileNotFoundError(
            f"The base model of the adapter in {adapter} is not at {base}{whence}: {str(error).splitlines()[0]} "
            "If it has moved, write --base_model PATH for `trl-srl merge`, or the new path into adapter_config.json."
        ) from error


def load_adapter(
    adapter: str, base_model: str | None = None, is_trainable: bool = False, revision: str | None = None, **kwargs: Any
) -> "PeftModel":
    """
    Load an adapter on its base model.

    Args:
        adapter (`str`):
            Path or id of the adapter.
        base_model (`str`, *optional*):
            Where the base model is now, if it has moved.
        is_trainable (`bool`, *optional*, defaults to `False`):
            Whether the adapter is trained further.
        revision (`str`, *optional*):
            Version of the adapter on the Hub.
        **kwargs:
            How to load the base model, as in `from_pretrained`: `dtype`, `quantization_config`, …
    """
    config = read_adapter(adapter, revision)
    if config is None:
        raise ValueError(
            f"{adapter} holds no adapter (no adapter_config.json, or a complete model beside it). Name the folder "
            "that training with a `peft_config` (--use_peft) has saved."
        )
    from peft import PeftModel

    base, _ = find_base(adapter, config, base_model)
    if not base_model and config.revision:
        kwargs["revision"] = config.revision
    model = create_model_from_path(base, **kwargs)
    try:
        return PeftModel.from_pretrained(model, adapter, is_trainable=is_trainable, revision=revision)
    except SafetensorError as error:
        raise ValueError(
            f"The weights of the adapter in {adapter} are broken ({error}). Copy or train it again."
        ) from error


def continue_adapter(adapter: str, args: GRPOConfig, kwargs: dict[str, Any]) -> "tuple[PeftModel, dict[str, Any]]":
    """
    Load an adapter for a trainer that is to train it further, as TRL would load a complete model.

    Args:
        adapter (`str`):
            Path or id of the adapter.
        args ([`~trl.GRPOConfig`]):
            Arguments of the trainer.
        kwargs (`dict[str, Any]`):
            What else the trainer was given.

    Returns:
        `tuple`: the model, and `kwargs` without what is used up and with the adapter's own tokenizer.
    """
    settings = {"trust_remote_code": args.trust_remote_code, **(args.model_init_kwargs or {})}
    kwargs = dict(kwargs)
    if (quantization_config := kwargs.pop("quantization_config", None)) is not None:
        settings["quantization_config"] = quantization_config
    if args.distributed_state.distributed_type in ("MULTI_GPU", "DEEPSPEED"):
        settings["device_map"] = None  # as in TRL
    if kwargs.get("processing_class") is None and (Path(adapter) / "tokenizer_config.json").is_file():
        kwargs["processing_class"] = AutoTokenizer.from_pretrained(
            adapter, truncation_side="left", padding_side="left", trust_remote_code=args.trust_remote_code
        )
    return load_adapter(adapter, is_trainable=True, **settings), kwargs
