"""Step rows: what a row must be, and what is counted of the rows that are not.

A *step row* is one training instance:

    {"prompt": [{"role": "system", …}, {"role": "user", "content": "Problem:\\n…\\n\\nSolution so far:\\n…"}],
     "expert_action": "6 + 1 = 7", "problem_id": "8a2f…", "step_index": 1, "num_steps": 3, "answer": "7"}
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from .actions import read_action
from .prompts import Message, gold_completion, parse_completion


if TYPE_CHECKING:
    from datasets import Dataset, Features, IterableDataset

    DatasetT = TypeVar("DatasetT", Dataset, IterableDataset)

DROP_REASONS = {
    "empty_problem": "trajectories whose problem is empty",
    "too_few_steps": "trajectories without a step to learn (by default the last step is never a target)",
    "empty_step": "trajectories with an empty step",
    "wrong_label": "trajectories with a step labelled as wrong, or not labelled",
    "rewrite_failed": "solutions to which the rewriting model gave no whole reply",
    "rewrite_format": "solutions whose rewriting is not at least two numbered, titled steps",
    "rewrite_answer": "solutions whose rewriting lost the final answer in its last step",
    "duplicate": "step rows of a trajectory that was seen before",
    "think_tag_in_step": "step rows whose expert action contains a think tag",
    "empty_action": "step rows whose expert action is empty",
    "title_only": "step rows whose step is only a title, which `title_hint` gives away",
    "prompt_too_long": "step rows that `max_prompt_length` does not fit, even without earlier steps",
    "no_action": "agent trajectories without an action that can be read",
    "no_action_in_step": "step rows whose expert action cannot be read in its format",
    "unresolved": "agent trajectories that did not solve their task",
    "unfinished": "trajectories that end before the answer or the submission",
    "wrong_answer": "solutions that are marked as wrong, or as not verified",
    "invalid_problem": "problems or solutions that the data set marks as invalid",
    "no_solution": "rows without a solution in the form that the adapter reads",
    "unreadable_messages": "rows whose messages are no chat",
}

# Rows in one batch of a map: an agent's trajectory has a million characters, and becomes tens of rows.
_BATCH_SIZE = 16


@dataclass
class FormattingSummary:
    """
    What became of the data. For a stream it grows while the stream is read, and a second pass counts again.

    Attributes:
        rows (`int`): Step rows kept.
        problems (`set[str]`): Ids of the problems that have a step row.
        trimmed (`int`): Kept rows whose prompt leaves out earlier steps to fit `max_prompt_length`.
        dropped (`Counter[str]`): Count for each reason of `DROP_REASONS`; what is counted, the reason's text says.
        skipped_turns (`int`): Agents' turns without an action, which were skipped.
        cut_observations (`int`): Agents' observations of which the middle was cut out.
    """

    rows: int = 0
    problems: set[str] = field(default_factory=set)
    trimmed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    skipped_turns: int = 0
    cut_observations: int = 0

    def __str__(self) -> str:
        lines = [f"{self.rows:,} step rows from {len(self.problems):,} problems"]
        if self.trimmed:
            lines.append(f"{self.trimmed:,} of them leave out earlier steps to fit the length limit")
        if self.skipped_turns:
            lines.append(f"{self.skipped_turns:,} turns of agents without an action were skipped")
        if self.cut_observations:
            lines.append(f"{self.cut_observations:,} observations were cut in the middle")
        lines += [
            f"dropped {n:,} {DROP_REASONS.get(reason, 'rows')} [{reason}]"
            for reason, n in sorted(self.dropped.items())
        ]
        return "\n".join(lines)

    def count(
        self,
        drop_reason: str,
        problem_id: str,
        trimmed: bool = False,
        skipped_turns: int = 0,
        cut_observations: int = 0,
    ) -> bool:
        """Count one row and say whether it is kept."""
        self.skipped_turns += skipped_turns
        self.cut_observations += cut_observations
        if drop_reason:
            self.dropped[drop_reason] += 1
            return False
        self.rows += 1
        self.problems.add(problem_id)
        self.trimmed += trimmed
        return True

    def count_formatted(self, row: Mapping[str, Any]) -> bool:
        of_agents = row["skipped_turns"], row["cut_observations"]
        return self.count(row["drop_reason"], row["problem_id"], row["omitted_steps"] > 0, *of_agents)


def digest(value: Any) -> str:
    """Short hash of a text or of JSON-like data, the same in every process and on every machine."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.strip().encode("utf-8", "surrogatepass")).hexdigest()[:16]


def column_names(dataset: "Dataset | IterableDataset") -> list[str]:
    """Column names of a dataset that is not empty; a stream that does not know them is asked for its first row."""
    first = next(iter(dataset), None)
    names = dataset.column_names or list(first or {})
    if first is None or not names:
        raise ValueError("The dataset is empty: there is nothing to learn from. Check the path and the split.")
    return names


def map_rows(
    dataset: "DatasetT",
    make_rows: Callable[[dict[str, Any]], Iterable[Mapping[str, Any]]],
    features: "Features",
    description: str,
    num_proc: int | None = None,
) -> "DatasetT":
    """The rows that a function makes of each row, any number of them, with the columns and types given."""
    from datasets import Dataset

    # The cache is keyed by a function's name, not by its code: after an update it would serve the rows of the old one.
    options = {"desc": description, "num_proc": num_proc, "load_from_cache_file": False}
    return dataset.map(
        partial(_make_batch, make_rows=make_rows, names=list(features)),
        batched=True,
        batch_size=_BATCH_SIZE,
        remove_columns=column_names(dataset),
        features=features,
        **(options if isinstance(dataset, Dataset) else {}),
    )


def _make_batch(
    batch: Mapping[str, list[Any]],
    make_rows: Callable[[dict[str, Any]], Iterable[Mapping[str, Any]]],
    names: Sequence[str],
) -> dict[str, list[Any]]:
    sources = (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))
    rows = [row for source in sources for row in make_rows(source)]
    return {name: [row[name] for row in rows] for name in names}


def is_step_rows(dataset: "Dataset | IterableDataset") -> bool:
    """Whether a dataset holds step rows; raises `ValueError` if it holds neither step rows nor trajectory rows."""
    columns = set(column_names(dataset))
    if columns >= {"prompt", "expert_action"}:
        return True
    if not columns & {"problem", "prompt"} or not columns & {"steps", "completions"}:
        raise ValueError(
            f"Cannot find expert trajectories in the columns {sorted(columns)}. Needed: `problem` (a text) or "
            "`prompt` (a text or chat messages), and `steps` (a list of texts, or of {'title', 'body'}) or "
            "`completions` (TRL's stepwise type); or ready step rows with `prompt` and `expert_action`. For a known "
            "data set, an agent's chat among them, use trl_srl.adapt(dataset, name). Rename your "
            "columns with `dataset.rename_columns`; cut a solution that is one text with trl_srl.split_solutions, or "
            "with `trl-srl prepare --solution_column`."
        )
    return False


def refuse_step_rows(dataset: "Dataset | IterableDataset") -> None:
    """Raise `ValueError` if a dataset holds no trajectory rows."""
    if is_step_rows(dataset):
        raise ValueError("These are step rows already (`prompt` and `expert_action`): use them as they are.")


def require_rows(rows: "Dataset", source: "Dataset", summary: FormattingSummary) -> None:
    """Raise `ValueError`, with the reasons, if no row is left."""
    if not len(rows):
        raise ValueError(explain_no_rows(len(source), summary))


def explain_no_rows(source_rows: int, summary: FormattingSummary) -> str:
    """The message when all rows were dropped."""
    return f"No usable step row in {source_rows:,} rows.\n{summary}\n" + (
        "A solution needs at least two steps, since the last one is no target; include_last_step=True makes it one."
        if summary.dropped["too_few_steps"]
        else "The reasons above say what to mend in the data."
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
        elif (row.get("action_format") or "text") != "text" and not read_action(
            row["expert_action"], row["action_format"]
        ):
            reason = "no_action_in_step"
        elif max_prompt_length is not None and count_tokens is not None:
            reason = "prompt_too_long" if count_tokens(row["prompt"]) > max_prompt_length else ""
        return summary.count(reason, row.get("problem_id") or digest(row["prompt"]))

    if not isinstance(dataset, Dataset):
        return dataset.filter(keep), summary
    rows = dataset.select([place for place, row in enumerate(dataset) if keep(row)])
    require_rows(rows, dataset, summary)
    return rows, summary
