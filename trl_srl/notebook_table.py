"""What a notebook shows while a run goes on: rewards where transformers shows the loss.

Imported in notebooks only: `transformers.utils.notebook` needs IPython.
"""

from typing import Any

from transformers.utils.notebook import NotebookProgressCallback, NotebookTrainingTracker


COLUMNS = {
    "reward_all_groups": "Reward",
    "srl/similarity": "Similarity",
    "srl/exact_step_rate": "Exact steps",
    "srl/format_rate": "Well-formed",
    "dynamic_sampling/acceptance": "Informative groups",
}


class NotebookTable(NotebookProgressCallback):
    """
    transformers' progress bar and table in a notebook.

    The difference: the table has a run's rewards and rates, those of its evaluations beside them. GRPO's loss,
    which is about 0 whatever the model learns, is not in it.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """As [`~transformers.TrainerCallback.on_train_begin`]."""
        super().on_train_begin(args, state, control, **kwargs)
        self.training_tracker = NotebookTrainingTracker(state.max_steps)  # its columns: what is logged first

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """As [`~transformers.TrainerCallback.on_log`]."""
        self._write(state.global_step, {title: logs[name] for name, title in COLUMNS.items() if logs and name in logs})

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        """As [`~transformers.TrainerCallback.on_evaluate`]."""
        values = {
            f"{title} ({prefix})": value
            for key, value in (metrics or {}).items()
            for name, title in COLUMNS.items()
            if name.startswith("srl/") and key.endswith(f"_{name}")
            for prefix in [key.removesuffix(f"_{name}")]
        }
        self._write(state.global_step, values)
        if self.training_tracker is not None:
            self.training_tracker.remove_child()
            self._force_next_update = True
        self.prediction_bar = None

    def _write(self, step: int, values: dict[str, float]) -> None:
        if values and self.training_tracker is not None:
            self.training_tracker.write_line(
                {"Step": step} | {title: f"{value:.3f}" for title, value in values.items()}
            )
