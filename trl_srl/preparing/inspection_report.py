"""An [`Inspection`] for a person to read: histograms and examples as plain lines, colours only in a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..prompts import render_prompt
from ..step_rows import DROP_REASONS, FormattingSummary
from .counting import Lengths
from .inspecting import TOKENIZED_ROWS, Example, Inspection


BAR_WIDTH = 40
Line = tuple[str, str]  # text and rich style


def histogram(lengths: Lengths, bar: str = "#") -> Iterator[str]:
    """
    The bins of a histogram, a line for each.

    ```python
    >>> from trl_srl.preparing.counting import Lengths
    >>> from trl_srl.preparing.inspection_report import histogram
    >>> print("\\n".join(histogram(Lengths([2, 2, 3, 5, 5, 5, 5]))))
      2  ####################                     2
      3  ##########                               1
      4                                           0
      5  ######################################## 4

    ```
    """
    bins = lengths.bins()
    most = max(count for _, _, count in bins)
    names = [
        f"{start:,} or more" if end is None else f"{start:,}" if end == start + 1 else f"{start:,} to {end - 1:,}"
        for start, end, _ in bins
    ]
    width = max(map(len, names))
    for name, (_, _, count) in zip(names, bins, strict=True):
        filled = max(round(BAR_WIDTH * count / most), 1 if count else 0)
        yield f"  {name:>{width}}  {bar * filled:<{BAR_WIDTH}} {count:,}"


def inspection_lines(
    inspection: Inspection, summary: FormattingSummary, tokenizer: Any = None, bar: str = "#"
) -> Iterator[Line]:
    """
    What there is to say, line by line, with a style for rich.

    Args:
        inspection ([`Inspection`]):
            What was collected.
        summary ([`FormattingSummary`]):
            What was kept and dropped.
        tokenizer (*optional*):
            Renders the full rows with its chat template; without one, their messages are shown.
        bar (`str`, *optional*, defaults to `"#"`):
            What bars are made of.
    """
    sample = f" (of {inspection.prompt_tokens.count:,} rows)" if summary.rows > TOKENIZED_ROWS else ""
    for title, lengths in (
        ("Steps of a solution", inspection.steps_per_solution),
        ("Characters of a step", inspection.step_characters),
        ("Characters of a prompt", inspection.prompt_characters),
        (f"Tokens of a step{sample}", inspection.step_tokens),
        (f"Tokens of a prompt{sample}", inspection.prompt_tokens),
    ):
        if lengths.count:
            yield f"{title}: {_in_numbers(lengths)}", "bold"
            yield from ((line, "") for line in histogram(lengths, bar))
            yield "", ""
    yield from _dropped(inspection, summary)
    yield from _repetitions(inspection)
    yield from _answers(inspection)
    for number, row in enumerate(inspection.rows, 1):
        yield f"Row {number} of {len(inspection.rows)}, {_describe_row(row)}", "bold"
        yield from ((line, "") for line in _show(row, tokenizer).splitlines())
        yield "", ""


def _in_numbers(lengths: Lengths) -> str:
    median, most = lengths.quantile(0.5), lengths.quantile(0.95)
    return (
        f"mean {lengths.mean:,.1f}, median {median:,}, 95 % up to {most:,}, from {lengths.minimum:,} to "
        f"{lengths.maximum:,}"
    )


def _dropped(inspection: Inspection, summary: FormattingSummary) -> Iterator[Line]:
    yield f"Dropped: {'nothing' if not summary.dropped else ''}".rstrip(), "bold"
    for reason, count in sorted(summary.dropped.items(), key=lambda item: -item[1]):
        yield f"  {count:,} {DROP_REASONS.get(reason, 'rows')} [{reason}]", "yellow"
        yield from _examples(inspection.dropped.get(reason, []))
    yield "", ""


def _repetitions(inspection: Inspection) -> Iterator[Line]:
    yield "Repetitions:", "bold"
    yield (
        f"  {inspection.problems:,} different problems; {inspection.near_duplicates:,} of them differ from another",
        "",
    )
    yield "  one only in case, white space or punctuation, and count as one with it", ""
    steps = inspection.step_characters.count
    about = "about " if inspection.repeats.level else ""
    yield f"  {about}{inspection.repeats.share_repeated:.1%} of the steps occur more than once in all solutions", ""
    share = inspection.repeating_steps / max(1, steps)
    yield f"  {inspection.repeating_steps:,} steps ({share:.1%}) repeat an earlier step of their own solution", ""
    yield from _examples(inspection.repeating)
    if any(there for _, there in inspection.repeats.counts.values()):
        yield f"  {inspection.shared_problems:,} problems are in both training and validation", ""
        shared = inspection.repeats.share_shared
        yield f"  {about}{shared:.1%} of the validation steps are, word for word, also steps of training", ""
    yield "", ""


def _answers(inspection: Inspection) -> Iterator[Line]:
    yield "Answers:", "bold"
    if not inspection.answers:
        yield "  there is no answer column, so it cannot be said whether solutions end with their answers", ""
    else:
        elsewhere = inspection.answers_elsewhere
        yield f"  {elsewhere:,} of {inspection.answers:,} solutions do not have their answer in the last step", ""
        yield from _examples(inspection.elsewhere)
    yield "", ""


def _examples(examples: Sequence[Example]) -> Iterator[Line]:
    for example in examples:
        yield f"    {printable(example.problem)}", "dim"
        if example.text:
            yield f"      > {printable(example.text)}", "dim"


def _describe_row(row: Mapping[str, Any]) -> str:
    return f"problem {row['problem_id']}, step {row['step_index'] + 1} of {row['num_steps']}"


def _show(row: Mapping[str, Any], tokenizer: Any) -> str:
    if tokenizer is None:
        prompt = "\n".join(f"[{message['role']}]\n{message['content']}" for message in row["prompt"])
    else:
        prompt = render_prompt(row["prompt"], tokenizer)
    return printable(f"{prompt}\n--- the expert's action ---\n{row['expert_action']}")


def printable(text: str) -> str:
    """A text without what could steer a terminal: such characters are written as escapes."""
    return "".join(char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text)
