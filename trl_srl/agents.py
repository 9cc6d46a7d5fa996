r"""
An agent's chat to an agent trajectory: the task, and what the agent did and saw in turns.

    messages:  system · user (the task) · assistant (prose, a call) · tool (its result) · assistant …
    becomes    prompt: system, user · steps: {action, observation}, …

The action is what the environment consumes (actions.py); the teacher's prose and monologue are dropped, as in Appendix
A of the SRL paper. The observation is all that was said until the next action, empty if nothing was. An assistant's
turn without an action is skipped and counted, and what was answered to it is joined to the observation before (to the
task, if there is none): so nothing that the environment said is lost.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .actions import (
    ACTION_FORMATS,
    Call,
    as_call,
    encodable,
    find_action_format,
    load_json,
    read_action,
    unknown_format,
    write_calls,
)
from .prompts import THINK_CLOSE, Message


MAX_OBSERVATION_LENGTH = 10_000  # characters, the number that mini-SWE-agent shows its models

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "tool": "user",
    "function": "user",
    "observation": "user",
    "environment": "user",
    "tool_response": "user",
    "function_response": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
}
_LABEL = "OBSERVATION:\n"  # SWE-agent and OpenHands write it before a result; our prompts have a label of their own
_RECORDS = {"exit"}  # mini-SWE-agent's last message says how the run ended: no one saw it


class UnreadableMessages(ValueError):
    """What should be a chat is none."""


class AgentTrajectory(NamedTuple):
    """
    An expert agent's trajectory.

    Attributes:
        prompt (`list[dict[str, str]]`): Chat messages: system, if there is one, and the task. `[]` without a task.
        steps (`list[dict[str, str]]`): `action` in its canonical form and `observation`, for each action in order.
        action_format (`str` or `None`): Format of the actions; `None` if no turn has one.
        skipped_turns (`int`): Turns without an action.
        cut_observations (`int`): Observations of which the middle was cut out.
    """

    prompt: list[Message]
    steps: list[dict[str, str]]
    action_format: str | None
    skipped_turns: int = 0
    cut_observations: int = 0


class _Turn(NamedTuple):
    role: str
    content: str
    calls: tuple[Call | None, ...] = ()  # None: a malformed call


def read_messages(
    messages: str | Sequence[Mapping[str, Any]],
    *,
    action_format: str | None = None,
    max_observation_length: int = MAX_OBSERVATION_LENGTH,
    tools: Any = None,
) -> AgentTrajectory:
    r"""
    Read an agent's chat.

    Args:
        messages (`list[dict]` or `str`):
            Chat messages, or JSON of them: `role` and `content` (a text or parts of type `text`), perhaps
            `tool_calls`; ShareGPT's `from` and `value` and the older SWE-agent's `text` are read as well.
        action_format (`str`, *optional*):
            `"tool_call"`, `"function"` or `"command"`. By default the one in which most turns have an action.
            `tool_calls` can be written as `"function"`, the form of the paper's data.
        max_observation_length (`int`, *optional*, defaults to `10_000`):
            Longest observation in characters. A longer one is cut in the middle, with a note of what is missing.
        tools (`list` or `str`, *optional*):
            Descriptions of the functions, or JSON of them, to append to the system message: where a template got them
            apart from the messages, the student would not know what can be called.

    Returns:
        [`AgentTrajectory`]

    Raises:
        `UnreadableMessages`: when the messages are no chat: no list, no mappings, an unknown role; `ValueError`: for
        an unknown format or a negative length.

    Example:

    ```python
    >>> from trl_srl.agents import read_messages
    >>> call = {"function": {"name": "bash", "arguments": '{"command": "ls"}'}}
    >>> chat = [
    ...     {"role": "user", "content": "Fix it."},
    ...     {"role": "assistant", "content": "I look.", "tool_calls": [call]},
    ...     {"role": "tool", "content": "a.py"},
    ... ]
    >>> read_messages(chat, action_format="function").steps
    [{'action': '<function=bash>\n<parameter=command>ls</parameter>\n</function>', 'observation': 'a.py'}]

    ```
    """
    if action_format is not None and action_format not in ACTION_FORMATS:
        raise unknown_format(action_format)
    if max_observation_length < 0:
        raise ValueError(f"max_observation_length={max_observation_length} is too small. Write 0 or more.")
    turns = [turn for turn in map(_read_turn, _as_list(messages)) if turn.role not in _RECORDS]
    acted = [turn for turn in turns if turn.role == "assistant"]
    first = turns.index(acted[0]) if acted else len(turns)
    if action_format is None:
        action_format = "tool_call" if any(turn.calls for turn in acted) else None
    if action_format is None:
        action_format = find_action_format([turn.content for turn in acted])

    task = [turn.content for turn in turns[:first] if turn.role == "user"]
    actions: list[str] = []
    observations: list[list[str]] = []
    for turn in turns[first:]:
        if turn.role != "assistant":
            (observations[-1] if observations else task).append(turn.content.removeprefix(_LABEL))
        elif action := _read_turn_action(turn, action_format):
            actions.append(encodable(action))
            observations.append([])
    shown = [_cut_middle(_join(observation), max_observation_length) for observation in observations]
    system = _join([turn.content for turn in turns[:first] if turn.role == "system"] + _describe_tools(tools))
    prompt = [{"role": "system", "content": system}] if system else []
    return AgentTrajectory(
        prompt=[*prompt, {"role": "user", "content": _join(task)}] if _join(task) else [],
        steps=[
            {"action": action, "observation": observation}
            for action, (observation, _) in zip(actions, shown, strict=True)
        ],
        action_format=action_format,
        skipped_turns=len(acted) - len(actions),
        cut_observations=sum(cut for _, cut in shown),
    )


def _as_list(messages: Any) -> list[Mapping[str, Any]]:
    if isinstance(messages, str):
        messages = load_json(messages)
    if not isinstance(messages, list) or not all(isinstance(message, Mapping) for message in messages):
        raise UnreadableMessages(
            f"An agent's messages must be a list of mappings, or JSON of it, got {str(messages)[:200]!r}."
        )
    return messages


def _read_turn(message: Mapping[str, Any]) -> _Turn:
    role = str(message.get("role") or message.get("from"))
    if role in _RECORDS:
        return _Turn(role, "")
    if role not in _ROLES:
        raise UnreadableMessages(f"A message has the unknown role {role!r}; known are {', '.join(_ROLES)}.")
    texts = (message.get(key) for key in ("content", "value", "text", "system_prompt"))
    content = _as_text(next((text for text in texts if text), ""))
    calls = message.get("tool_calls") or message.get("function_call") or ()
    if role in ("function_call", "tool_call"):
        content, calls = "", content
    if isinstance(calls, str):
        calls = load_json(calls)
    calls = calls if isinstance(calls, list | tuple) else [calls]  # what is no call becomes a malformed one
    if _ROLES[role] == "assistant":
        content = content.rpartition(THINK_CLOSE)[2]
    return _Turn(_ROLES[role], content, tuple(as_call(_without_none(call)) for call in calls))


def _as_text(content: Any) -> str:
    """Content that is a text, or a list of parts as OpenAI and Anthropic write them."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    return "".join(
        part if isinstance(part, str) else part.get("text") or f"[{part.get('type')}]"
        for part in parts
        if isinstance(part, str | Mapping)
    )


def _without_none(value: Any) -> Any:
    """🤗 Datasets gives every row all the keys that any row has, and fills them with None."""
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def _read_turn_action(turn: _Turn, action_format: str | None) -> str | None:
    if action_format is None:
        return None
    if turn.calls and action_format != "command":
        calls = [call for call in turn.calls if call is not None]
        written = write_calls(calls, action_format) if len(calls) == len(turn.calls) else None
        # A value may hold the tag that ends it: what reads as another action is none.
        return written if written is not None and read_action(written, action_format) == written else None
    return read_action(turn.content, action_format)


def _join(parts: Sequence[str]) -> str:
    return encodable("\n\n".join(part.strip() for part in parts if part.strip()))


def _cut_middle(text: str, limit: int) -> tuple[str, bool]:
    if len(text) <= limit:
        return text, False
    head = limit // 2
    tail = len(text) - (limit - head)
    return f"{text[:head]}\n[… {tail - head:,} characters left out …]\n{text[tail:]}", True


def _describe_tools(tools: Any) -> list[str]:
    if isinstance(tools, str):
        tools = None if tools.strip() in ("", "[]", "{}", "null") else load_json(tools) or tools
    tools = [tools] if isinstance(tools, str | Mapping) else tools
    if not tools:
        return []
    lines = ["You can call these functions:"]
    for tool in tools:
        lines.append(tool if isinstance(tool, str) else json.dumps(_without_none(tool), ensure_ascii=False))
    return ["\n".join(lines)]
