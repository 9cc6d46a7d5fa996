"""The data of RLVR after SRL: whole problems with a checkable answer, from the same data that SRL was trained on.

A *problem row* is what `DynamicSamplingTrainer` with TRL's `accuracy_reward` eats:

    {"prompt": [{"role": "system", …}, {"role": "user", "content": "What is 2 · 3 + 1?"}],
     "solution": "\\\\boxed{7}", "problem_id": "8a2f…"}
"""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .answers import require_math_verify
from .prompts import SYSTEM_PROMPT, Message, build_solution_prompt, read_problem
from .step_rows import column_names, digest


if TYPE_CHECKING:
    from datasets import Dataset

DROPPED_PROBLEMS = {
    "empty_problem": "problems without a text",
    "no_answer": "problems without an answer",
    "unreadable_answer": "problems whose answer math-verify cannot read as a number or formula",
}


class ProblemSummary(NamedTuple):
    """What became of the problems: how many rows were made of how many rows, and what was dropped for which reason."""

    source_rows: int
    rows: int
    dropped: Counter[str]

    def __str__(self) -> str:
        lines = [f"{self.rows:,} problems from {self.source_rows:,} rows"]
        lines += [f"dropped {n:,} {DROPPED_PROBLEMS[reason]} [{reason}]" for reason, n in sorted(self.dropped.items())]
        return "\n".join(lines)


def _problem(row: Mapping[str, Any]) -> str | list[Message]:
    """The problem of a row, as [`build_solution_prompt`] takes it; a system message of its own is kept."""
    if row.get("expert_action") is None:
        return (row["problem"] if row.get("problem") is not None else row.get("prompt")) or ""
    problem, system = read_problem(row["prompt"])
    own = system.removeprefix(SYSTEM_PROMPT).strip() if system.startswith(SYSTEM_PROMPT) else ""
    if not own:
        return problem
    messages = [{"role": "user", "content": problem}] if isinstance(problem, str) else problem
    return [{"role": "system", "content": own}, *messages]


def make_problem_rows(
    dataset: "Dataset", *, answer_column: str = "answer", system_prompt: str | None = None
) -> "tuple[Dataset, ProblemSummary]":
    r"""
    Make one row for each problem, to be solved as a whole: the data for RLVR with [`~trl.rewards.accuracy_reward`].

    Args:
        dataset ([`~datasets.Dataset`]):
            Step rows (of `trl-srl prepare` or [`format_trajectories`]) or trajectory rows, with an answer; or rows
            that have `prompt` and `solution` already, which are only checked.
        answer_column (`str`, *optional*, defaults to `"answer"`):
            Column of the final answer, a number or formula. It becomes `\boxed{answer}`, because math-verify reads
            a bare `2\sqrt{3}` as 2.
        system_prompt (`str`, *optional*):
            Replaces our system prompt, which asks for the whole solution and a boxed answer, the only kind that
            `accuracy_reward` is sure to read; `trl-srl evaluate` asks in the same words. Step rows have lost the
            system message of their problem if SRL's was replaced.

    Returns:
        `tuple`: rows with `prompt` (chat messages), `solution` and `problem_id`, and a [`ProblemSummary`].

    Example:

    ```python
    >>> from datasets import Dataset
    >>> from trl_srl import make_problem_rows
    >>> rows, summary = make_problem_rows(Dataset.from_list([{"problem": "What is 2 · 3 + 1?", "answer": "7"}]))
    >>> rows[0]["prompt"][-1]["content"], rows[0]["solution"]
    ('What is 2 · 3 + 1?', '\\boxed{7}')
    >>> print(summary)
    1 problems from 1 rows

    ```
    """
    from datasets import Dataset

    if not isinstance(dataset, Dataset):
        raise TypeError(
            f"Problem rows are made from a map-style dataset, got {type(dataset).__name__}. Load it without streaming."
        )
    require_math_verify()
    from math_verify import parse

    columns = set(column_names(dataset))
    ready = {"prompt", "solution"} <= columns and not columns & {"expert_action", "steps", "completions"}
    if not ready and (answer_column not in columns or not columns & {"problem", "prompt"}):
        raise ValueError(
            f"Cannot find problems with answers in the columns {sorted(columns)}. Needed: `{answer_column}`, and "
            "`problem` or `prompt` (or step rows of `trl-srl prepare`, which keep an answer: --answer_column); or "
            "ready rows with `prompt` (chat messages) and `solution`."
        )
    # math-verify's timeouts use signals, which only the main thread may.
    timeout = 5 if threading.current_thread() is threading.main_thread() else None
    rows: dict[str, dict[str, Any]] = {}
    dropped: dict[str, str] = {}
    for row in dataset:
        problem = _problem(row)
        problem_id = row.get("problem_id") or digest(problem)
        if problem_id in rows or problem_id in dropped:
            continue
        if ready:
            gold = row["solution"]
        else:
            answer = "" if row[answer_column] is None else str(row[answer_column]).strip()
            gold = answer if not answer or "\\boxed" in answer else f"\\boxed{{{answer}}}"
        if not (problem if isinstance(problem, str) else problem[-1]["content"] or "").strip():
            dropped[problem_id] = "empty_problem"
        elif not gold:
            dropped[problem_id] = "no_answer"
        elif not parse(gold, parsing_timeout=timeout):
            dropped[problem_id] = "unreadable_answer"
        else:
            has_system = ready and isinstance(problem, list) and problem[0]["role"] == "system"
            prompt = problem if has_system else build_solution_prompt(problem, system_prompt)
            rows[problem_id] = {"prompt": prompt, "solution": gold, "problem_id": problem_id}
    summary = ProblemSummary(len(dataset), len(rows), Counter(dropped.values()))
    if not rows:
        raise ValueError(f"No usable problem: {summary}")
    return Dataset.from_list(list(rows.values())), summary
