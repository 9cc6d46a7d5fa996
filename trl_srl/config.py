"""Arguments: what TRL's `GRPOConfig` has, plus dynamic sampling, plus the few decisions that are SRL's."""

import re
from dataclasses import dataclass, field

import torch
from trl import GRPOConfig


REFILL_FALLBACKS = ("mask", "replace", "error")
# What may choose the best checkpoint: metrics in which malformed completions count as failures. GRPO's loss measures
# no quality, and lengths and rates of cut-off completions are best for a model that writes nothing.
SELECTABLE_METRICS = (
    "srl/similarity",
    "srl/similarity_by_problem",
    "srl/exact_step_rate",
    "srl/right_number_rate",
    "srl/format_rate",
    "reward",
)
NO_BFLOAT16 = (
    "There is no GPU here that computes in bfloat16, TRL's default. On a CPU write use_cpu=True, bf16=False "
    "(--use_cpu true --bf16 false), on an older GPU such as a T4 bf16=False, fp16=True (--bf16 false --fp16 true)."
)


@dataclass
class DynamicSamplingConfig(GRPOConfig):
    r"""
    Configuration class for the [`DynamicSamplingTrainer`].

    It inherits every parameter of [`~trl.GRPOConfig`] and adds dynamic sampling: groups whose rewards are (almost)
    equal teach nothing and are replaced by freshly sampled ones.

    Parameters:
        dynamic_sampling (`bool`, *optional*, defaults to `True`):
            Whether to train on informative groups only. Without it the paper's SRL is no better than the base model.
        min_reward_std (`float`, *optional*, defaults to `0.01`):
            A group is informative if the population standard deviation of its rewards exceeds this. The paper's ε, to
            which it gives no number; this default is ours.
        max_refill_rounds (`int`, *optional*, defaults to `3`):
            How often to sample replacements for one batch. The paper samples until the batch is full; the bound is
            ours, so that a model which never follows the format cannot stall the run.
        refill_fallback (`str`, *optional*, defaults to `"mask"`):
            What fills the batch if it is still short. `"mask"`: rejected groups without any weight in the loss.
            `"replace"`: informative groups again. `"error"`: stop.
        refill_patience (`int`, *optional*, defaults to `10`):
            Stop with an explanation after so many batches in a row without one informative group.
        save_rollouts (`bool`, *optional*, defaults to `True`):
            Whether to write every rollout, trained on or not, to `<output_dir>/_rollouts`, for [`read_rollouts`] and
            `trl-srl report`. `push_to_hub` leaves them out, since they hold the training data. Turn it off for data
            that must not be written down, or to save the disk.
    """

    dynamic_sampling: bool = field(
        default=True, metadata={"help": "Whether to train on informative groups only, refilling the batch."}
    )
    min_reward_std: float = field(
        default=0.01,
        metadata={"help": "A group is informative if the population std of its rewards exceeds this (ε)."},
    )
    max_refill_rounds: int = field(
        default=3, metadata={"help": "How often to sample replacements for uninformative groups of one batch."}
    )
    refill_fallback: str = field(
        default="mask",
        metadata={
            "help": "What fills a batch that is still short: 'mask' (no weight), 'replace' (repeat informative "
            "groups) or 'error'.",
            "choices": list(REFILL_FALLBACKS),
        },
    )
    refill_patience: int = field(
        default=10,
        metadata={"help": "Stop after so many batches in a row without one informative group."},
    )
    save_rollouts: bool = field(
        default=True,
        metadata={"help": "Whether to write every rollout to output_dir/_rollouts, for `trl-srl report`."},
    )

    def __post_init__(self) -> None:
        if self.refill_fallback not in REFILL_FALLBACKS:
            raise ValueError(
                f"refill_fallback={self.refill_fallback!r} is unknown. Write one of {', '.join(REFILL_FALLBACKS)}."
            )
        for name, low in (("min_reward_std", 0), ("max_refill_rounds", 0), ("refill_patience", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"{name}={getattr(self, name)} is too small. Write {low} or more.")
        try:
            super().__post_init__()
        except ValueError as error:
            if self.generation_batch_size and self.generation_batch_size % self.num_generations:
                raise ValueError(
                    f"A batch of {self.generation_batch_size} completions (generation_batch_size, or "
                    f"per_device_train_batch_size={self.per_device_train_batch_size} x {self.world_size} processes x "
                    f"gradient_accumulation_steps={self.gradient_accumulation_steps}) cannot hold whole groups of "
                    f"num_generations={self.num_generations}. Make it a multiple of {self.num_generations}: for "
                    f"instance per_device_train_batch_size={self.num_generations}."
                ) from error
            if "bf16/gpu" in str(error):
                raise ValueError(NO_BFLOAT16) from error
            raise
        # Older GPUs emulate bfloat16, which is slow; transformers takes that for support.
        if self.bf16 and self.device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ValueError(NO_BFLOAT16)


@dataclass
class SRLConfig(DynamicSamplingConfig):
    r"""
    Configuration class for the [`SRLTrainer`].

    It inherits every parameter of [`DynamicSamplingConfig`] and [`~trl.GRPOConfig`]. Defaults that differ from TRL's
    are the paper's (its table of hyper-parameters): `learning_rate=5e-7`, `loss_type="grpo"` (each completion is
    normalised by its own length); `temperature=1.0`, 8 generations, `beta=0.0`, `scale_rewards="group"`,
    `max_grad_norm=1.0` and no warm-up are TRL's defaults as well. The paper's batch is 512 prompts. Evaluation
    generates once for each row (`num_generations_eval=1`), where TRL generates `num_generations` times, and
    `load_best_model_at_end` goes by `eval_srl/similarity`, where transformers goes by the loss.

    Parameters:
        format_penalty (`float`, *optional*, defaults to `-1.0`):
            Reward of a completion that does not follow the format (the paper's value).
        title_hint (`bool`, *optional*, defaults to `False`):
            Whether a titled step's title is given in the prompt, and only the body is the target (footnote 1 of the
            paper, which does not say whether its tables use it).
        include_last_step (`bool`, *optional*, defaults to `False`):
            Whether the last step of a solution is a target too. Read literally the paper learns the steps 1 … N-1.
        system_prompt (`str`, *optional*):
            Replaces our system prompt.
        history_window (`int`, *optional*, defaults to `2`):
            How many of an agent's last actions, with their observations, are in the prompt (the paper's number).
        max_prompt_length (`int`, *optional*):
            Longest prompt in tokens. Whole earlier steps are left out to fit, never the problem; how many rows that
            touches, and how many had to be dropped, is reported.
    """

    learning_rate: float = field(
        default=5e-7, metadata={"help": "Initial learning rate (the paper's value; TRL's default is 1e-6)."}
    )
    loss_type: str = field(
        default="grpo",
        metadata={"help": "Loss; 'grpo' normalises each completion by its own length, as the paper does."},
    )
    num_generations_eval: int | None = field(
        default=1, metadata={"help": "Completions for each row in evaluation (TRL's default is num_generations)."}
    )
    format_penalty: float = field(
        default=-1.0, metadata={"help": "Reward of a completion that does not follow the format."}
    )
    title_hint: bool = field(
        default=False, metadata={"help": "Give the next step's title in the prompt; the target is then its body."}
    )
    include_last_step: bool = field(
        default=False, metadata={"help": "Whether the last step of a solution is a target too."}
    )
    system_prompt: str | None = field(default=None, metadata={"help": "Replaces the system prompt of step rows."})
    history_window: int = field(
        default=2, metadata={"help": "How many of an agent's last actions and observations are in the prompt."}
    )
    max_prompt_length: int | None = field(
        default=None, metadata={"help": "Longest prompt in tokens; whole earlier steps are left out to fit."}
    )

    metric_for_best_model: str | None = field(
        default=None,
        metadata={"help": "What chooses the best checkpoint; eval_srl/similarity if load_best_model_at_end is set."},
    )

    def __post_init__(self) -> None:
        if self.load_best_model_at_end and self.metric_for_best_model is None:
            self.metric_for_best_model = "eval_srl/similarity"
        # With a dict of evaluation sets, the name of one stands before the metric's.
        selectable = "|".join([*map(re.escape, SELECTABLE_METRICS), "rewards/.+/mean"])
        if not re.fullmatch(f"(eval_)?(.+_)?({selectable})", self.metric_for_best_model or SELECTABLE_METRICS[0]):
            raise ValueError(
                f"metric_for_best_model={self.metric_for_best_model!r} may prefer a model that writes nothing usable. "
                f"Write one of {', '.join(f'eval_{name}' for name in SELECTABLE_METRICS)}, in which malformed "
                "completions count as failures, or eval_rewards/<name>/mean for a reward function of your own."
            )
        super().__post_init__()
