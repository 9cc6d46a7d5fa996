"""`RecordingTrainer`: every rollout of a run is written down (rollouts.py), and its log left beside them."""

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.logging import get_logger
from transformers.trainer import TRAINER_STATE_NAME

from .publishing import PublishingTrainer
from .rollouts import FOLDER, TRAIN, RolloutLog, rollout_row
from .selection import TRAINED


logger = get_logger(__name__)


class Rollout(NamedTuple):
    """One scored completion with the row it answers, as it travels between processes."""

    row: dict[str, Any]
    prompt_ids: list[int]
    completion_ids: list[int]
    completion: Any
    logprobs: list[float] | None
    extra: dict[str, Any]


class Sampling(NamedTuple):
    """What was sampled for one batch, as far as this process writes it down. A place counts everything sampled."""

    rollouts: dict[int, Rollout]  # by place
    positions: dict[int, int]  # place → position in this process's part of the batch that is trained on
    rewards_N: list[float]  # of all processes
    sampling_P: Sequence[str | None]
    round_starts: list[int]  # places
    num_generations: int


class RecordingTrainer(PublishingTrainer):
    """
    [`PublishingTrainer`] that keeps what it sampled.

    The difference: rollouts are written with their rewards to `<output_dir>/_rollouts` at each logging step and before
    each checkpoint, and `trainer_state.json`, the log, to `output_dir` when the training ends, however it ends. A
    reward function that fails is named, and an infinite reward counts as none. A subclass that samples more than it
    trains on says so in `_sampling`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._evaluating: str | None = None  # prefix of the metrics, while an evaluation runs
        self._rollout_log = RolloutLog(Path(self.args.output_dir, FOLDER), self.accelerator.process_index)
        self._starting = False
        self._scored: tuple | None = None  # completion ids, rewards and extra columns of the last batch scored
        self._warned_infinite = False

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As [`~transformers.Trainer.train`]."""
        self._starting = True
        try:
            return super().train(*args, **kwargs)
        finally:  # a run that failed is one to look at
            self._rollout_log.save(TRAIN)
            if self.state.log_history:
                self.save_state()

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """As in TRL; the first one takes away what an earlier run has left of the steps that this one makes."""
        if self._starting:
            self._starting = False
            self._clear_later_steps()
        return super().training_step(*args, **kwargs)

    def _clear_later_steps(self) -> None:
        Path(self.args.output_dir, TRAINER_STATE_NAME).unlink(missing_ok=True)  # written anew when this run ends
        if removed := self._rollout_log.remove_after(self.state.global_step):
            logger.warning(
                f"Removed {removed} rollouts files of later steps from {self._rollout_log.folder}: this run starts "
                f"from step {self.state.global_step} and makes its own."
            )

    def _save_finished_rollouts(self) -> None:
        self._rollout_log.save(TRAIN, finished_step=self.state.global_step)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._save_finished_rollouts()  # a run that continues from it finds them
        super()._save_checkpoint(model, trial)

    def _decode(self, completion_ids: list[list[int]]) -> list[str]:
        """
        The text that was generated, with special tokens but for those that end or pad it.

        TRL's completions have lost special tokens, `<think>` among them for some tokenizers, or have had their
        monologue moved by the tokenizer's response template.
        """
        enders = {*self.eos_token_ids, self._tokenizer.pad_token_id}
        stripped = []
        for ids in completion_ids:
            end = len(ids)
            while end and ids[end - 1] in enders:
                end -= 1
            stripped.append(ids[:end])
        return self._tokenizer.batch_decode(stripped, skip_special_tokens=False)

    def _is_truncated(self, completion_ids: list[int]) -> bool:
        return not completion_ids or completion_ids[-1] not in self.eos_token_ids

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """
        As in TRL; the rollouts of finished steps are written to their file. Of several evaluation sets,
        each has metrics of its own name, those of TRL too: `eval_<name>_reward`.
        """
        if self._evaluating is not None and self._evaluating.startswith("eval_"):
            # TRL writes `eval_` before every name, whatever the prefix of the evaluation is.
            name = self._evaluating.removeprefix("eval_")
            renamed = {f"{name}_{key}": values for key, values in self._metrics["eval"].items()}
            self._metrics["eval"].clear()
            self._metrics["eval"].update(renamed)
        super().log(logs, start_time)
        self._save_finished_rollouts()

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """As [`~transformers.Trainer.evaluate`]; its rollouts get a file of their own."""
        outer, self._evaluating = self._evaluating, metric_key_prefix
        self._rollout_log.discard(metric_key_prefix)
        try:
            metrics = super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        finally:
            self._evaluating = outer
        self._rollout_log.save(metric_key_prefix)
        return metrics

    def _extra_columns(self, rows: int) -> dict[str, list]:
        """What reward functions logged for each of `rows` rollouts."""
        return {name: list(values) for name, values in self._pending_extra_logs.items() if len(values) == rows}

    def _weigh(self, rewards_N_F: torch.Tensor) -> torch.Tensor:
        """The reward of each rollout, shape (N,), as TRL weighs the functions: NaN if none gave a number."""
        rewards_N = (rewards_N_F * self.reward_weights.to(rewards_N_F.device)).nansum(1)
        rewards_N[rewards_N_F.isnan().all(1)] = torch.nan
        return rewards_N

    def _calculate_rewards(
        self, inputs: list, prompts: list, completions: list, completion_ids_list: list
    ) -> torch.Tensor:
        try:
            rewards_N_F = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        except Exception as error:
            error.add_note(
                f"This happened while {', '.join(self.reward_func_names)} scored {len(completions)} completions at "
                f"step {self.state.global_step}. A reward function returns a list with one number, or None, for each."
            )
            raise
        infinite = rewards_N_F.isinf()
        if infinite.any():
            # An advantage of inf - inf is NaN, and of finite - inf a number without meaning.
            if not self._warned_infinite:
                self._warned_infinite = True
                names = [n for n, i in zip(self.reward_func_names, infinite.any(0).tolist(), strict=True) if i]
                logger.warning(
                    f"Infinite rewards from {', '.join(names)} at step {self.state.global_step}: those completions "
                    "are left out, as if every reward function had returned None. This is said once."
                )
            rewards_N_F = rewards_N_F.masked_fill(infinite.any(1, keepdim=True), torch.nan)
        self._scored = (completion_ids_list, rewards_N_F, self._extra_columns(len(inputs)))
        return rewards_N_F

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        if self.args.save_rollouts:
            self._record(self._sampling(inputs), output["advantages"])
        return output

    def _sampling(self, inputs: list[dict[str, Any]]) -> Sampling:
        """What was sampled for the batch that TRL has just finished: all of it is in the batch."""
        if self._scored is None:
            raise RuntimeError(
                "A batch was finished without this class's _calculate_rewards, so its rewards are not known here. "
                "Call it with super(), or set save_rollouts=False."
            )
        (completion_ids, rewards_N_F, extra), self._scored = self._scored, None
        first = self.accelerator.process_index * len(inputs)
        rollouts = {
            first + i: Rollout(row, [], ids, None, None, {name: values[i] for name, values in extra.items()})
            for i, (row, ids) in enumerate(zip(inputs, completion_ids, strict=True))
        }
        training = self.model.training
        num_generations = self.num_generations if training else self.num_generations_eval
        groups = -(-len(rewards_N_F) // num_generations)
        return Sampling(
            rollouts=rollouts,
            positions={first + i: i for i in range(len(inputs))} if training else {},
            rewards_N=self._weigh(rewards_N_F).tolist(),
            sampling_P=[TRAINED if training else None] * groups,
            round_starts=[0],
            num_generations=num_generations,
        )

    def _record(self, sampling: Sampling, advantages: torch.Tensor) -> None:
        """Hand what this process sampled to the rollouts file, with the advantages of what it trains on."""
        split = TRAIN if self.model.training else self._evaluating
        if split is None:
            return  # `predict` has nowhere to write to
        # A step is counted when it is done; its rollouts are sampled before. An evaluation follows its step.
        step = self.state.global_step + (split == TRAIN)
        ids = [rollout.completion_ids for rollout in sampling.rollouts.values()]
        first_group = self._rollout_log.count_groups(split, step, len(sampling.sampling_P))
        rows, advantage_of = [], advantages.tolist()
        for (place, rollout), text in zip(sampling.rollouts.items(), self._decode(ids), strict=True):
            group = place // sampling.num_generations
            became = sampling.sampling_P[group]
            rows.append(
                rollout_row(
                    step=step,
                    split=split,
                    row=rollout.row,
                    text=text,
                    truncated=self._is_truncated(rollout.completion_ids),
                    think_prefilled=self.think_prefilled,
                    group=first_group + group,
                    refill_round=bisect_right(sampling.round_starts, place) - 1,
                    reward=sampling.rewards_N[place],
                    similarity=rollout.extra.get("similarity"),
                    advantage=advantage_of[sampling.positions[place]] if became == TRAINED else None,
                    sampling=became,
                )
            )
        self._rollout_log.add(split, rows)
