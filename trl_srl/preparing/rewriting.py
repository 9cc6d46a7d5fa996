"""Solutions that are not step-wise: a model rewrites them into numbered, titled steps, and what it returns is checked.

The paper's experts wrote in steps, and v3 adds that a larger model brought solutions into that form. A rewritten
solution is used only if it has at least two titled steps and its last step still holds the final answer. What fails
is dropped under a reason: `rewrite_format`, `rewrite_answer` or `rewrite_failed` (there was no reply).

Replies are kept in a small database by their content, so a restart asks nothing twice; see [`ReplyCache`].
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..answers import boxed_or_last_number, has_answer
from ..expansion import are_right, is_agent, problem_and_steps
from ..prompts import THINK_CLOSE, Message, problem_text
from ..trajectories import Step, build_step, split_steps


if TYPE_CHECKING:
    from datasets import Dataset

REWRITE_PROMPT = (
    "You put worked solutions into order. You are given a problem and a solution of it. Write the same solution as a "
    "numbered list of steps. Each step begins on a new line with its number and a short title in bold, as in\n"
    "1. **Title**\n"
    "and then says in full what is done in that step, formulas included. One step holds one piece of reasoning that "
    "leads to a result. Keep every calculation and every result of the solution, add no reasoning of your own, and do "
    "not solve the problem in another way. The last step states the final answer exactly as the solution does. Write "
    "nothing before the first step and nothing after the last."
)


class ReplyFailure(NamedTuple):
    """Why a model gave no reply to one request. If it is `lasting`, asking again would give (and cost) the same."""

    message: str
    lasting: bool = False

    def __str__(self) -> str:
        return self.message


class RewritingModel(Protocol):
    """
    What rewrites: a server ([`~trl_srl.preparing.rewriting_models.ServerModel`]) or a local model.

    `name` and `settings` tell its replies from those of others; `replies` yields (place in `requests`, reply) as they
    come.
    """

    name: str
    settings: dict[str, Any]

    def replies(self, requests: Sequence[list[Message]]) -> Iterator[tuple[int, str | ReplyFailure]]: ...


class ReplyCache:
    """
    Replies by content, in one SQLite file that several processes may share and that no kill can spoil.

    The key is a hash of the model's name, its settings and the messages, so another wording of the prompt, another
    model or a mended solution is asked anew. What is kept is the reply as it came: a change of the checks costs
    nothing either.
    """

    def __init__(self, path: Path):
        self.path = path

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are kept if nothing goes wrong."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS replies "
                    "(key TEXT PRIMARY KEY, reply TEXT NOT NULL, failure TEXT NOT NULL)"
                )
                yield connection
        except sqlite3.Error as error:
            raise OSError(
                f"Cannot keep replies in {self.path}: {error}. Name another file with --rewrite_cache."
            ) from error

    def load(self, keys: Iterable[str]) -> dict[str, str | ReplyFailure]:
        """The replies there are, lasting failures among them."""
        select = "SELECT reply, failure FROM replies WHERE key = ?"
        with self._connect() as connection:
            found = ((key, connection.execute(select, (key,)).fetchone()) for key in keys)
            return {key: ReplyFailure(row[1], True) if row[1] else row[0] for key, row in found if row}

    def save(self, key: str, reply: str | ReplyFailure) -> None:
        """Keep a reply. A failure that may pass is not kept."""
        if isinstance(reply, ReplyFailure) and not reply.lasting:
            return
        row = (key, "", reply.message) if isinstance(reply, ReplyFailure) else (key, reply, "")
        with self._connect() as connection:
            connection.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?)", row)


def build_rewrite_request(problem: str, solution: str) -> list[Message]:
    """The chat messages that ask for one solution in steps."""
    return [
        {"role": "system", "content": REWRITE_PROMPT},
        {"role": "user", "content": f"Problem:\n{problem}\n\nSolution:\n{solution}\n\nWrite this solution in steps."},
    ]


def check_rewritten(reply: str, solution: str, answer: str | None) -> tuple[list[Step], str]:
    """
    Steps of a reply, and why it cannot be used (`""` if it can).

    Args:
        reply (`str`):
            What the model wrote. What stands before the end of a think block is cut off.
        solution (`str`):
            The solution that it was to rewrite.
        answer (`str`, *optional*):
            The final answer. Without one, it is that of the solution: its last `\\boxed{…}`, else its last number. If
            there is none either (a proof), nothing can be compared.

    Example:

    ```python
    >>> from trl_srl.preparing.rewriting import check_rewritten
    >>> reply = "1. **Halve** 48 / 2 = 24.\\n2. **Add** 48 + 24 = 72, so she sold 72."
    >>> steps, reason = check_rewritten(reply, "Half of 48 is 24, which makes 72.", None)
    >>> [step.title for step in steps], reason
    (['Halve', 'Add'], '')
    >>> check_rewritten(reply, "Half of 48 is 24, which makes 72.", "73")[1]
    'rewrite_answer'

    ```
    """
    steps = split_steps(reply.rpartition(THINK_CLOSE)[2], "titled")
    if len(steps) < 2 or not all(step.title and step.body for step in steps):
        return [], "rewrite_format"
    expected = answer if answer and answer.strip() else boxed_or_last_number(solution)
    if expected and not has_answer(steps[-1].text, expected):
        return [], "rewrite_answer"
    return steps, ""


class Rewriter:
    """
    Rewrites trajectory rows. One step that holds a whole solution, or several that are joined by blank lines, become
    the steps of the model's reply.

    Args:
        model (`RewritingModel`):
            What is asked.
        cache (`ReplyCache`):
            What was answered before.
    """

    def __init__(self, model: RewritingModel, cache: ReplyCache):
        self.model, self.cache = model, cache

    def key(self, request: list[Message]) -> str:
        content = json.dumps([self.model.name, self.model.settings, request], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def rewrite_rows(self, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Trajectory rows with rewritten steps, or with a `drop_reason`. Rows that had one stay as they are."""
        rewritten = [dict(row) | {"drop_reason": row.get("drop_reason") or ""} for row in rows]
        requests: dict[str, list[Message]] = {}
        wanted: dict[int, tuple[str, str]] = {}
        for place, row in enumerate(rewritten):
            problem, steps = problem_and_steps(row)
            if is_agent(steps):
                raise ValueError("An agent's actions are not rewritten: they are steps already. Leave rewriting out.")
            solution = "\n\n".join(build_step(step).text for step in steps or [])
            text = problem if isinstance(problem, str) else problem_text(problem or ())
            usable = not row["drop_reason"] and are_right(steps or [], row.get("labels"))
            if not usable or not text.strip() or not solution.strip():
                continue  # formatting says why
            request = build_rewrite_request(text, solution)
            key = self.key(request)
            requests[key] = request
            wanted[place] = key, solution
        replies = self.cache.load(requests)
        missing = [key for key in requests if key not in replies]
        for place, reply in self.model.replies([requests[key] for key in missing]):
            replies[missing[place]] = reply
            self.cache.save(missing[place], reply)
        for place, (key, solution) in wanted.items():
            row, reply = rewritten[place], replies[key]
            if isinstance(reply, ReplyFailure):
                steps, reason = [], "rewrite_failed"
            else:
                answer = row.get("answer")
                steps, reason = check_rewritten(reply, solution, None if answer is None else str(answer))
            # Of what is dropped, the reply is kept to be looked at.
            row |= {"steps": [*steps] or [Step("", str(reply))], "drop_reason": reason}
            if "labels" in row:
                row["labels"] = None  # they were those of other steps
        for row in rewritten:  # also those that were not asked for: all rows of a column have one type
            steps = row.get("steps") or row.get("completions") or []
            cut = [step if isinstance(step, Step) else build_step(step) for step in steps]
            row["steps"] = [{"title": step.title, "body": step.body} for step in cut]
            row.pop("completions", None)
        return rewritten

    def rewrite(self, trajectories: "Dataset") -> "Dataset":
        """The same for a [`~datasets.Dataset`]."""
        from datasets import Dataset, Features, Value

        features = Features({name: kind for name, kind in trajectories.features.items() if name != "completions"})
        features["steps"] = [{"title": Value("string"), "body": Value("string")}]
        features["drop_reason"] = Value("string")
        rows = self.rewrite_rows(trajectories)
        return Dataset.from_list(rows, features=features)
