"""`PublishingTrainer`: a model card that tells of the whole run."""

from functools import cached_property
from pathlib import Path
from typing import Any

from accelerate.logging import get_logger
from transformers import ProgressCallback
from transformers.utils import is_in_notebook

from .model_card import (
    TrainingClock,
    collect_facts,
    count_parameters,
    describe_hardware,
    read_evaluations,
    write_card,
    write_facts,
)
from .resuming import ResumableTrainer
from .terminal import LineProgress, results_table, results_text, show
from .training_log import duration, summarize_log


logger = get_logger(__name__)


class PublishingTrainer(ResumableTrainer):
    """
    [`ResumableTrainer`] with a model card worth publishing.

    The difference: the card that TRL writes (with each checkpoint and each push) also says what was trained on which
    data, how long on which hardware, with curves and evaluations, and how to prompt the model; it is written by
    `save_model` too. Beside it stand `training_facts.json` and `trainer_state.json`, from which `trl-srl card` writes
    it again. While it runs, a terminal shows one line for each logging step, a notebook a table of rewards and rates,
    and at the end both show what changed.

    Attributes:
        dataset_name (`str`, *optional*):
            Hub id or path of the training data, for the cards that TRL writes without asking.
        first_stage (`str`, *optional*):
            Output folder of the run that this one continues, if the model's own configuration does not lead there
            (an adapter that is trained further).
        started_from (`str`, *optional*):
            Digest of what that run has left, in each checkpoint: another result of it must not be continued by them.
        first_prompt (`list[dict]` or `str`, *optional*):
            The prompt of the first training row. A stream is read once to find it.
        think_prefilled (`bool`):
            Whether the chat template opens the think block, which the completion then does not.
    """

    think_prefilled = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dataset_name: str | None = None
        self.first_stage: str | None = None
        self.started_from: str | None = None
        # Now, for FSDP will show each process its share only.
        self.num_parameters, self.num_trainable_parameters = count_parameters(self.model)
        self.clock = TrainingClock(describe_hardware(self.accelerator.device, self.accelerator.num_processes))
        self.add_callback(self.clock)
        if is_in_notebook():
            from transformers.utils.notebook import NotebookProgressCallback

            from .notebook_table import NotebookTable

            if self.pop_callback(NotebookProgressCallback) is not None:
                self.add_callback(NotebookTable)
        elif self.pop_callback(ProgressCallback) is not None:
            self.add_callback(LineProgress)

    @cached_property
    def first_prompt(self) -> Any:
        return (next(iter(self.train_dataset), None) or {}).get("prompt")

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As [`~transformers.Trainer.train`], with a table of the metrics at the beginning and at the end."""
        output = super().train(*args, **kwargs)
        changes = summarize_log(self.state.log_history)
        # Who turns off the progress bars wants no tables either.
        if changes and self.accelerator.is_main_process and not self.args.disable_tqdm:
            seconds = sum(part["seconds"] for part in self.clock.parts(self.state.global_step))
            title = f"Training: {self.state.global_step:,} steps in {duration(seconds)}"
            show(results_table(changes, title), results_text(changes, title))
        return output

    def _checkpoint_state(self) -> dict[str, Any]:
        own = {"parts": self.clock.parts(self.state.global_step), "started_from": self.started_from}
        return super()._checkpoint_state() | own

    def _restore_checkpoint_state(self, state: dict[str, Any]) -> None:
        super()._restore_checkpoint_state(state)
        self.clock.earlier = state.get("parts", [])  # checkpoints of version 0.1.0 have none

    def create_model_card(
        self, model_name: str | None = None, dataset_name: str | None = None, tags: str | list[str] | None = None
    ) -> None:
        """As in TRL, with all that TRL does not know of the run. `dataset_name` may be a Hub id or a path."""
        self.dataset_name = dataset_name or self.dataset_name
        if not self.is_world_process_zero():
            return
        facts = collect_facts(self, dataset_name=self.dataset_name, model_name=model_name)
        super().create_model_card(facts["name"], facts["dataset_on_hub"], tags)
        write_facts(facts, self.args.output_dir)
        self.save_state()
        try:
            evaluations = read_evaluations(self.args.output_dir)
        except ValueError as error:  # a broken file of another command must not end a run
            logger.warning(f"The model card is written without evaluations: {error}")
            evaluations = []
        write_card(self.args.output_dir, evaluations)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As [`~transformers.Trainer.save_model`]; in the run's own folder with the model card."""
        super().save_model(output_dir, _internal_call)
        # PEFT has then put its own facts into the card's metadata, a local path as the base model among them.
        if not _internal_call and Path(output_dir or self.args.output_dir) == Path(self.args.output_dir):
            self.create_model_card()
