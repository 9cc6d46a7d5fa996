"""`ResumableTrainer`: TRL's GRPOTrainer, continued after a kill as if nothing had happened.

A checkpoint is marked complete when all of it is written (interruptions.py), holds the rollouts that a generation has
left, and is only ever resumed from when it is whole. SIGTERM leaves one behind.
"""

from pathlib import Path
from typing import Any

import torch
from accelerate.logging import get_logger
from accelerate.utils import broadcast_object_list
from torch.utils.data import Sampler
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_jit_checkpoint import JITCheckpointCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput, rotate_checkpoints
from trl.trainer.utils import RepeatSampler

from .adapter_training import AdapterTrainer
from .interruptions import SaveOnSigterm, choose_checkpoint, mark_complete, mark_incomplete, read_marker


logger = get_logger(__name__)


class ResumableTrainer(AdapterTrainer):
    """
    [`AdapterTrainer`] whose runs survive interruptions.

    The difference: a run that was killed continues from its newest complete checkpoint exactly, SIGTERM saves such a
    checkpoint and ends the training, and a half-written one is never picked up. Nothing else is changed. A subclass
    adds what it has to remember in `_checkpoint_state` and `_restore_checkpoint_state`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._train_sampler: Sampler | None = None
        if theirs := self.pop_callback(JITCheckpointCallback):  # `enable_jit_checkpoint`; see SaveOnSigterm
            theirs.on_train_end(self.args, self.state, self.control)  # gives the signal back
        self._on_sigterm = SaveOnSigterm(self.accelerator)
        self.add_callback(self._on_sigterm)

    @property
    def interrupted(self) -> bool:
        """Whether the last `train()` was ended by SIGTERM, with a checkpoint, before its last step."""
        return self._on_sigterm.stopped and self.state.global_step < self.state.max_steps

    def train(self, resume_from_checkpoint: str | Path | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """
        As [`~transformers.Trainer.train`]. Resumes from complete checkpoints only: `resume_from_checkpoint=True` takes
        the newest one. SIGTERM saves a checkpoint at the end of the step and ends the training ([`interrupted`]).
        """
        checkpoint = self.find_checkpoint(resume_from_checkpoint)
        if checkpoint and self._is_at_the_end(checkpoint):
            return TrainOutput(self.state.global_step, 0.0, {})
        with self._on_sigterm.listening():
            output = super().train(checkpoint, *args, **kwargs)
        if self.interrupted:
            logger.warning(
                f"SIGTERM: stopped after step {self.state.global_step} of {self.state.max_steps}, with a checkpoint. "
                "resume_from_checkpoint=True continues."
            )
        return output

    def find_checkpoint(self, wanted: str | Path | bool | None) -> str | None:
        """
        The complete checkpoint to resume from, on every process the one that the main process sees.

        Args:
            wanted (`str` or `Path` or `bool` or `None`):
                Its folder, `True` for the newest complete one in `args.output_dir`, or nothing for none.

        Returns:
            `str` or `None`: its folder. Warns of incomplete ones that were passed over.

        Raises:
            `ValueError`: if the checkpoint named is not complete, or none is.
        """
        if not wanted:
            return None
        found, message = broadcast_object_list(list(choose_checkpoint(wanted, Path(self.args.output_dir))))
        if found is None:
            raise ValueError(message)
        if message:
            logger.warning(message)
        return str(found)

    def _is_at_the_end(self, checkpoint: str) -> bool:
        """
        Whether nothing is left to train after a checkpoint; its state and weights, or the best one's, are loaded then.
        transformers would make one step more.
        """
        state = TrainerState.load_from_json(str(Path(checkpoint, TRAINER_STATE_NAME)))
        if not 0 < self.args.max_steps <= state.global_step or self.is_deepspeed_enabled or self.is_fsdp_enabled:
            return False
        best = state.best_model_checkpoint if self.args.load_best_model_at_end else None
        self._load_from_checkpoint(best or checkpoint)
        self.state = state
        self._restore(checkpoint)
        logger.warning(
            f"{checkpoint} is after step {state.global_step} of {self.args.max_steps}: nothing is left to train."
        )
        return True

    def _checkpoint_state(self) -> dict[str, Any]:
        """What a subclass has to remember, as JSON."""
        return {}

    def _restore_checkpoint_state(self, state: dict[str, Any]) -> None:
        """Take up what [`_checkpoint_state`] returned when the checkpoint was written."""

    def _get_train_sampler(self, dataset: Any = None) -> Sampler:
        self._train_sampler = super()._get_train_sampler(dataset)
        return self._train_sampler

    def _rollouts_file(self) -> str:
        """Rollouts that a checkpoint between two generations has to keep, for each process its own."""
        return f"rollouts_{self.accelerator.process_index}_of_{self.accelerator.num_processes}.pt"

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        run_dir = self._get_output_dir(trial=trial)
        folder = Path(run_dir, f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")
        if self.args.should_save:
            mark_incomplete(folder)  # an earlier run may have left a complete one here
        # Uploads, and the deletion of older checkpoints, wait until this one is complete.
        limit, push = self.args.save_total_limit, self.args.push_to_hub
        self.args.save_total_limit, self.args.push_to_hub = None, False
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit, self.args.push_to_hub = limit, push
        if not self.args.save_only_model:
            (folder / self._rollouts_file()).unlink(missing_ok=True)
            if self._step % (self.args.steps_per_generation * self.num_iterations):
                torch.save(self._buffered_inputs, folder / self._rollouts_file())
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            torch.save(self.args, folder / TRAINING_ARGS_NAME)  # as they are again
            mark_complete(folder, self._checkpoint_state() | {"step": self._step})
            rotate_checkpoints(run_dir, limit, self.state.best_model_checkpoint, use_mtime=True)
        if push:
            self._push_from_checkpoint(str(folder))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        self._restore(checkpoint)
        rollouts = Path(checkpoint, self._rollouts_file())
        if rollouts.exists():
            self._buffered_inputs = torch.load(rollouts, map_location=self.accelerator.device, weights_only=True)
        if isinstance(self._train_sampler, RepeatSampler) and self._train_sampler.shuffle:
            for _ in range(int(self.state.epoch)):
                next(iter(self._train_sampler))  # TRL's sampler shuffles each epoch anew, with a generator of its own

    def _restore(self, checkpoint: str) -> None:
        # Only the main process's disk must have the marker.
        here = read_marker(Path(checkpoint)) if self.accelerator.is_main_process else None
        (state,) = broadcast_object_list([here])
        self._restore_checkpoint_state(state)
        self._step = state["step"]
