r"""
Solution text to steps. SRL (https://arxiv.org/abs/2510.25992) needs an expert's solution as ordered steps, but most
experts write one text. [`split_steps`] cuts it without losing a character; [`join_steps`] gives it back.

Cuts lie at beginnings of lines (after `\n`, `\r\n` or `\r`), and never inside a block:

- a code fence, up to its closing line, or to the end of the text when it is never closed, as in Markdown;
- LaTeX between `\begin{x}` and `\end{x}`, `\[` and `\]`, `$$` and `$$`. What is never closed is ordinary text: one
  forgotten `\]` must not swallow the steps after it. A line with an even number of `$$` opens and closes nothing.

Time is linear in the length of every text: expressions are matched at the beginning of a line, or cannot backtrack.
"""

import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple


# Markers of one list share their `look`: "## 1. A" is not continued by the "2. B" of a list below it.
_LOOK = r"(?P<indent> {0,3})(?P<look>(?P<heading>#{1,6}[ \t]+)?(?P<bold>\*\*)?)"
_NUMBER = r"(?P<number>[0-9]+)(?P<delimiter>[.)])(?=\s)"
_STEP = (
    r"step[ \t]+(?P<number>[0-9]+)(?P<delimiter>)"
    r"(?:[ \t]*[:\uff1a]|[.)](?![0-9])|[ \t]+[-\u2013\u2014](?=\s)|(?=\*\*)|(?=\s*$))"
)
_LABELS = {
    # Before "titled": sections "### Step 1" often hold lists "1. **x**", while the reverse is rare.
    "headings": re.compile(_LOOK + _STEP, re.IGNORECASE),
    "titled": re.compile(_LOOK + _NUMBER),
    "numbered": re.compile(r"(?P<indent> {0,3})(?P<look>)" + _NUMBER),
}
_AUTO = (*_LABELS, "paragraphs", "lines")  # in the order of trial
STYLES = ("auto", *_AUTO)

_BOLD_END = r"(?P<title>[^\r\n]*?)\*\*(?:[ \t]*[:\uff1a]|[ \t]+[-\u2013\u2014](?=\s))?"
_REST_OF_BOLD = re.compile(_BOLD_END)
_BOLD = re.compile(r"[ \t]*\*\*(?=[^\s*:\uff1a])" + _BOLD_END)

# A fence may open behind a list marker ("1. ```python"); a later back-tick in its line makes it inline code.
_FENCE = re.compile(r"[ \t]*+(?:(?:[-*+]|[0-9]++[.)])[ \t]++)*+(`{3,}+(?=[^`]*+$)|~{3,}+)")
# Inline code and escapes are tokens, so that what they hide (`$$`, \$$, the \[ in \\[2pt]) is not taken for LaTeX.
_LATEX = re.compile(r"`[^`\r\n]*+`|\\(?:begin|end)\{[^{}\r\n]*+\}|\\.|\$\$")


class Step(NamedTuple):
    """
    One step of an expert trajectory.

    Args:
        title (`str`):
            Title, `""` when the step has none.
        body (`str`):
            Stripped text without list marker and title.
        source (`str`, *optional*, defaults to `""`):
            Verbatim slice of the text that the step was cut from, `""` for a step that was brought already cut.

    Example:

        >>> Step("Add", "2 + 2 = 4").text
        '**Add**: 2 + 2 = 4'
    """

    title: str
    body: str
    source: str = ""

    @property
    def text(self) -> str:
        """What the expert wrote as an action: title and body, or the one of them that is there."""
        if not self.title:
            return self.body
        return f"**{self.title}**: {self.body}" if self.body else f"**{self.title}**"


class _Line(NamedTuple):
    start: int
    text: str
    begins_paragraph: bool


class _Marker(NamedTuple):
    start: int
    body_start: int
    title: str = ""


def _find_blocks(lines: list[str]) -> dict[int, int]:
    """Number of the line that opens a block → number of the last line of that block."""
    blocks: dict[int, int] = {}
    unclosed: defaultdict[str, list[int]] = defaultdict(list)
    fence, fence_number = "", 0
    for number, line in enumerate(lines):
        if fence:
            blocks[fence_number] = number
            closing = line.strip()
            if len(closing) >= len(fence) and not closing.strip(fence[0]):
                fence = ""
        elif match := _FENCE.match(line):
            fence, fence_number = match[1], number
        else:
            tokens = _LATEX.findall(line)
            for token in tokens:
                if token == r"\[" or token.startswith(r"\begin{"):
                    unclosed[r"\]" if token == r"\[" else token.replace("begin", "end", 1)].append(number)
                elif token != "$$" and unclosed.get(token):
                    blocks[unclosed[token].pop()] = number
            if tokens.count("$$") % 2:
                if unclosed["$$"]:
                    blocks[unclosed["$$"].pop()] = number
                else:
                    unclosed["$$"].append(number)
    return blocks


def _cuttable_lines(text: str) -> list[_Line]:
    """The lines that a step may begin with: neither blank nor inside a block."""
    # str.splitlines would also break at U+2028, form feeds and others, which do not end a line in Markdown.
    lines = list(io.StringIO(text, newline=""))
    blocks = _find_blocks(lines)
    cuttable = []
    start, last_in_block, after_blank = 0, -1, True
    for number, line in enumerate(lines):
        blank = not line.strip()
        if not blank and number > last_in_block:
            cuttable.append(_Line(start, line, begins_paragraph=after_blank))
        last_in_block = max(last_in_block, blocks.get(number, -1))
        start += len(line)
        after_blank = blank
    return cuttable


def _read_title(line: str, label: re.Match[str]) -> tuple[str, int]:
    """Title behind the label (`""` when there is none), and where in the line the body begins."""
    title, end = "", label.end()
    if bold := (_REST_OF_BOLD if label["bold"] else _BOLD).match(line, end):
        title, end = bold["title"], bold.end()
    elif label["heading"]:
        title, end = line[end:], len(line)
    return title.strip().rstrip(" \t:\uff1a"), end


def _find_markers(lines: list[_Line], style: str) -> list[_Marker]:
    if style not in _LABELS:
        return [_Marker(line.start, line.start) for line in lines if style == "lines" or line.begins_paragraph]

    markers: list[_Marker] = []
    first: re.Match[str] | None = None
    for line in lines:
        label = _LABELS[style].match(line.text)
        if not label or label["number"] != str(len(markers) + 1):
            continue
        # Shallower is fine: right-aligned numbers move to the left when they get one digit more.
        if first and len(label["indent"]) > len(first["indent"]):
            continue
        if first and label.group("look", "delimiter") != first.group("look", "delimiter"):
            continue
        has_title = style == "titled" or label["look"]
        title, end = _read_title(line.text, label) if has_title else ("", label.end())
        if title or style != "titled":
            first = first or label
            markers.append(_Marker(line.start, line.start + end, title))
    return markers


def _cut(text: str, markers: list[_Marker]) -> list[Step]:
    end = _Marker(len(text), len(text))
    # A marker with nothing behind it would be an empty step, and is often none ("1 + 1 =\n2."): it stays text.
    filled = [
        marker
        for marker, following in pairwise([*markers, end])
        if marker.title or text[marker.body_start : following.start].strip()
    ]
    steps: list[Step] = []
    for marker, following in pairwise([*(filled or [_Marker(0, 0)]), end]):
        start = marker.start if steps else 0
        body = text[start : marker.start] + text[marker.body_start : following.start].lstrip()
        steps.append(Step(marker.title, body.strip(), text[start : following.start]))
    return steps


def split_steps(text: str, style: str | re.Pattern[str] | Callable[[str], Sequence[str]] = "auto") -> list[Step]:
    r"""
    Cuts the text of an expert's solution into steps.

    `"headings"`, `"titled"` and `"numbered"` follow one consecutive numbering from 1: after step n only n + 1 cuts, in
    a line indented no deeper than step 1 (at most 3 spaces), with a marker that looks like that of step 1 (heading
    depth, bold, `.` or `)`). All else (decimals, nested lists, the answer after the last step) stays in its step. What
    precedes step 1 becomes the beginning of its body. Without a marker, the text is one step.

    Args:
        text (`str`):
            The solution.
        style (`str`, `re.Pattern` or `Callable[[str], Sequence[str]]`, *optional*, defaults to `"auto"`):
            Where a step begins:

            - `"headings"`: at `## Step 1: Title`, `**Step 1: Title**`, `**Step 1:** body`, or, without a title, at
              `Step 1: body`, `Step 1. body`, `Step 1 - body`, in any case;
            - `"titled"`: at `1. **Title**: body`, `1. **Title:** body`, `1. **Title** body`, `**1. Title**`,
              `### 1. Title`;
            - `"numbered"`: at `1. body` or `1) body`;
            - `"paragraphs"`: after blank lines. `Therefore:`, a blank line and a formula are two steps;
            - `"lines"`: at each line that is not blank;
            - `"auto"`: the first of these, in this order, that gives two steps or more; else the text is one step;
            - a compiled regular expression: at each match, even an empty one, inside blocks too. The match stays in
              the body;
            - a function that returns the bodies of the steps. Blank ones are dropped.

    Returns:
        `list[Step]`: The steps, none of them empty; `[]` for a blank text. Unless `style` is a function,
        `join_steps(split_steps(text, style)) == text` holds for every text that is not blank.

    Raises:
        `TypeError`: If `text` is not a string, or the function returns one string.
        `ValueError`: If `style` is a string but names no style.

    Example:

        >>> steps = split_steps("1. **Halve**: 48 / 2 = 24.\n2. **Add**: 48 + 24 = 72.\n\nThe answer is 72.")
        >>> [step.title for step in steps]
        ['Halve', 'Add']
        >>> steps[1].body
        '48 + 24 = 72.\n\nThe answer is 72.'
        >>> [step.body for step in split_steps("(a) Halve. (b) Add.", re.compile(r"\([a-z]\)"))]
        ['(a) Halve.', '(b) Add.']
    """
    if not isinstance(text, str):
        raise TypeError(f"`text` must be the text of one solution, a string, but is of type {type(text).__name__}.")
    if isinstance(style, str) and style not in STYLES:
        raise ValueError(
            f"{style!r} is no style; choose one of {', '.join(STYLES)}. To cut at a regular expression, pass "
            f"re.compile({style!r})."
        )
    if not text.strip():
        return []
    if isinstance(style, re.Pattern):
        return _cut(text, [_Marker(match.start(), match.start()) for match in style.finditer(text)])
    if not isinstance(style, str):
        parts = style(text)
        if isinstance(parts, str):
            raise TypeError("The function given as `style` returned one string; it must return a sequence of them.")
        return [Step("", part.strip(), part) for part in parts if part.strip()]

    lines = _cuttable_lines(text)
    steps: list[Step] = []
    for name in _AUTO if style == "auto" else (style,):
        steps = _cut(text, _find_markers(lines, name))
        if len(steps) > 1:
            break
    return steps


def join_steps(steps: Iterable[Step]) -> str:
    r"""
    Gives back the text that [`split_steps`] cut. A step that was brought already cut has no source and adds nothing.

    Args:
        steps (`Iterable[Step]`):
            All steps of one text, in order.

    Returns:
        `str`: The text, character by character.

    Example:

        >>> join_steps(split_steps("1) Halve.\n2) Add.\n", style="numbered"))
        '1) Halve.\n2) Add.\n'
    """
    return "".join(step.source for step in steps)


def build_step(value: str | Mapping[str, str | None] | None) -> Step:
    """
    Builds a step that a user brought already cut. Its words stay as they are; a list marker in them is not removed.

    Args:
        value (`str` or `Mapping[str, str]`):
            The body, or a mapping with `"body"` and, if the step has one, `"title"`. `None` counts as empty, because
            🤗 Datasets fills gaps with it; other keys are ignored.

    Returns:
        `Step`: The stripped step. It is empty if `value` is: who makes the rows counts and reports that.

    Raises:
        `TypeError`: If `value` is none of these.

    Example:

        >>> build_step({"title": "Add", "body": "2 + 2 = 4"})
        Step(title='Add', body='2 + 2 = 4', source='')
    """
    title: str | None = ""
    match value:
        case str() | None as body:
            pass
        case {"title": str() | None as title, "body": str() | None as body}:
            pass
        case {"body": str() | None as body} if "title" not in value:
            pass
        case _:
            raise TypeError(f"A step must be a string, or a mapping of strings, 'body' and 'title', not {value!r}.")
    return Step((title or "").strip(), (body or "").strip())
