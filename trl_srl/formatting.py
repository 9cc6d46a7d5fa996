"""Expert trajectories → step rows, the data that `SRLTrainer` eats.

A *trajectory row* is what users bring: `problem` (or `prompt`) and `steps`, or TRL's stepwise type (`prompt`,
`completions`, and perhaps `labels`). step_rows.py shows what it becomes.

Nothing is lost silently: every trajectory and every row that is not used is counted under a reason.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from .expansion import Options, expand_trajectory, is_agent
from .prompts import Message
from .step_rows import FormattingSummary, column_names, map_rows, refuse_step_rows, require_rows


if TYPE_CHECKING:
    from datasets import Dataset, Features, IterableDataset

    DatasetT = TypeVar("DatasetT", Dataset, IterableDataset)


INTERNAL = ("trajectory_id", "omitted_steps", "drop_reason", "skipped_turns", "cut_observations")
COUNTED = ("problem_id", "step_index", *INTERNAL)


def _has_actions(stream: "IterableDataset") -> bool:
    """Whether the steps of a stream are an agent's. Rows without steps say nothing, so that some are asked."""
    for row in islice(stream, 100):
        if row.get("steps"):
            return is_agent(row["steps"])
    return False


def step_row_features(without: Iterable[str] = ()) -> "Features":
    """Types of the columns of step rows, the internal ones included."""
    from datasets import Features, Value

    # Given explicitly: a first batch without an answer or a dropped row must not decide the types.
    features = {
        "prompt": [{"role": Value("string"), "content": Value("string")}],
        "expert_action": Value("string"),
        "problem_id": Value("string"),
        "step_index": Value("int32"),
        "num_steps": Value("int32"),
        "answer": Value("string"),
        "trajectory_id": Value("string"),
        "omitted_steps": Value("int32"),
        "drop_reason": Value("string"),
        "action_format": Value("string"),
        "skipped_turns": Value("int32"),
        "cut_observations": Value("int32"),
    }
    return Features({name: kind for name, kind in features.items() if name not in without})


def format_trajectories(
    dataset: "DatasetT",
    *,
    include_last_step: bool = False,
    title_hint: bool = False,
    system_prompt: str | None = None,
    history_window: int = 2,
    max_prompt_length: int | None = None,
    count_tokens: Callable[[list[Message]], int] | None = None,
    num_proc: int | None = None,
) -> "tuple[DatasetT, FormattingSummary]":
    r"""
    Turn expert trajectories into step rows: one row for each step to learn.

    Source: section 3 of the SRL paper. A solution of N steps gives the targets 1 … N-1, each with the problem and the
    expert's steps before it as context; read literally, the paper never learns the last step.

    Args:
        dataset ([`~datasets.Dataset`] or [`~datasets.IterableDataset`]):
            Trajectory rows: `problem` (text) or `prompt` (text or chat messages); `steps` (texts, or `{"title",
            "body"}`, or an agent's `{"action", "observation"}`) or TRL's `completions`; optional `labels` (only
            trajectories all of whose labels are true are used), `answer` (kept for evaluation), `action_format` (of an
            agent's actions; found out without) and `drop_reason` (of rows to drop). [`adapt`] makes such rows of many
            data sets. Other columns are not carried into the step rows.
        include_last_step (`bool`, *optional*, defaults to `False`):
            Whether the last step of a solution is a target too. Of an agent's actions all are.
        title_hint (`bool`, *optional*, defaults to `False`):
            Whether a titled step's title stands in the prompt and only its body is the target (footnote 1).
        system_prompt (`str`, *optional*):
            Replaces our system prompt.
        history_window (`int`, *optional*, defaults to `2`):
            How many of an agent's last actions, with their observations, are in the prompt (the paper's number).
        max_prompt_length (`int`, *optional*):
            Limit in tokens of a rendered prompt. Whole earlier steps are left out, oldest first, never the problem.
        count_tokens (`Callable[[list[dict]], int]`, *optional*):
            Counts the tokens of a prompt's messages; needed with `max_prompt_length`.
        num_proc (`int`, *optional*):
            Processes for a map-style dataset.

    Returns:
        `tuple`: the step rows (`prompt`, `expert_action`, `problem_id`, `step_index` from zero, `num_steps`, `answer`,
        and an agent's `action_format`) as the same kind of dataset, and a [`FormattingSummary`]. Problem ids depend on
        the problem's text alone. In a stream duplicates are not looked for: that would need to remember all of it.

    Raises:
        `ValueError`: when columns are missing or the dataset is empty; `TypeError`: when a step is not a text.

    Example:

    ```python
    >>> from datasets import Dataset
    >>> from trl_srl import format_trajectories
    >>> expert = {"problem": "What is 2 · 3 + 1?", "steps": ["2 · 3 = 6", "6 + 1 = 7", "The answer is 7."]}
    >>> rows, summary = format_trajectories(Dataset.from_list([expert]))
    >>> rows["expert_action"][:]
    ['2 · 3 = 6', '6 + 1 = 7']
    >>> print(summary)
    2 step rows from 1 problems

    ```
    """
    from datasets import Dataset

    options = Options(include_last_step, title_hint, system_prompt, history_window, max_prompt_length, count_tokens)
    refuse_step_rows(dataset)
    columns = column_names(dataset)
    expand = partial(expand_trajectory, options=options)
    rows = map_rows(dataset, expand, step_row_features(), "Formatting step rows", num_proc)
    internal = list(INTERNAL)
    if "answer" not in columns:
        internal.append("answer")
    summary = FormattingSummary()
    # Counted in this process, after the map: counts made inside it would be lost with `num_proc` and with the cache.
    if isinstance(rows, Dataset):
        counted = (rows[name][:] for name in COUNTED)
        rows = rows.select(kept_places(zip(*counted, strict=True), summary, set()))
        require_rows(rows, dataset, summary)
        has_actions = any(rows["action_format"][:])
    else:
        has_actions = _has_actions(dataset)
        rows = rows.filter(summary.count_formatted)
    if "action_format" not in columns and not has_actions:
        internal.append("action_format")
    return rows.remove_columns(internal), summary


def kept_places(rows: Iterable[tuple], summary: FormattingSummary, seen: set[int]) -> list[int]:
    """
    Places of the rows to keep: usable, and not of a trajectory that was seen before.

    Args:
        rows (`Iterable[tuple]`):
            The columns `COUNTED` of each row, trajectory by trajectory.
        summary ([`FormattingSummary`]):
            Counts every row.
        seen (`set[int]`):
            Digests of the trajectories before these rows. It grows: about 100 bytes for each trajectory.
    """
    kept, last, is_duplicate = [], ("", 0), False
    for place, (problem, step, trajectory, omitted, reason, skipped, cut) in enumerate(rows):
        if trajectory and (trajectory != last[0] or step <= last[1]):  # the first row of a trajectory
            number = int(trajectory, 16)
            is_duplicate = number in seen
            seen.add(number)
        last = (trajectory, step)
        if summary.count(reason or ("duplicate" if is_duplicate else ""), problem, omitted > 0, skipped, cut):
            kept.append(place)
    return kept
