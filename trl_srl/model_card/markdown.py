"""Text that comes from models, data and files, made harmless in Markdown and HTML."""

import json
import re
from collections.abc import Iterable, Sequence


# What could open markup anywhere in a line. `$` is mathematics and `~` struck through on the Hub.
_MARKUP = re.compile(r"([\\`*_\[\]|~$])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class Markdown(str):
    """Text that is Markdown already, to be written as it is."""

    __slots__ = ()


def escape(value: object) -> Markdown:
    r"""
    Any value as a piece of one line of Markdown that shows its text and nothing else.

    ```python
    >>> from trl_srl.model_card.markdown import escape
    >>> print(escape("<script>*a*|\n[b](javascript:c)"))
    &lt;script&gt;\*a\*\| \[b\](javascript:c)

    ```
    """
    if isinstance(value, Markdown):
        return value
    text = "".join(_ENTITIES.get(character, character) for character in one_line(value))
    text = _MARKUP.sub(r"\\\1", text)
    return Markdown(text.replace("://", ":&#47;/"))  # or a bare address would become a link


def one_line(value: object) -> str:
    """A value as text of printable characters, as it may stand in a file and in YAML."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")  # lone surrogates cannot be written to a file
    return "".join(character if character.isprintable() else " " for character in text)


def code(text: str) -> Markdown:
    """A text as a code span."""
    return Markdown(f"`{one_line(text).replace('`', chr(39))}`")


def literal(text: str) -> Markdown:
    """A text as a Python literal in one line, for a code block."""
    return Markdown(json.dumps(text, ensure_ascii=False) if text.isprintable() else ascii(text))


def table(header: Sequence[object], rows: Iterable[Sequence[object]], numbers: bool = True) -> Markdown:
    """A Markdown table. The first column is text; the others are numbers, which stand on the right, or text too."""
    lines = [header, ["---", *["---:" if numbers else "---"] * (len(header) - 1)], *rows]
    return Markdown("\n".join(f"| {' | '.join(escape(cell) for cell in line)} |" for line in lines))


def link(text: str, address: str) -> Markdown:
    """A link to an address that is ours or made from a checked Hub id."""
    return Markdown(f"[{escape(text)}]({address})")
