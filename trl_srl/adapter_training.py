"""`AdapterTrainer`: TRL's GRPOTrainer for adapters, quantised base models and adapters that are trained further."""

from typing import Any

from trl import GRPOConfig, GRPOTrainer

from .weights.adapter_loading import continue_adapter, read_adapter
from .weights.quantization import (
    check_model_arguments,
    check_trained_in_fp32,
    keep_adapters_in_fp32,
    keep_differentiable_on_cpu,
    trainable_weights,
)


class AdapterTrainer(GRPOTrainer):
    """
    [`~trl.GRPOTrainer`] whose adapters learn.

    The difference: what TRL cannot train is refused, if possible before a large model is loaded; given the path of an
    adapter, that adapter is trained further; adapters on quantised models stay in float32; 4-bit layers stay
    differentiable on a CPU. Loading is TRL's own.
    """

    def __init__(self, model: Any, reward_funcs: Any, args: GRPOConfig, **kwargs: Any) -> None:
        check_model_arguments(model, args, kwargs.get("quantization_config"), kwargs.get("peft_config"))
        init_kwargs = args.model_init_kwargs
        if isinstance(model, str) and read_adapter(model, (init_kwargs or {}).get("revision")):
            model, kwargs = continue_adapter(model, args, kwargs)
            args.model_init_kwargs = None  # used; TRL would warn of them
        trained = trainable_weights(model)
        try:
            super().__init__(model, reward_funcs, args=args, **kwargs)
        finally:
            args.model_init_kwargs = init_kwargs
        keep_adapters_in_fp32(self.model, trained)
        keep_differentiable_on_cpu(self.model)
        if args.fp16 and not (self.is_deepspeed_enabled or self.is_fsdp_enabled):  # these keep float32 copies
            check_trained_in_fp32(self.model)
