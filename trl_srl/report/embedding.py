"""Data, styles and scripts in one page, of which nothing but these scripts can run.

The data are JSON, compressed and written in base64, which has no character that means anything in HTML; the page's own
script makes text nodes of them and nothing else. A Content-Security-Policy in the page forbids every script and style
but those whose hash it names, and all of the network.
"""

import base64
import gzip
import hashlib
import json
import math
from importlib.resources import files
from typing import Any


STYLES = ("base.css", "overview.css", "browser.css")
SCRIPTS = (
    "dom.js",
    "data.js",
    "theme.js",
    "charts.js",
    "overview.js",
    "filters.js",
    "list.js",
    "matching.js",
    "detail.js",
    "compare.js",
    "hardest.js",
    "keyboard.js",
    "main.js",
)


def embed(data: dict[str, Any]) -> bytes:
    """The page."""
    page = files(__package__) / "page"
    style = "\n".join((page / name).read_text(encoding="utf-8") for name in STYLES)
    script = "\n".join((page / name).read_text(encoding="utf-8") for name in SCRIPTS)
    # A fixed time, so that the same run gives the same file. JSON escapes what is not ASCII, lone surrogates included.
    text = json.dumps(_finite(data), separators=(",", ":"), allow_nan=False).encode("ascii")
    html = (page / "report.html").read_text(encoding="utf-8")
    for name, value in {
        "STYLE_HASH": _hash(style),
        "SCRIPT_HASH": _hash(script),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": base64.b64encode(gzip.compress(text, mtime=0)).decode("ascii"),
    }.items():
        html = html.replace(f"@@{name}@@", value)
    return html.encode("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _finite(value: Any) -> Any:
    """The value, with None for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value
