"""What a training run has left in its folder: rollouts files and the trainer's log."""

import json
from pathlib import Path
from typing import Any, NamedTuple


TRAINER_STATE = "trainer_state.json"


class RunFolder(NamedTuple):
    """
    Attributes:
        path (`Path`): The run's `output_dir`.
        rollouts (`list[Path]`): Its rollouts files, earliest step first.
        log (`list[dict]`): `trainer.state.log_history`; empty if the run left none.
    """

    path: Path
    rollouts: list[Path]
    log: list[dict[str, Any]]


def read_log(run_dir: Path) -> list[dict[str, Any]]:
    """
    The trainer's log: of `trainer_state.json`, which our trainers write when a run ends, or else of the newest
    checkpoint.
    """
    checkpoints = [(path, path.name.removeprefix("checkpoint-")) for path in run_dir.glob("checkpoint-*")]
    newest_first = sorted((path for path, step in checkpoints if step.isdecimal()), key=_step, reverse=True)
    for folder in (run_dir, *newest_first):
        if (folder / TRAINER_STATE).is_file():
            try:
                return json.loads((folder / TRAINER_STATE).read_text(encoding="utf-8"))["log_history"]
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise ValueError(f"{folder / TRAINER_STATE} is not a trainer's state: {error!r}.") from error
    return []


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def find_run(run_dir: str | Path) -> RunFolder:
    """
    Look for a run in a folder, or in its only subfolder that holds one (the demo writes to `model/`).

    Raises:
        `FileNotFoundError`: when there is neither a rollouts file nor a log.
    """
    from .rollouts import FOLDER, rollout_files

    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise FileNotFoundError(f"There is no folder {run_dir}. Name the output_dir of a training run.")
    below = sorted(path.parent for path in run_dir.glob(f"*/{FOLDER}"))
    for folder in [run_dir, *(below if len(below) == 1 else [])]:
        run = RunFolder(folder, rollout_files(folder / FOLDER), read_log(folder))
        if run.rollouts or run.log:
            return run
    several = f" {len(below)} runs are below it: {', '.join(map(str, below))}." if below else ""
    raise FileNotFoundError(
        f"{run_dir} has neither rollouts (_rollouts/step-….parquet) nor a log (trainer_state.json, also in "
        f"checkpoints).{several} Name the output_dir of one training run."
    )
