"""Every rollout of a run, in Parquet files that a person or the report can read.

`<output_dir>/_rollouts/step-00000010.parquet` holds what one process sampled up to step 10 since its file before;
other processes write `step-00000010-1.parquet`, …, and an evaluation at that step `step-00000010-eval.parquet`.
Nothing is gathered: each process writes the rollouts that it trains on, and of the others those that it generated.

A file appears as a whole or not at all. One is written at each logging step and before each checkpoint, so that a run
which continues from a checkpoint finds all that came before it; what came after it is removed and made again.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from .actions import comparable, encodable
from .prompts import Completion, parse_completion


if TYPE_CHECKING:
    from datasets import Dataset

FOLDER = "_rollouts"  # transformers uploads everything in output_dir but names that begin so: these hold the data
TRAIN = "train"
SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("split", pa.string()),
        ("group", pa.int32()),
        ("refill_round", pa.int32()),
        ("problem_id", pa.string()),
        ("step_index", pa.int32()),
        ("num_steps", pa.int32()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("completion", pa.string()),
        ("monologue", pa.string()),
        ("action", pa.string()),
        ("expert_action", pa.string()),
        ("similarity", pa.float64()),
        ("verdict", pa.string()),
        ("reward", pa.float64()),
        ("advantage", pa.float64()),
        ("sampling", pa.string()),
    ]
)
_IN_MEMORY = 16 * 2**20  # bytes of rollouts that wait for the next logging step; more go to the unfinished file
_FILE = re.compile(r"step-\d{8,}(?:-.*)?\.parquet")


def rollout_row(
    *,
    step: int,
    split: str,
    row: Mapping[str, Any],
    text: str,
    truncated: bool,
    think_prefilled: bool,
    group: int,
    refill_round: int,
    reward: float,
    similarity: float | None,
    advantage: float | None,
    sampling: str | None,
) -> dict[str, Any]:
    """
    One row of the file.

    Args:
        step (`int`), split (`str`):
            Training step, and `"train"` or the evaluation.
        row (`dict`):
            The row of the dataset that it answers.
        text (`str`):
            Everything the policy wrote.
        truncated (`bool`), think_prefilled (`bool`):
            Whether it was cut off at the length limit, and whether the chat template wrote its opening think tag.
        group, refill_round (`int`):
            Which group of its step, and in which round it was sampled.
        reward (`float`):
            Weighted sum of the reward functions, NaN if none gave one.
        similarity (`float` or `None`):
            2M/T as the reward counted it; `None` or NaN if it counted none.
        advantage (`float` or `None`):
            `None` unless it is trained on.
        sampling (`str` or `None`):
            `"trained"`, `"masked"`, `"dropped"` or `"surplus"`; `None` in evaluation.

    Returns:
        `dict`: without an `expert_action` (RLVR) the columns that are read from the format are null: `monologue`,
        `action`, `expert_action`, `similarity`, and `verdict` unless the completion was cut off.
    """
    expert_action: str | None = row.get("expert_action")
    parsed, verdict = None, "truncated" if truncated else None
    if expert_action is not None:
        # As the reward compares them: an agent's actions in their canonical form.
        expert_action = comparable(expert_action.strip(), row.get("action_format"))
        parsed = parse_completion(text, think_prefilled)
        if parsed is not None:
            parsed = Completion(parsed.monologue, comparable(parsed.action, row.get("action_format")))
            verdict = "exact" if parsed.action == expert_action else "well_formed"
        verdict = verdict or "bad_format"
    return {
        "step": step,
        "split": split,
        "group": group,
        "refill_round": refill_round,
        "problem_id": None if row.get("problem_id") is None else encodable(str(row["problem_id"])),
        "step_index": row.get("step_index"),
        "num_steps": row.get("num_steps"),
        "prompt": _messages(row["prompt"]),
        "completion": encodable(text),
        "monologue": None if parsed is None else encodable(parsed.monologue),
        "action": None if parsed is None else encodable(parsed.action),
        "expert_action": None if expert_action is None else encodable(expert_action),
        "similarity": _number(similarity),
        "verdict": verdict,
        "reward": _number(reward),
        "advantage": advantage,
        "sampling": sampling,
    }


def _number(value: float | None) -> float | None:
    return None if value is None or isnan(value) else value


def _messages(prompt: str | Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """A prompt as chat messages of texts; what is no text (images, tool calls) is written as JSON."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": encodable(prompt)}]
    contents = [(message["role"], message.get("content") or "") for message in prompt]
    return [
        {
            "role": encodable(role),
            "content": encodable(text if isinstance(text, str) else json.dumps(text, default=str)),
        }
        for role, text in contents
    ]


class RolloutLog:
    """
    The rollouts of one process, on their way to files.

    Between two logging steps rows stand in an unfinished file, of which at most 16 MB are kept in memory.

    Args:
        folder (`Path`): Where the files go; made when there is something to write.
        process_index (`int`): This process among all.
    """

    def __init__(self, folder: Path, process_index: int):
        self.folder, self.process_index = folder, process_index
        self._waiting: dict[str, list[pa.Table]] = {}
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._groups: dict[str, tuple[int, int]] = {}  # split → step, groups counted in it
        self._last_step: dict[str, int] = {}  # of the rows that came last

    def _name(self, split: str) -> str:
        """End of a file's name: what is not the training of the first process is named."""
        parts = [quote(split, safe="")] if split != TRAIN else []
        return "".join(f"-{part}" for part in [*parts, *([self.process_index] if self.process_index else [])])

    def _unfinished(self, split: str) -> Path:
        return self.folder / f"unfinished{self._name(split)}.tmp"

    def count_groups(self, split: str, step: int, groups: int) -> int:
        """The number of the first of `groups` groups more that a step has sampled."""
        counted_in, first = self._groups.get(split, (step, 0))
        first = first if counted_in == step else 0
        self._groups[split] = (step, first + groups)
        return first

    def add(self, split: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take rows of [`rollout_row`]."""
        waiting = self._waiting.setdefault(split, [])
        waiting.append(pa.Table.from_pylist(rows, schema=SCHEMA))
        self._last_step[split] = rows[-1]["step"] if rows else self._last_step.get(split, 0)
        if sum(table.nbytes for table in waiting) > _IN_MEMORY:
            self._write(split)

    def _write(self, split: str) -> None:
        if split not in self._writers:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._writers[split] = pq.ParquetWriter(self._unfinished(split), SCHEMA, compression="zstd")
        self._writers[split].write_table(pa.concat_tables(self._waiting.pop(split)))

    def save(self, split: str, finished_step: int | None = None) -> None:
        """
        Finish the file of what came since the last one, named after its last step. An evaluation replaces one of the
        same step. With `finished_step` nothing is done while a later step is still going on.
        """
        last_step = self._last_step.get(split, 0)
        if finished_step is not None and last_step > finished_step:
            return
        if self._waiting.get(split):
            self._write(split)
        if split in self._writers:
            self._writers.pop(split).close()
            os.replace(self._unfinished(split), self.folder / f"step-{last_step:08d}{self._name(split)}.parquet")

    def discard(self, split: str) -> None:
        """Forget what came since the last file."""
        self._waiting.pop(split, None)
        self._groups.pop(split, None)
        if split in self._writers:
            self._writers.pop(split).close()
            self._unfinished(split).unlink(missing_ok=True)

    def remove_after(self, step: int) -> int:
        """Remove files of later steps, which a run that starts from `step` makes again. Returns how many."""
        later = [path for path in rollout_files(self.folder) if file_step(path) > step]
        for path in later:
            path.unlink(missing_ok=True)
        return len(later)


def file_step(path: Path) -> int:
    """The training step after which a rollouts file was written."""
    return int(re.split("[-.]", path.name)[1])


def rollout_files(folder: Path) -> list[Path]:
    """The finished files of a `_rollouts` folder, earliest step first."""
    files = [path for path in folder.glob("step-*.parquet") if _FILE.fullmatch(path.name)]
    return sorted(files, key=lambda path: (file_step(path), path.name))


def read_rollouts(run_dir: str | Path) -> "Dataset":
    r"""
    Every rollout that a run has written, earliest step first, the rollouts of a group beside each other.

    Args:
        run_dir (`str` or `Path`):
            The run's `output_dir`, in which [`SRLTrainer`] wrote the folder `_rollouts`.

    Returns:
        [`~datasets.Dataset`]: `step`, `split` (`"train"`, `"eval"`, or `"eval_<name>"` of a dict of evaluation sets),
        `group` (within its step), `refill_round`, `problem_id`, `step_index`, `num_steps`, `prompt`, `completion`,
        `monologue` and `action` (null if malformed), `expert_action`, `similarity` (null if malformed), `verdict`
        (`"exact"`, `"well_formed"`, `"bad_format"`, `"truncated"`: malformed and cut off), `reward`, `advantage` (null
        unless trained on), `sampling` (`"trained"`, `"masked"`, `"dropped"`, `"surplus"`; null in evaluation).

    Raises:
        `FileNotFoundError`: when there are none.

    Example:

    ```python
    from trl_srl import read_rollouts

    rollouts = read_rollouts("runs/srl").to_pandas()
    rollouts[rollouts["split"] == "train"].groupby("step")["reward"].mean()
    ```
    """
    from datasets import Dataset

    files = rollout_files(Path(run_dir, FOLDER))
    if not files:
        raise FileNotFoundError(
            f"{run_dir} has no rollouts (_rollouts/step-….parquet). Name the output_dir of a run that was trained "
            "with save_rollouts=True, which is the default."
        )
    table = pa.concat_tables([pq.read_table(file) for file in files])
    return Dataset(table.sort_by([("step", "ascending"), ("split", "descending"), ("group", "ascending")]))
