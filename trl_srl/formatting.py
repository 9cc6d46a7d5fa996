"""Expert trajectories → step rows, the data that `SRLTrainer` eats.

A *trajectory row* is what users bring: `problem` (or `prompt`) and `steps`, or TRL's stepwise type (`prompt`,
`completions`, and perhaps `labels`). step_rows.py shows what it becomes.

Nothing is lost silently: every trajectory and every row that is not used is counted under a reason.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .prompts import Message, build_prompt, gold_completion, parse_completion
from .step_rows import FormattingSummary, column_names, digest, is_step_rows, map_options, require_rows
from .trajectories import Step, build_step


if TYPE_CHECKING:
    from datasets import Dataset, Features, IterableDataset

    DatasetT = TypeVar("DatasetT", Dataset, IterableDataset)


class _Options(NamedTuple):
    include_last_step: bool = False
    title_hint: bool = False
    system_prompt: str | None = None
    max_prompt_length: int | None = None
    count_tokens: Callable[[list[Message]], int] | None = None


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


def _is_blank(problem: Any) -> bool:
    """Whether a problem, a text or chat messages, says nothing."""
    if isinstance(problem, list) and problem and isinstance(problem[-1], dict):
        problem = problem[-1].get("content") or ""
    return not problem or (isinstance(problem, str) and not problem.strip())


def _step_rows(row: Mapping[str, Any], options: _Options) -> Iterator[dict[str, Any]]:
    """The step rows of one trajectory, unusable ones included: those carry a `drop_reason`."""
    problem: Any = row["problem"] if row.get("problem") is not None else row.get("prompt")
    raw_steps = row["steps"] if row.get("steps") is not None else row.get("completions")
    labels = row.get("labels")
    answer = row.get("answer")
    blank = {
        "prompt": [],
        "expert_action": "",
        "problem_id": digest(problem or ""),
        "step_index": 0,
        "num_steps": 0,
        "answer": None if answer is None else str(answer),
        "trajectory_id": "",
        "omitted_steps": 0,
        "drop_reason": "",
    }
    if _is_blank(problem):
        yield blank | {"drop_reason": "empty_problem"}
        return
    if isinstance(raw_steps, str):
        raise TypeError(
            f"The steps of the problem {str(problem)[:80]!r} are one text, not a list of texts. Cut solutions first: "
            "trl_srl.split_solutions, or `trl-srl prepare --solution_column`."
        )
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
    common = blank | {"trajectory_id": digest([problem, [step.text for step in steps]]), "num_steps": len(steps)}
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
        **(map_options("Formatting step rows", num_proc) if isinstance(dataset, Dataset) else {}),
    )
    internal = ["trajectory_id", "omitted_steps", "drop_reason"]
    if "answer" not in columns:
        internal.append("answer")
    summary = FormattingSummary()
    # Counted in this process, after the map: counts made inside it would be lost with `num_proc` and with the cache.
    if isinstance(rows, Dataset):
        rows = rows.select(_kept_rows(rows, summary))
        require_rows(rows, dataset, summary)
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
