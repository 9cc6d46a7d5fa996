"""Dynamic sampling: train on groups whose rewards differ, and sample again what is missing.

The decisions are taken in selection.py; `DynamicSamplingTrainer` acts on them. It never copies a TRL method: it
generates and scores through `super()`, keeps the informative groups, and then lets TRL's own method run once on the
final batch while `_generate` and `_calculate_rewards` replay what was already made. Padding, log-probabilities,
advantages, normalisers and logging stay TRL's.

Shapes: P prompts (groups) x G rollouts for each; N = P * G rollouts; F reward functions.
"""

from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.logging import get_logger
from accelerate.utils import gather_object
from datasets import Dataset
from trl import GRPOTrainer
from trl.trainer.utils import get_config_model_id

from .config import DynamicSamplingConfig
from .prompt_stream import PromptStream
from .recording import RecordingTrainer, Rollout, Sampling
from .seams import check_generated, check_trl_attributes, check_trl_methods
from .selection import (
    ADVICE,
    DROPPED_BECAUSE,
    NothingToLearnError,
    Sampled,
    Selection,
    group_std,
    refill_size,
    sampling_of_groups,
    select_groups,
)


logger = get_logger(__name__)

# These average over rows, so that a masked one would still count in the denominator.
LOSSES_PER_ROW = ("grpo", "sapo", "dr_grpo", "luspo")


class _Replay(NamedTuple):
    """The batch that is trained on: what TRL's methods return while they finish it."""

    rollouts: list[Rollout]  # this process's
    rewards_N_F: torch.Tensor  # of all processes; NaN, which TRL leaves out of every statistic, where masked
    num_trained: int  # of all; the rest, at the end, is masked
    sampling: Sampling

    @property
    def generated(self) -> tuple:
        """What `_generate` returns."""
        return (
            [rollout.prompt_ids for rollout in self.rollouts],
            [rollout.completion_ids for rollout in self.rollouts],
            None,  # tool masks
            [rollout.completion for rollout in self.rollouts],
            None if self.rollouts[0].logprobs is None else [rollout.logprobs for rollout in self.rollouts],
            {},  # extra fields
            None,  # images
            [],  # images of tools
        )


class DynamicSamplingTrainer(RecordingTrainer):
    r"""
    [`~trl.GRPOTrainer`] with dynamic sampling (section 3 of the SRL paper; known from DAPO).

    The difference: in training, a group whose rewards have a population standard deviation of at most
    `args.min_reward_std` is not trained on; its place is filled by sampling other prompts, only as many as are missing
    and at most `args.max_refill_rounds` times. No informative group is lost, no reward is changed. Generation, reward
    functions, loss, logging, checkpoints, distribution and evaluation are inherited unchanged; decisions are taken on
    gathered rewards, so every process takes the same ones. A run that was killed continues from its newest complete
    checkpoint as if nothing had happened, and SIGTERM leaves such a checkpoint behind.

    Logged: `dynamic_sampling/{refill_rounds, groups_generated, acceptance, filled, surplus, dropped/unscored,
    dropped/truncated, dropped/bad_format, dropped/low_std}` (groups for each batch). `reward*` describe the trained
    groups, `reward_all_groups` everything sampled; so does what reward functions log as metrics.

    Args:
        model (`str` or [`~transformers.PreTrainedModel`] or `PeftModel`):
            As in [`~trl.GRPOTrainer`]; also the path or id of an adapter, which is trained further.
        reward_funcs (`Callable` or `list`):
            As in [`~trl.GRPOTrainer`].
        args ([`DynamicSamplingConfig`], *optional*):
            Arguments.
        **kwargs:
            Everything else [`~trl.GRPOTrainer`] takes, except `tools`, `rollout_func` and `environment_factory`.

    Example, RLVR from the weights of an SRL run:

    ```python
    from trl.rewards import accuracy_reward
    from trl_srl import DynamicSamplingConfig, DynamicSamplingTrainer

    trainer = DynamicSamplingTrainer(
        model="runs/srl",
        reward_funcs=accuracy_reward,
        args=DynamicSamplingConfig(output_dir="runs/rlvr"),
        train_dataset=problems,  # columns `prompt` and `solution`
    )
    trainer.train()
    ```
    """

    _tag_names = ["trl", "dynamic-sampling"]
    _config_class = DynamicSamplingConfig
    args: DynamicSamplingConfig

    def __init__(
        self, model: Any, reward_funcs: Any = None, args: DynamicSamplingConfig | None = None, **kwargs: Any
    ) -> None:
        check_trl_methods(GRPOTrainer)
        config_class = self._config_class
        model = str(model) if isinstance(model, Path) else model
        if args is None:
            name = model if isinstance(model, str) else get_config_model_id(model.config)
            args = config_class(f"{name.split('/')[-1]}-{config_class.__name__.removesuffix('Config')}")
        if not isinstance(args, config_class):
            raise TypeError(
                f"`args` is a {type(args).__name__}. Pass {config_class.__name__}(...): it takes the same arguments "
                f"and has those of {type(self).__name__} too."
            )
        unsupported = [name for name in ("tools", "rollout_func", "environment_factory") if kwargs.get(name)]
        if unsupported and args.dynamic_sampling:
            raise ValueError(
                f"Dynamic sampling cannot replay what `{unsupported[0]}` does during generation. Leave it out, or set "
                "dynamic_sampling=False."
            )
        super().__init__(model, reward_funcs, args=args, **kwargs)
        check_trl_attributes(self)
        self._replay: _Replay | None = None
        self._barren_batches = 0
        self._warned_short = False

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As [`~transformers.Trainer.train`], after checking that the data fill a batch."""
        self.check_batch_fits()
        output = super().train(*args, **kwargs)
        if self.state.global_step == 0 and not isinstance(self.train_dataset, Dataset):
            raise ValueError(f"The training stream ended before it filled one batch of {self._batch_size_in_words()}.")
        return output

    def _batch_size_in_words(self) -> str:
        size = self.args.generation_batch_size
        return f"{size // self.num_generations} prompts ({size} completions / {self.num_generations} for each)"

    def check_batch_fits(self) -> None:
        """Raise `ValueError` if the training data do not fill one batch, so that not one step could be made."""
        rows = len(self.train_dataset) if isinstance(self.train_dataset, Dataset) else None
        if rows is not None and rows < self.args.generation_batch_size // self.num_generations:
            raise ValueError(
                f"The training data have {rows} rows, but one batch takes {self._batch_size_in_words()}, so not one "
                "step could be made. Lower per_device_train_batch_size or gradient_accumulation_steps, or bring more "
                "data."
            )

    @cached_property
    def _refill_stream(self) -> PromptStream:
        return PromptStream(self.train_dataset, self.args.seed + 1)

    def _generate(self, prompts: list) -> tuple:
        return super()._generate(prompts) if self._replay is None else self._replay.generated

    def _calculate_rewards(
        self, inputs: list, prompts: list, completions: list, completion_ids_list: list
    ) -> torch.Tensor:
        if self._replay is not None:
            return self._replay.rewards_N_F
        return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)

    def _sampling(self, inputs: list[dict[str, Any]]) -> Sampling:
        return super()._sampling(inputs) if self._replay is None else self._replay.sampling

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not (self.model.training and self.args.dynamic_sampling):
            return super()._generate_and_score_completions(inputs)
        replay = self._replay = self._sample_batch(inputs)
        try:
            output = super()._generate_and_score_completions([rollout.row for rollout in replay.rollouts])
        finally:
            self._replay = None
        if replay.num_trained < (total := len(replay.rewards_N_F)):
            places = torch.arange(len(inputs), device=output["completion_mask"].device)
            places += self.accelerator.process_index * len(inputs)
            output["completion_mask"][places >= replay.num_trained] = 0
            # TRL counted the tokens before they were masked; the token-normalised losses divide by this.
            output["num_items_in_batch"] = self.accelerator.gather(output["completion_mask"].sum()).sum()
            if self.loss_type in LOSSES_PER_ROW and replay.num_trained:
                output["loss_weight"] = torch.tensor(total / replay.num_trained)
        return output

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        return super().compute_loss(model, inputs, *args, **kwargs) * inputs.get("loss_weight", 1)

    def _sample_batch(self, inputs: list[dict[str, Any]]) -> _Replay:
        """Sample until the batch is full of informative groups, or rounds run out."""
        args, num_generations = self.args, self.num_generations
        world, rank, local_rows = self.accelerator.num_processes, self.accelerator.process_index, len(inputs)
        batch = local_rows * world // num_generations
        made_here: dict[int, Rollout] = {}  # by place among everything sampled
        metrics: dict[str, list[float]] = defaultdict(list)
        sampled, rounds, round_starts = None, 0, []
        while True:
            round_starts.append(0 if sampled is None else len(sampled.rewards_N_F))
            place = round_starts[-1] + rank * len(inputs)
            rollouts, scored = self._sample_round(inputs)
            made_here |= {place + i: rollout for i, rollout in enumerate(rollouts)}
            for name, values in self._pending_metrics.items():
                metrics[name] += values * len(inputs)  # so that TRL's mean weighs each round by its rollouts
            self._pending_metrics.clear()
            sampled = scored if sampled is None else sampled.append(scored)
            kept, generated = sampled.count_informative(args.min_reward_std), len(sampled.rewards_P_G)
            if kept >= batch or rounds == args.max_refill_rounds:
                break
            rounds += 1
            groups = refill_size(batch - kept, kept, generated, batch, num_generations, world)
            rows = [row for row in self._refill_stream.take(groups) for _ in range(num_generations)]
            share = len(rows) // world
            inputs = rows[rank * share : (rank + 1) * share]

        std_P = group_std(sampled.rewards_P_G).tolist()
        selection = select_groups(std_P, args.min_reward_std, batch, args.refill_fallback)
        self._report_sampling(sampled, selection, rounds, batch, kept)
        places = [group * num_generations + i for group in selection.groups for i in range(num_generations)]
        wanted = set(places)
        shipped = dict(gather_object([item for item in made_here.items() if item[0] in wanted]))
        my_places = places[rank * local_rows : (rank + 1) * local_rows]
        mine = [shipped[place] for place in my_places]
        rewards_N_F = sampled.rewards_N_F[places]
        trained = len(places) - selection.num_masked * num_generations
        rewards_N_F[trained:] = torch.nan
        self._pending_metrics.update(metrics)
        for column in sorted({name for rollout in mine for name in rollout.extra}):
            self._log_completion_extra(column, [rollout.extra.get(column) for rollout in mine])
        self._log_completion_extra("trained", [rank * local_rows + i < trained for i in range(local_rows)])
        # "replace" repeats groups: each rollout is written once, by the process that has it first.
        elsewhere = set(places[: rank * local_rows])
        positions = {place: i for i, place in reversed(list(enumerate(my_places))) if place not in elsewhere}
        sampling = Sampling(
            rollouts={place: shipped[place] for place in positions}
            | {place: rollout for place, rollout in made_here.items() if place not in wanted},
            positions=positions,
            rewards_N=sampled.rewards_P_G.flatten().tolist(),
            sampling_P=sampling_of_groups(std_P, args.min_reward_std, selection),
            round_starts=round_starts,
            num_generations=num_generations,
        )
        return _Replay(mine, rewards_N_F, trained, sampling)

    def _sample_round(self, inputs: list[dict[str, Any]]) -> tuple[list[Rollout], Sampled]:
        """Generate and score `inputs` (this process's rows): rollouts of this process, numbers of all."""
        prompts = [row["prompt"] for row in inputs]
        prompt_ids, completion_ids, _, completions, logprobs, *_ = check_generated(self._generate(prompts))
        rewards_N_F = self._calculate_rewards(inputs, prompts, completions, completion_ids)
        extra = self._extra_columns(len(inputs))
        self._pending_extra_logs.clear()
        rollouts = [
            Rollout(
                row=row,
                prompt_ids=prompt_ids[i],
                completion_ids=completion_ids[i],
                completion=completions[i],
                logprobs=None if logprobs is None else logprobs[i],
                extra={name: values[i] for name, values in extra.items()},
            )
            for i, row in enumerate(inputs)
        ]
        shape = (-1, self.num_generations)
        return rollouts, Sampled(
            rewards_N_F=rewards_N_F,
            rewards_P_G=self._weigh(rewards_N_F).view(shape).cpu(),
            truncated_P_G=self._truncated(completion_ids).view(shape).cpu(),
            bad_format_P_G=self._bad_format(rewards_N_F).view(shape).cpu(),
        )

    def _truncated(self, completion_ids: list[list[int]]) -> torch.Tensor:
        """Which rollouts of all processes do not end with an end-of-sequence token, shape (N,), from this one's."""
        truncated = [self._is_truncated(ids) for ids in completion_ids]
        return self.accelerator.gather(torch.tensor(truncated, device=self.accelerator.device))

    def _bad_format(self, rewards_N_F: torch.Tensor) -> torch.Tensor:
        """Which rollouts do not follow a format, shape (N,). A verifiable reward knows of none."""
        return torch.zeros(len(rewards_N_F), dtype=torch.bool, device=rewards_N_F.device)

    def _report_sampling(self, sampled: Sampled, selection: Selection, rounds: int, batch: int, kept: int) -> None:
        """Log what was sampled, warn when the batch is short, stop when nothing can be learned for too long."""
        generated = len(sampled.rewards_P_G)
        dropped = sampled.dropped(self.args.min_reward_std)
        metrics = {
            "refill_rounds": rounds,
            "groups_generated": generated,
            "acceptance": kept / generated,
            "filled": max(batch - kept, 0),
            "surplus": max(kept - batch, 0),
            **{f"dropped/{reason}": count for reason, count in dropped.items()},
        }
        for name, value in metrics.items():
            self._metrics["train"][f"dynamic_sampling/{name}"].append(value)
        self._metrics["train"]["reward_all_groups"].append(sampled.rewards_P_G.nanmean().item())
        why = ", ".join(f"{count} {DROPPED_BECAUSE[reason]}" for reason, count in dropped.items() if count)
        if kept < batch and not self._warned_short:
            self._warned_short = True
            logger.warning(
                f"Step {self.state.global_step}: only {kept} of {batch} groups are informative after sampling "
                f"{generated} ({why}). The rest is filled by refill_fallback={self.args.refill_fallback!r}; "
                "from here on the metrics under dynamic_sampling/ tell."
            )
        self._barren_batches = 0 if kept else self._barren_batches + 1
        if self._barren_batches >= self.args.refill_patience:
            raise NothingToLearnError(
                f"No informative group in {self._barren_batches} batches in a row; in the last one {generated} groups "
                f"were sampled and dropped: {why}. There is nothing to learn from. "
                f"{ADVICE[dropped.most_common(1)[0][0]]}"
            )

    def _checkpoint_state(self) -> dict[str, Any]:
        stream = self._refill_stream
        cursor = {"epoch": stream.epoch, "position": stream.position, "barren_batches": self._barren_batches}
        return super()._checkpoint_state() | cursor

    def _restore_checkpoint_state(self, state: dict[str, Any]) -> None:
        super()._restore_checkpoint_state(state)
        self._refill_stream.epoch, self._refill_stream.position = state["epoch"], state["position"]
        self._barren_batches = state["barren_batches"]
