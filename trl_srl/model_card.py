"""The SRL part of a model card, appended to the card that TRL writes."""

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .step_rows import FormattingSummary


if TYPE_CHECKING:
    from transformers import TrainerState

    from .config import SRLConfig

# Rows of the table of metrics: key in the trainer's log, what it is.
METRICS = {
    "srl/similarity": "Step similarity",
    "srl/exact_step_rate": "Exact steps",
    "srl/format_rate": "Well-formed completions",
    "reward": "Reward of the trained groups",
    "dynamic_sampling/acceptance": "Informative groups",
}


def srl_section(args: "SRLConfig", state: "TrainerState", data: FormattingSummary, model_id: str) -> str:
    """
    Markdown on what SRL did: data and what was dropped of it, settings, first and last logged metrics.

    Args:
        args ([`SRLConfig`]):
            Arguments of the run.
        state ([`~transformers.TrainerState`]):
            Where the run stands, with its log.
        data ([`FormattingSummary`]):
            What became of the training data.
        model_id (`str`):
            Name of the model, for the code that uses it.
    """
    from . import __version__

    completions = args.per_device_train_batch_size * args.world_size * args.gradient_accumulation_steps
    sampling = f"groups with a population std of rewards above {args.min_reward_std}; fallback {args.refill_fallback}"
    template = files("trl_srl").joinpath("model_card.md").read_text(encoding="utf-8")
    return template.format(
        version=__version__,
        format_penalty=args.format_penalty,
        data="; ".join(str(data).splitlines()),
        dynamic_sampling=sampling if args.dynamic_sampling else "off",
        batch=f"{completions // args.num_generations} × {args.num_generations}",
        learning_rate=args.learning_rate,
        temperature=args.temperature,
        beta=args.beta,
        steps=state.global_step,
        metrics=_metrics_table(state.log_history),
        model_id=model_id,
    )


def _metrics_table(log_history: list[dict[str, Any]]) -> str:
    logged = [entry for entry in log_history if "srl/similarity" in entry]
    if not logged:
        return "No training metrics were logged."
    rows = [
        f"| {title} | {logged[0][key]:.3f} | {logged[-1][key]:.3f} |"
        for key, title in METRICS.items()
        if isinstance(logged[0].get(key), float) and isinstance(logged[-1].get(key), float)
    ]
    steps = f"step {logged[0]['step']:.0f} | step {logged[-1]['step']:.0f}"
    return "\n".join([f"| On training prompts | {steps} |", "|---|---|---|", *rows])


def append_section(card: Path, section: str) -> None:
    """Append a section to the model card that TRL has written."""
    card.write_text(card.read_text(encoding="utf-8").rstrip() + "\n" + section, encoding="utf-8")
