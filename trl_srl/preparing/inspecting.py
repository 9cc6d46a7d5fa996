"""What is in the data, before anything is trained on it: lengths, repetitions, answers, examples of what was dropped.

Collected in one pass, in little memory: how often there is each length, repetitions on a sample of the different steps
once there are too many of them, a few examples. inspection_report.py prints it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from ..answers import has_answer
from ..expansion import problem_and_steps
from ..prompts import count_prompt_tokens, problem_text
from .counting import Lengths, Repeats


if TYPE_CHECKING:
    import pyarrow as pa

EXAMPLES = 3
TOKENIZED_ROWS = 1000  # a tokenizer reads a few megabytes a second: all rows would take longer than preparing them


class Example(NamedTuple):
    """A problem and what is remarkable about it, both shortened."""

    problem: str
    text: str


def make_example(problem: str, text: str) -> Example:
    """An example, shortened to a line each."""
    return Example(shorten(problem), shorten(text))


@dataclass
class Inspection:
    """
    What is in the data.

    Attributes:
        steps_per_solution, step_characters, prompt_characters ([`Lengths`]): Of the kept step rows.
        step_tokens, prompt_tokens ([`Lengths`]): Of a sample of them, if there is a tokenizer.
        dropped (`dict[str, list[Example]]`): A few examples for each reason.
        answers, answers_elsewhere (`int`): Solutions with an answer, and those of them without it in the last step.
        elsewhere (`list[Example]`): A few of the latter.
        repeating_steps (`int`): Kept steps that are equal to an earlier step of their solution.
        repeating (`list[Example]`): A few of them.
        repeats ([`Repeats`]): Steps that occur more than once, in all solutions and in both splits.
        problems, near_duplicates (`int`): Different problems, and those that differ from another one only in case,
            white space
            or punctuation.
        shared_problems (`int`): Problems, near-duplicates included, that are in both splits.
        rows (`list[dict]`): Step rows in full: the first, the middle one and the last.
    """

    steps_per_solution: Lengths = field(default_factory=Lengths)
    step_characters: Lengths = field(default_factory=Lengths)
    prompt_characters: Lengths = field(default_factory=Lengths)
    step_tokens: Lengths = field(default_factory=Lengths)
    prompt_tokens: Lengths = field(default_factory=Lengths)
    dropped: dict[str, list[Example]] = field(default_factory=dict)
    answers: int = 0
    answers_elsewhere: int = 0
    elsewhere: list[Example] = field(default_factory=list)
    repeating_steps: int = 0
    repeating: list[Example] = field(default_factory=list)
    repeats: Repeats = field(default_factory=Repeats)
    problems: int = 0
    near_duplicates: int = 0
    shared_problems: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add_trajectory(self, trajectory: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        """Look at a trajectory row and its step rows, usable or not."""
        problem, steps = problem_and_steps(trajectory)
        problem = problem if isinstance(problem, str) else problem_text(problem or ())
        last = _step_text(steps[-1]) if steps else ""
        for row in rows:
            if row["drop_reason"]:
                self.add_dropped(row["drop_reason"], [make_example(problem, row["expert_action"] or last)])
        if rows and rows[0]["trajectory_id"] and rows[0]["answer"]:
            self.answers += 1
            if not has_answer(last, rows[0]["answer"]):
                self.answers_elsewhere += 1
                example = make_example(problem, f"answer {shorten(rows[0]['answer'], 60)}, last step: {last}")
                self.elsewhere = [*self.elsewhere, example][:EXAMPLES]

    def add_dropped(self, reason: str, examples: Sequence[Example]) -> None:
        self.dropped[reason] = [*self.dropped.get(reason, []), *examples][:EXAMPLES]

    def collected(self) -> dict[str, Any]:
        """What [`Inspection.add_trajectory`] collected, as JSON-like data that [`Inspection.merge`] reads."""
        return {
            "dropped": self.dropped,
            "answers": self.answers,
            "answers_elsewhere": self.answers_elsewhere,
            "elsewhere": self.elsewhere,
        }

    def merge(self, collected: Mapping[str, Any]) -> None:
        """Add what was collected of another part."""
        for reason, examples in collected["dropped"].items():
            self.add_dropped(reason, [Example(*example) for example in examples])
        self.answers += collected["answers"]
        self.answers_elsewhere += collected["answers_elsewhere"]
        self.elsewhere = [*self.elsewhere, *(Example(*example) for example in collected["elsewhere"])][:EXAMPLES]

    def add_step_rows(self, table: "pa.Table", split: int) -> None:
        """Look at kept step rows of one split (0 or 1), whole trajectories one after the other."""
        import pyarrow.compute as pc

        actions, indices = table["expert_action"].to_pylist(), table["step_index"].to_pylist()
        self.step_characters.add(map(len, actions))
        self.repeats.add(actions, split)
        for prompt in table["prompt"].chunks:
            lengths = pc.utf8_length(prompt.flatten().field("content")).to_pylist()
            sums = [0, *accumulate(length or 0 for length in lengths)]
            offsets = prompt.offsets.to_pylist()
            self.prompt_characters.add(
                sums[end - offsets[0]] - sums[start - offsets[0]] for start, end in pairwise(offsets)
            )
        trajectory, seen = ("", -1), set[str]()
        trajectories, counts = table["trajectory_id"].to_pylist(), table["num_steps"].to_pylist()
        for place, (action, index) in enumerate(zip(actions, indices, strict=True)):
            if trajectories[place] != trajectory[0] or index <= trajectory[1]:
                seen = set()
                self.steps_per_solution.add([counts[place]])
            trajectory = trajectories[place], index
            if action in seen:
                self.repeating_steps += 1
                if len(self.repeating) < EXAMPLES:
                    problem = problem_text(table["prompt"][place].as_py())
                    self.repeating.append(make_example(problem, f"step {index + 1}: {action}"))
            seen.add(action)

    def add_tokens(self, rows: Iterable[Mapping[str, Any]], tokenizer: Any) -> None:
        """Count the tokens of a sample of step rows."""
        for row in rows:
            self.prompt_tokens.add([count_prompt_tokens(row["prompt"], tokenizer)])
            self.step_tokens.add([len(tokenizer(row["expert_action"], add_special_tokens=False)["input_ids"])])


def sample_places(count: int, most: int) -> list[int]:
    """At most `most` places in `count` rows, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({place * (count - 1) // (most - 1) for place in range(most)})


def _step_text(step: Any) -> str:
    match step:
        case {"action": action}:
            return str(action or "")
        case {"body": body}:
            return " ".join(str(part) for part in (step.get("title"), body) if part)
        case _:
            return str(step or "")


def shorten(text: str, limit: int = 160) -> str:
    """One line, its middle left out."""
    if len(text) > 8 * limit:
        text = text[: 4 * limit] + text[-4 * limit :]
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit // 2]} … {line[-limit // 2 :]}"
