"""Results of `trl-srl evaluate` in trackers, through accelerate's."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def check_trackers(report_to: Sequence[str], folder: str | Path) -> None:
    """Raise `ValueError` for a tracker that is unknown or not installed: before the evaluation, not after it."""
    if not report_to:
        return
    from accelerate.tracking import filter_trackers

    usable = {str(tracker) for tracker in filter_trackers(list(report_to), folder)}
    if missing := [name for name in report_to if name not in usable]:
        raise ValueError(f"--report_to {' '.join(missing)}: not installed here. Write `pip install {missing[0]}`.")


def log_results(results: Mapping[str, Any], report_to: Sequence[str], project: str, folder: str | Path) -> None:
    """
    Log the metrics of an evaluation, with their intervals, as a run of its own.

    Args:
        results (`Mapping`):
            What `results.json` holds.
        report_to (`list[str]`):
            Trackers that accelerate knows: `"trackio"`, `"tensorboard"`, `"wandb"` and others.
        project (`str`):
            Name of the project.
        folder (`str` or `Path`):
            Where trackers that write files put them.
    """
    from accelerate import Accelerator

    kind = results["kind"]
    metrics = {
        f"{kind}/{name}" if part == "value" else f"{kind}/{name}/{part}": number
        for name, metric in results["metrics"].items()
        for part, number in metric.items()
    }
    # TensorBoard takes numbers, texts and truth values only.
    described = {name: results[name] for name in ("model", "dataset", "split", "trl_srl")} | {
        name: value if isinstance(value, (int, float)) else str(value) for name, value in results["settings"].items()
    }
    accelerator = Accelerator(log_with=list(report_to), project_dir=str(folder))
    accelerator.init_trackers(project, config=described)
    accelerator.log(metrics, step=0)
    accelerator.end_training()
