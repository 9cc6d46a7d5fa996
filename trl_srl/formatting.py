"""Expert trajectories → step rows, the data that `SRLTrainer` eats.

A *trajectory row* is what users bring: `problem` (or `prompt`) and `steps`, or TRL's stepwise type (`prompt`,
`completions`, and perhaps `labels`). A *step row* is one training instance:

    {"prompt": [{"role": "system", …}, {"role": "user", "content": "Problem:\\n…\\n\\nSolution so far:\\n…"}],
     "expert_action": "6 + 1 = 7", "problem_id": "8a2f…", "step_index": 1, "num_steps": 3, "answer": "7"}

Nothing is lost silently: every trajectory and every row that is not used is counted under a reason.
"""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .prompts import Message, build_prompt, gold_completion, parse_completion
from .trajectories import Step, build_step


if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features, IterableDataset

    DatasetT = TypeVar("DatasetT", Dataset, IterableDataset)

DROP_REASONS = {
    "empty_problem": "trajectories whose problem is empty",
    "too_few_steps": "trajectories without a step to learn (by default the last step is never a target)",
    "empty_step": "trajectories with an empty step",
    "wrong_label": "trajectories with a step labelled as wrong",
    "duplicate": "step rows of a trajectory that was seen before",
    "think_tag_in_step": "step rows whose expert action contains a think tag",
    "empty_action": "step rows whose expert action is empty",
    "title_only": "step rows whose step is only a title, which `title_hint` gives away",
    "prompt_too_long": "step rows that `max_prompt_length` does not fit, even without earlier steps",
}


@dataclass
class FormattingSummary:
    """
    What became of the data. For a stream it grows while the stream is read, and a second pass counts again.

    Attributes:
        rows (`int`): Step rows kept.
        problems (`set[str]`): Ids of the problems that have a step row.
        trimmed (`int`): Kept rows whose prompt leaves out earlier steps to fit `max_prompt_length`.
        dropped (`Counter[str]`): Count for each reason of `DROP_REASONS`; what is counted, the reason's text says.
    """

    rows: int = 0
    problems: set[str] = field(default_factory=set)
    trimmed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        lines = [f"{self.rows:,} step rows from {len(self.problems):,} problems"]
        if self.trimmed:
            lines.append(f"{self.trimmed:,} of them leave out earlier steps to fit the length limit")
        lines += [f"dropped {n:,} {DROP_REASONS[reason]} [{reason}]" for reason, n in sorted(self.dropped.items())]
        return "\n".join(lines)

    def count(self, drop_reason: str, problem_id: str, trimmed: bool = False) -> bool:
        """Count one row and say whether it is kept."""
        if drop_reason:
            self.dropped[drop_reason] += 1
            return False
        self.rows += 1
        self.problems.add(problem_id)
        self.trimmed += trimmed
        return True

    def count_formatted(self, row: Mapping[str, Any]) -> bool:
        return self.count(row["drop_reason"], row["problem_id"], row["omitted_steps"] > 0)


class _Options(NamedTuple):
    include_last_step: bool = False
    title_hint: bool = False
    system_prompt: str | None = None
    max_prompt_length: int | None = None
    count_tokens: Callable[[list[Message]], int] | None = None


def _digest(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.strip().encode("utf-8", "surrogatepass")).hexdigest()[:16]


def column_names(dataset: "Dataset | IterableDataset") -> list[str]:
    """Column names; a stream that does not know them is asked for its first row."""
    names = dataset.column_names or list(next(iter(dataset), {}))
    if not names:
        raise ValueError("The dataset is empty: there is nothing to learn from. Check the path and the split.")
    return names


def is_step_rows(dataset: "Dataset | IterableDataset") -> bool:
    """Whether a dataset holds step rows; raises `ValueError` if it holds neither step rows nor trajectory rows."""
    columns = set(column_names(dataset))
    if columns >= {"prompt", "expert_action"}:
        return True
    if not columns & {"problem", "prompt"} or not columns & {"steps", "completions"}:
        raise ValueError(
            f"Cannot find expert trajectories in the columns {sorted(columns)}. Needed: `problem` (a text) or "
            "`prompt` (a text or chat messages), and `steps` (a list of texts, or of {'title', 'body'}) or "
            "`completions` (TRL's stepwise type); or ready step rows with `prompt` and `expert_action`. Rename your "
            "columns with `dataset.rename_columns`; cut a solution that is one text with trl_srl.split_solutions, or "
            "with `trl-srl prepare --solution_column`."
        )
    return False


def _fit_prompt(problem: str | list[Message], earlier: Sequence[Step], title: str, options: _Options) -> tuple:
    """The prompt with as many of the latest steps as fit, and how many it leaves out; (None, _) if none fits."""
    for omitted in range(len(earlier) + 1):
        prompt = build_prompt(
            problem,
            [step.text for step in earlier[omitted:]],
            next_title=title,
            omitted_steps=omitted,
            system_prompt=options.system_prompt,
        )
        if options.max_prompt_length is None or options.count_tokens is None:
            return prompt, 0
        if options.count_tokens(prompt) <= options.max_prompt_length:
            return prompt, omitted
    return None, len(earlier)


def _step_rows(row: Mapping[str, Any], options: _Options) -> Iterator[dict[str, Any]]:
    """The step rows of one trajectory, unusable ones included: those carry a `drop_reason`."""
    problem = row["problem"] if row.get("problem") is not None else row.get("prompt")
    raw_steps = row["steps"] if row.get("steps") is not None else row.get("completions")
    labels = row.get("labels")
    answer = row.get("answer")
    blank = {
        "prompt": [],
        "expert_action": "",
        "problem_id": _digest(problem or ""),
        "step_index": 0,
        "num_steps": 0,
        "answer": None if answer is None else str(answer),
        "trajectory_id": "",
        "omitted_steps": 0,
        "drop_reason": "",
    }
    if not problem or (isinstance(problem, str) and not problem.strip()):
        yield blank | {"drop_reason": "empty_problem"}
        return
    try:
        steps = [build_step(step) for step in raw_steps or []]
    except TypeError as error:
        raise TypeError(f"{error} (in the trajectory of the problem {str(problem)[:80]!r})") from error
    num_targets = len(steps) if options.include_last_step else len(steps) - 1
    reason = ""
    if labels is not None and not all(labels):
        reason = "wrong_label"
    elif num_targets < 1:
        reason = "too_few_steps"
    elif not all(step.text.strip() for step in steps):
        reason = "empty_step"
    if reason:
        yield blank | {"drop_reason": reason}
        return
    common = blank | {"trajectory_id": _digest([problem, [step.text for step in steps]]), "num_steps": len(steps)}
    for index, step in enumerate(steps[:num_targets]):
        title = step.title if options.title_hint else ""
        action = (step.body if title else step.text).strip()
        prompt, omitted = _fit_prompt(problem, steps[:index], title, options)
        if not action:
            reason = "title_only"
        elif parse_completion(gold_completion(action)) is None:  # the gold would not score 1.0
            reason = "think_tag_in_step"
        elif prompt is None:
            reason = "prompt_too_long"
        else:
            reason = ""
        yield common | {
            "prompt": prompt or [],
            "expert_action": action,
            "step_index": index,
            "omitted_steps": omitted,
            "drop_reason": reason,
        }


def _expand_batch(batch: Mapping[str, list[Any]], options: _Options) -> dict[str, list[Any]]:
    trajectories = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    rows = [row for trajectory in trajectories for row in _step_rows(trajectory, options)]
    return {name: [row[name] for row in rows] for name in _features()}


def _features() -> "Features":
    from datasets import Features, Value

    # Given explicitly: a first batch without an answer or a dropped row must not decide the types.
    return Features(
        {
            "prompt": [{"role": Value("string"), "content": Value("string")}],
            "expert_action": Value("string"),
            "problem_id": Value("string"),
            "step_index": Value("int32"),
            "num_steps": Value("int32"),
            "answer": Value("string"),
            "trajectory_id": Value("string"),
            "omitted_steps": Value("int32"),
            "drop_reason": Value("string"),
        }
    )


def format_trajectories(
    dataset: "DatasetT",
    *,
    include_last_step: bool = False,
    title_hint: bool = False,
    system_prompt: str | None = None,
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
            "body"}`) or TRL's `completions`; optional `labels` (only trajectories all of whose labels are true are
            used) and `answer` (kept for evaluation). Other columns are not carried into the step rows.
        include_last_step (`bool`, *optional*, defaults to `False`):
            Whether the last step is a target too.
        title_hint (`bool`, *optional*, defaults to `False`):
            Whether a titled step's title stands in the prompt and only its body is the target (footnote 1).
        system_prompt (`str`, *optional*):
            Replaces our system prompt.
        max_prompt_length (`int`, *optional*):
            Limit in tokens of a rendered prompt. Whole earlier steps are left out, oldest first, never the problem.
        count_tokens (`Callable[[list[dict]], int]`, *optional*):
            Counts the tokens of a prompt's messages; needed with `max_prompt_length`.
        num_proc (`int`, *optional*):
            Processes for a map-style dataset.

    Returns:
        `tuple`: the step rows (`prompt`, `expert_action`, `problem_id`, `step_index` from zero, `num_steps`, `answer`)
        as the same kind of dataset, and a [`FormattingSummary`]. Problem ids depend on the problem's text alone. In a
        stream duplicates are not looked for: that would need to remember all of it.

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

    if max_prompt_length is not None and count_tokens is None:
        raise ValueError(
            "`max_prompt_length` counts tokens: pass `count_tokens`, which counts those of chat messages."
        )
    if is_step_rows(dataset):
        raise ValueError("These are step rows already (`prompt` and `expert_action`): use them as they are.")
    columns = column_names(dataset)
    options = _Options(include_last_step, title_hint, system_prompt, max_prompt_length, count_tokens)
    expand = partial(_expand_batch, options=options)
    rows = dataset.map(
        expand,
        batched=True,
        remove_columns=columns,
        features=_features(),
        **({"num_proc": num_proc, "desc": "Formatting step rows"} if isinstance(dataset, Dataset) else {}),
    )
    internal = ["trajectory_id", "omitted_steps", "drop_reason"]
    if "answer" not in columns:
        internal.append("answer")
    summary = FormattingSummary()
    # Counted in this process, after the map: counts made inside it would be lost with `num_proc` and with the cache.
    if isinstance(rows, Dataset):
        rows = rows.select(_kept_rows(rows, summary))
        _require_rows(rows, dataset, summary)
    else:
        rows = rows.filter(summary.count_formatted)
    return rows.remove_columns(internal), summary


def _kept_rows(rows: "Dataset", summary: FormattingSummary) -> list[int]:
    """Places of the rows to keep: usable, and not of a trajectory that was seen before."""
    kept, seen = [], set()
    columns = ["drop_reason", "problem_id", "trajectory_id", "step_index", "omitted_steps"]
    for place, (reason, problem, *key, omitted) in enumerate(zip(*(rows[name] for name in columns), strict=True)):
        if summary.count(reason or ("duplicate" if tuple(key) in seen else ""), problem, omitted > 0):
            seen.add(tuple(key))
            kept.append(place)
    return kept


def _require_rows(rows: "Dataset", source: "Dataset", summary: FormattingSummary) -> None:
    if not len(rows):
        raise ValueError(
            f"No usable step row in {len(source):,} rows.\n{summary}\nA solution needs at least two steps, since the "
            "last one is no target (include_last_step=True makes it one), and none of them may be empty."
        )


def check_step_rows(
    dataset: "DatasetT",
    *,
    max_prompt_length: int | None = None,
    count_tokens: Callable[[list[Message]], int] | None = None,
) -> "tuple[DatasetT, FormattingSummary]":
    """
    Check ready step rows: the expert's action inside the format must score exactly 1.0, and the prompt must fit.

    Args:
        dataset ([`~datasets.Dataset`] or [`~datasets.IterableDataset`]):
            Rows with `prompt` (chat messages) and `expert_action`.
        max_prompt_length, count_tokens (*optional*):
            As in [`format_trajectories`]; a ready prompt that is too long is dropped, since its steps are not known.

    Returns:
        `tuple`: the usable rows with all their columns, and a [`FormattingSummary`].
    """
    from datasets import Dataset

    summary = FormattingSummary()

    def keep(row: Mapping[str, Any]) -> bool:
        if not isinstance(row["prompt"], list) or not isinstance(row["expert_action"], str):
            raise TypeError(
                f"A step row needs `prompt` as chat messages and `expert_action` as a text, got "
                f"{type(row['prompt']).__name__} and {type(row['expert_action']).__name__}. trl_srl.build_prompt "
                "makes the messages."
            )
        reason = ""
        if not row["expert_action"].strip():
            reason = "empty_action"
        elif parse_completion(gold_completion(row["expert_action"])) is None:
            reason = "think_tag_in_step"
        elif max_prompt_length is not None and count_tokens is not None:
            reason = "prompt_too_long" if count_tokens(row["prompt"]) > max_prompt_length else ""
        return summary.count(reason, row.get("problem_id") or _digest(row["prompt"]))

    if not isinstance(dataset, Dataset):
        return dataset.filter(keep), summary
    rows = dataset.select([place for place, row in enumerate(dataset) if keep(row)])
    _require_rows(rows, dataset, summary)
    return rows, summary


def split_by_problem(step_rows: "Dataset", validation_size: int | float, seed: int = 42) -> "DatasetDict":
    """
    Split step rows so that no problem is on both sides.

    Args:
        step_rows ([`~datasets.Dataset`]):
            Rows with a `problem_id`.
        validation_size (`int` or `float`):
            Number of validation problems, or their share in (0, 1).
        seed (`int`, *optional*, defaults to `42`):
            Another seed gives another split. The order of the rows does not matter.

    Returns:
        [`~datasets.DatasetDict`]: `train` and `validation`.
    """
    from datasets import DatasetDict

    ids = step_rows["problem_id"][:]
    problems = sorted(set(ids))
    count = validation_size if isinstance(validation_size, int) else round(validation_size * len(problems))
    if not 0 < count < len(problems):
        raise ValueError(
            f"validation_size={validation_size} asks for {count} of {len(problems)} problems; both sides need at "
            f"least one. Write a number from 1 to {len(problems) - 1}, or a share in (0, 1)."
        )
    validation = set(random.Random(seed).sample(problems, count))
    return DatasetDict(
        train=step_rows.select([i for i, problem in enumerate(ids) if problem not in validation]),
        validation=step_rows.select([i for i, problem in enumerate(ids) if problem in validation]),
    )
