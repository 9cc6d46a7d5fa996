r"""
What an environment consumes of an agent's turn, in one canonical form, whoever wrote it.

| format | what is read | canonical form |
|---|---|---|
| `"tool_call"` | `<tool_call>` blocks: JSON of `name`, `arguments` | keys sorted, no white space in the JSON |
| `"function"` | `<function=name>` blocks with `<parameter=x>` | parameters sorted, nothing between them |
| `"command"` | a fenced block with a shell's name, or the last without one | the block alone |

Prose around the blocks is left out. Where one of them is malformed, nothing is read: an environment would not run it
either. Time is linear in the length of every text: tags are looked for one after the other, and nothing backtracks.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


ACTION_FORMATS = ("tool_call", "function", "command")
SHELLS = ("bash", "sh", "shell", "zsh", "mswea_bash_command")

_CALL_OPEN, _CALL_CLOSE = "<tool_call>", "</tool_call>"
_FUNCTION_OPEN, _FUNCTION_CLOSE = "<function=", "</function>"
_PARAMETER_OPEN, _PARAMETER_CLOSE = "<parameter=", "</parameter>"
_MAX_NAME = 200  # characters of a function's or a parameter's name; bounds the search for its ">"


class Call(NamedTuple):
    """A call of a function: its name and its arguments by name."""

    name: str
    arguments: Mapping[str, Any]


def read_action(text: str, action_format: str) -> str | None:
    r"""
    Read the action in a text: in an expert's turn, or in what a model wrote after its monologue.

    Args:
        text (`str`):
            The text. Prose around the action is left out.
        action_format (`str`):
            `"tool_call"`, `"function"` or `"command"`. Several calls of one turn (parallel calls) are one action that
            holds them all, in their order. Of commands a turn has one: where two fenced blocks name a shell, nothing
            is read, as in mini-SWE-agent; of blocks without a name the last one is the action, as in SWE-agent.

    Returns:
        `str` or `None`: the action in its canonical form, which reads as itself; `None` where there is none, or where
        it is malformed.

    Raises:
        `ValueError`: if `action_format` is none of these.

    Example:

    ```python
    >>> from trl_srl import read_action
    >>> print(read_action('I look.\n<tool_call>{"name": "ls", "arguments": {"path": "/"}}</tool_call>', "tool_call"))
    <tool_call>
    {"arguments":{"path":"/"},"name":"ls"}
    </tool_call>
    >>> read_action("I look around first.", "tool_call") is None
    True

    ```
    """
    match action_format:
        case "tool_call":
            calls = _read_tool_calls(text)
        case "function":
            calls = _read_functions(text)
        case "command":
            return _read_command(text)
        case _:
            raise unknown_format(action_format)
    return write_calls(calls, action_format) if calls else None


def unknown_format(action_format: str) -> ValueError:
    """The error for an action's format that is none."""
    return ValueError(
        f"action_format={action_format!r} is unknown. Write one of {', '.join(ACTION_FORMATS)}; rows whose steps are "
        "texts have no such column."
    )


def comparable(text: str, action_format: str | None) -> str:
    """
    The text that the similarity compares: the action in its canonical form, or the text as it was written where none
    can be read, and in rows whose steps are texts (`action_format` is `None` or `"text"`).
    """
    if action_format is None or action_format == "text":
        return text
    action = read_action(text, action_format)
    return text if action is None else action


def find_action_format(texts: Sequence[str]) -> str | None:
    """The format in which most of the texts hold an action, the earlier in `ACTION_FORMATS` of equals; or `None`."""
    counts = {name: sum(read_action(text, name) is not None for text in texts) for name in ACTION_FORMATS}
    best = max(ACTION_FORMATS, key=lambda name: counts[name])
    return best if counts[best] else None


def shell_of(action: str) -> str:
    """The name on the fence of a command in its canonical form, `""` if it has none or the action is no command."""
    first = action.partition("\n")[0]
    return first.lstrip("`") if first.startswith("```") else ""


def as_call(value: Any) -> Call | None:
    """
    A call as chat data hold it: `name` and `arguments` (a mapping, or JSON of one; Llama's `parameters` are the same),
    perhaps inside `function`. `None` if it is malformed.
    """
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        value = value["function"]
    if not isinstance(value, Mapping):
        return None
    name, arguments = value.get("name"), value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        arguments = load_json(arguments) if arguments.strip() else {}
    elif arguments is None:
        arguments = {}
    if not isinstance(name, str) or not name.strip() or not isinstance(arguments, Mapping):
        return None
    return Call(name.strip(), arguments)


def write_calls(calls: Sequence[Call], action_format: str) -> str | None:
    """
    Calls in the canonical form of `"tool_call"` or `"function"`, one block for each. `None` if an argument is no JSON:
    a number too large for a float, a date, or what is nested as deeply as could just be read.
    """
    write = _write_function if action_format == "function" else _write_tool_call
    try:
        return "\n".join(map(write, calls))
    except (ValueError, TypeError, RecursionError):
        return None


def load_json(text: str, start: int | None = None) -> Any:
    """
    The JSON value of a text, or with `start` the value that begins there and where it ends, `(value, end)`. `None` for
    what is no JSON, or nested too deeply to be read.
    """
    try:
        return _DECODER.decode(text) if start is None else _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None


def encodable(text: str) -> str:
    """A text that a file can hold: U+FFFD for half a surrogate pair, which JSON may write as \\ud83d."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _dump_json(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, written as \ud83d: no file could hold it otherwise
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    return text


def _write_tool_call(call: Call) -> str:
    return f"{_CALL_OPEN}\n{_dump_json({'name': call.name, 'arguments': call.arguments})}\n{_CALL_CLOSE}"


def _read_tool_calls(text: str) -> list[Call] | None:
    calls: list[Call] = []
    start = text.find(_CALL_OPEN)
    while start >= 0:
        start = _skip_space(text, start + len(_CALL_OPEN))
        if text.startswith("{", start):  # else the tag is only mentioned
            read = load_json(text, start)
            call = as_call(read[0]) if read else None
            if read is None or call is None:
                return None
            start = _skip_space(text, read[1])
            if not text.startswith(_CALL_CLOSE, start):
                return None
            calls.append(call)
        start = text.find(_CALL_OPEN, start)
    return calls


def _skip_space(text: str, start: int) -> int:
    while text[start : start + 1].isspace():
        start += 1
    return start


def _write_function(call: Call) -> str:
    lines = [f"{_FUNCTION_OPEN}{call.name}>"]
    for name, argument in sorted(call.arguments.items()):
        value = argument if isinstance(argument, str) else _dump_json(argument)
        # One newline on each side is no part of a value (so read SWE-agent and OpenHands): it sets off several lines.
        value = f"\n{value}\n" if "\n" in value else value
        lines.append(f"{_PARAMETER_OPEN}{name}>{value}{_PARAMETER_CLOSE}")
    return "\n".join([*lines, _FUNCTION_CLOSE])


def _read_name(text: str, start: int) -> tuple[str, int] | None:
    """The name that begins here, up to its ">", and where that ends."""
    end = text.find(">", start, start + _MAX_NAME)
    name = text[start : max(end, start)].strip()
    if "<" in name or len(name.split()) != 1:
        return None
    return name, end + 1


def _read_functions(text: str) -> list[Call] | None:
    calls: list[Call] = []
    start = text.find(_FUNCTION_OPEN)
    while start >= 0:
        start += len(_FUNCTION_OPEN)
        head = _read_name(text, start)
        if head is not None:  # else the tag is only mentioned
            name, start = head
            body = _read_parameters(text, start)
            if body is None:
                return None
            calls.append(Call(name, body[0]))
            start = body[1]
        start = text.find(_FUNCTION_OPEN, start)
    return calls


def _read_parameters(text: str, start: int) -> tuple[dict[str, str], int] | None:
    """The parameters of a function block, and where it ends. What stands between them is left out."""
    parameters: dict[str, str] = {}
    last = start
    end = text.find(_FUNCTION_CLOSE, start)
    limit = end if end >= 0 else len(text)
    parameter = text.find(_PARAMETER_OPEN, start, limit)
    while parameter >= 0:
        head = _read_name(text, parameter + len(_PARAMETER_OPEN))
        close = text.find(_PARAMETER_CLOSE, head[1]) if head else -1
        if head is None or close < 0:
            return None
        parameters[head[0]] = text[head[1] : close].removeprefix("\n").removesuffix("\n")
        last = close + len(_PARAMETER_CLOSE)
        if limit < last:  # the value itself holds the tag
            end = text.find(_FUNCTION_CLOSE, last)
            limit = end if end >= 0 else len(text)
        parameter = text.find(_PARAMETER_OPEN, last, limit)
    if end >= 0:
        return parameters, end + len(_FUNCTION_CLOSE)
    # OpenHands lets its models stop before the tag that closes the last block, and puts it back itself.
    return None if text[last:].strip() else (parameters, len(text))


def _write_command(command: str, label: str) -> str:
    lines = [line.strip() for line in command.split("\n")]
    longest = max((len(line) for line in lines if not line.strip("`")), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{label}\n{command}\n{fence}"


def _read_command(text: str) -> str | None:
    """The fenced command, by Markdown's rule: a fence is closed by a line of at least as many back-ticks alone."""
    named: list[tuple[str, str]] = []
    bare: list[tuple[str, str]] = []
    fence, label, body = 0, "", [""]
    for line in text.split("\n"):
        stripped = line.strip()
        if fence:
            if len(stripped) < fence or stripped.strip("`"):
                body.append(line)
                continue
            command = "\n".join(body).strip()
            if label.lower() in SHELLS:
                named.append((command, label))
            elif not label:
                bare.append((command, label))
            fence = 0
        elif stripped.startswith("```"):
            info = stripped.lstrip("`")
            if "`" not in info:  # else it is code inside a line
                fence, label, body = len(stripped) - len(info), (info.split() or [""])[0], []
    if len(named) > 1:
        return None
    command, label = (named or bare[-1:] or [("", "")])[0]
    return _write_command(command, label) if command else None
