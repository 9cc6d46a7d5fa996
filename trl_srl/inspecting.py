"""What is in the data, before anything is trained on it: lengths, repetitions, answers, examples of what was dropped.

Collected in one pass, in bounded memory: lengths are counted to two significant digits, repetitions on a sample of the
different steps once there are too many of them, examples are a few. inspection_report.py prints it.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from .answers import has_answer
from .near_duplicates import problem_text
from .prompts import count_prompt_tokens


if TYPE_CHECKING:
    import pyarrow as pa

EXAMPLES = 3
TOKENIZED_ROWS = 1000  # a tokenizer reads a few megabytes a second: all rows would take longer than preparing them
MAX_DIFFERENT_STEPS = 200_000


class Lengths:
    """
    A histogram that needs no bins beforehand: values to two significant digits (at most 5 % off above 100), with the
    exact smallest, largest and mean one.

    ```python
    >>> from trl_srl.inspecting import Lengths
    >>> lengths = Lengths([3, 5, 1234])
    >>> lengths.quantile(0.5), lengths.quantile(1.0), lengths.maximum, lengths.mean
    (5, 1200, 1234, 414.0)

    ```
    """

    def __init__(self, values: Iterable[int] = ()):
        self.counts: Counter[int] = Counter()
        self.minimum, self.maximum, self.total, self.count = 0, 0, 0, 0
        self.add(values)

    def add(self, values: Iterable[int]) -> None:
        for value, times in Counter(values).items():
            self.minimum = min(self.minimum, value) if self.count else value
            self.maximum = max(self.maximum, value)
            self.total += value * times
            self.count += times
            scale = 10 ** max(0, len(str(value)) - 2)
            self.counts[value // scale * scale] += times

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else math.nan

    def quantile(self, share: float) -> int:
        """The value that this share of all values does not exceed, to two significant digits."""
        left = share * self.count
        for value in sorted(self.counts):
            left -= self.counts[value]
            if left <= 0:
                return value
        return 0

    def bins(self, count: int = 10) -> list[tuple[int, int | None, int]]:
        """
        (from, up to but not including, how many) of at most about `count` equally wide bins; the last one has no end
        (`None`) if the longest percent lies far above the rest.
        """
        start, end = self.minimum, max(self.quantile(0.99), self.minimum)
        raw = max(1.0, (end - start + 1) / count)
        power = 10 ** math.floor(math.log10(raw))
        width = next(math.ceil(nice * power) for nice in (1, 2, 2.5, 5, 10) if nice * power >= raw)
        start = start // width * width
        number = (end - start) // width + 1
        found = [0] * (number + 1)
        for value, times in self.counts.items():
            found[min(max(value - start, 0) // width, number)] += times
        bins: list[tuple[int, int | None, int]] = [
            (start + i * width, start + (i + 1) * width, found[i]) for i in range(number)
        ]
        return bins + ([(start + number * width, None, found[number])] if found[number] else [])


class Repeats:
    """
    How many of many texts occur more than once, in bounded memory: texts are counted whose digest is divisible by
    2**`level`, which rises when too many are different. Exact until then, afterwards a sample of the different texts.
    """

    def __init__(self, limit: int = MAX_DIFFERENT_STEPS):
        self.limit, self.level = limit, 0
        self.counts: dict[int, list[int]] = {}  # digest → how often in each of two splits

    def add(self, texts: Iterable[str], split: int = 0) -> None:
        for text in texts:
            content = text.encode("utf-8", "surrogatepass")
            number = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
            if number % 2**self.level == 0:
                self.counts.setdefault(number, [0, 0])[split] += 1
                while len(self.counts) > self.limit:
                    self.level += 1
                    self.counts = {key: value for key, value in self.counts.items() if key % 2**self.level == 0}

    @property
    def share_repeated(self) -> float:
        """Share of the texts that occur at least twice."""
        repeated = sum(sum(times) for times in self.counts.values() if sum(times) > 1)
        return repeated / max(1, sum(sum(times) for times in self.counts.values()))

    @property
    def share_shared(self) -> float:
        """Share of the texts of the second split that the first one has too."""
        return sum(there for here, there in self.counts.values() if here) / max(
            1, sum(there for _, there in self.counts.values())
        )


class Example(NamedTuple):
    """A problem and what is remarkable about it, both shortened."""

    problem: str
    text: str


def make_example(problem: str, text: str) -> Example:
    """An example, shortened to a line each."""
    return Example(_shorten(problem), _shorten(text))


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
            white
            space or punctuation.
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
        problem = trajectory["problem"] if trajectory.get("problem") is not None else trajectory.get("prompt") or ""
        problem = problem if isinstance(problem, str) else problem_text(problem)
        for row in rows:
            if row["drop_reason"]:
                text = row["expert_action"] or _last_step(trajectory)
                self.add_dropped(row["drop_reason"], [make_example(problem, text)])
        if rows and rows[0]["trajectory_id"] and rows[0]["answer"]:
            self.answers += 1
            last = _last_step(trajectory)
            if not has_answer(last, rows[0]["answer"]):
                self.answers_elsewhere += 1
                example = make_example(problem, f"answer {_shorten(rows[0]['answer'], 60)}, last step: {last}")
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


def _texts(trajectory: Mapping[str, Any]) -> Iterator[str]:
    steps = trajectory["steps"] if trajectory.get("steps") is not None else trajectory.get("completions")
    for step in steps or []:
        match step:
            case {"action": action}:
                yield str(action or "")
            case {"body": body}:
                yield " ".join(str(part) for part in (step.get("title"), body) if part)
            case _:
                yield str(step or "")


def _last_step(trajectory: Mapping[str, Any]) -> str:
    return list(_texts(trajectory) or [""])[-1] if trajectory.get("steps") or trajectory.get("completions") else ""


def _shorten(text: str, limit: int = 160) -> str:
    """One line, its middle left out."""
    if len(text) > 8 * limit:
        text = text[: 4 * limit] + text[-4 * limit :]
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit // 2]} … {line[-limit // 2 :]}"
