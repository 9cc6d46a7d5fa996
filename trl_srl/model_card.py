"""The SRL part of a model card, appended to the card that TRL writes."""

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from .trainer import SRLTrainer

# Rows of the table of metrics: key in the trainer's log, what it is.
METRICS = {
    "srl/similarity": "Step similarity",
    "srl/exact_step_rate": "Exact steps",
    "srl/format_rate": "Well-formed completions",
    "reward": "Reward of the trained groups",
    "dynamic_sampling/acceptance": "Informative groups",
}


def srl_section(trainer: "SRLTrainer", version: str) -> str:
    """
    Markdown on what SRL did: data and what was dropped of it, settings, first and last logged metrics.

    Args:
        trainer ([`SRLTrainer`]):
            The trainer, before, in or after training.
        version (`str`):
            Version of this package.
    """
    args = trainer.args
    completions = args.per_device_train_batch_size * args.world_size * args.gradient_accumulation_steps
    sampling = f"groups with a population std of rewards above {args.min_reward_std}; fallback {args.refill_fallback}"
    return (
        files("trl_srl")
        .joinpath("model_card.md")
        .read_text(encoding="utf-8")
        .format(
            version=version,
            format_penalty=args.format_penalty,
            data="; ".join(str(trainer.formatting_summary).splitlines()),
            dynamic_sampling=sampling if args.dynamic_sampling else "off",
            batch=f"{completions // args.num_generations} × {args.num_generations}",
            learning_rate=args.learning_rate,
            temperature=args.temperature,
            beta=args.beta,
            steps=trainer.state.global_step,
            metrics=_metrics_table(trainer.state.log_history),
            model_id=trainer.hub_model_id or Path(args.output_dir).name,
        )
    )


def _metrics_table(log_history: list[dict[str, float]]) -> str:
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


def append_srl_section(trainer: "SRLTrainer") -> None:
    """Append the section to the `README.md` in the trainer's output folder."""
    from . import __version__

    card = Path(trainer.args.output_dir, "README.md")
    card.write_text(card.read_text(encoding="utf-8").rstrip() + "\n" + srl_section(trainer, __version__), "utf-8")
