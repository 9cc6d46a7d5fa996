"""The documentation site: Sphinx with MyST pages and the API reference from docstrings. Build: `make docs`."""

import re
from typing import Any

import trl_srl
from trl_srl.cli.quiet import hush


hush()

project = "trl-srl"
author = "The trl-srl authors"
copyright = "The trl-srl authors, Apache-2.0"
version = release = trl_srl.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"trl-srl {release}"
exclude_patterns = ["_build"]
suppress_warnings = ["misc.highlighting_failure"]  # rows that are shortened with an ellipsis

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

# Docstrings are written as TRL's are: Markdown, with sections that napoleon knows.
default_role = "code"
napoleon_numpy_docstring = False
napoleon_use_param = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings give types, in words

# Hosts that answer a checker with 403 or 429, whatever the page.
linkcheck_ignore = [r"https://huggingface\.co/papers/.*"]
linkcheck_anchors = False


def _as_restructured_text(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn the few Markdown forms of our docstrings, fenced code and [`links`], into what autodoc reads."""
    converted: list[str] = []
    fence: str | None = None
    for line in lines:
        opening = re.match(r"(\s*)```(\w*)$", line)
        if opening and fence is None:
            fence = opening[1]
            converted += ["", f"{fence}.. code-block:: {opening[2] or 'text'}", ""]
        elif opening:
            fence = None
            converted.append("")
        elif fence is not None:
            converted.append(f"    {line}" if line.strip() else "")
        else:
            converted.append(re.sub(r"\[`~?([^`\]]+)`\]", r"`\1`", line))
    lines[:] = converted


def _short_signature(app: Any, what: str, name: str, obj: Any, *args: Any) -> tuple[str, None] | None:
    """Configurations inherit two hundred fields from transformers and TRL: the docstring lists ours."""
    return ("(output_dir=None, **kwargs)", None) if what == "class" and name.endswith("Config") else None


def setup(app: Any) -> None:
    # Before napoleon, which sees code only as ordinary text.
    app.connect("autodoc-process-docstring", _as_restructured_text, priority=1)
    app.connect("autodoc-process-signature", _short_signature)
