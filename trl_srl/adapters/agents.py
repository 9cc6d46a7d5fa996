r"""Agents' chats: SWE-smith, SWE-agent, OpenHands and SWE-Gym, mini-SWE-agent, and chat messages in general."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..actions import load_json
from ..agents import MAX_OBSERVATION_LENGTH, AgentTrajectory, UnreadableMessages, read_messages
from .adapter import Adapter, Row


Read = Callable[[Row], tuple[Any, str]]  # a row → its messages, and why it cannot be used


def _unresolved(flag: Any) -> str:
    """A flag of 0, of false, or of -1 (some data sets write that for "not known") is no success."""
    if isinstance(flag, str):
        flag = flag.lower() in ("true", "yes", "1")
    return "unresolved" if flag is not None and not flag > 0 else ""


def read_messages_column(row: Row) -> tuple[Any, str]:
    """`messages`. Trajectories that `resolved` says failed are dropped."""
    return row["messages"], _unresolved(row.get("resolved"))


def read_trajectory_column(row: Row) -> tuple[Any, str]:
    """`trajectory`; SWE-agent's `target` is another name of `resolved`."""
    return row["trajectory"], _unresolved(row["resolved"] if row.get("resolved") is not None else row.get("target"))


def read_mini_swe_agent(row: Row) -> tuple[Any, str]:
    """`messages`. Runs that ended otherwise than `Submitted`, as `info` says in a .traj.json file, are dropped."""
    info = load_json(row["info"]) if isinstance(row.get("info"), str) else row.get("info")
    status = (info.get("exit_status") if isinstance(info, Mapping) else None) or row.get("exit_status")
    unfinished = "" if status in (None, "Submitted") else "unfinished"
    return row["messages"], unfinished or _unresolved(row.get("resolved"))


def read_conversations(row: Row) -> tuple[Any, str]:
    """`conversations`; the system message may stand in a column `system`."""
    messages = row["conversations"]
    if isinstance(messages, str):
        messages = load_json(messages)
    if row.get("system") and isinstance(messages, list):
        messages = [{"from": "system", "value": row["system"]}, *messages]
    return messages, _unresolved(row.get("resolved"))


def convert_agent(
    read: Read,
    row: Row,
    *,
    action_format: str | None = None,
    max_observation_length: int = MAX_OBSERVATION_LENGTH,
) -> dict[str, Any]:
    """An agent's row; `tools`, where there are any, are described in the system message."""
    trajectory = AgentTrajectory([], [], None)
    messages, drop_reason = read(row)
    if not drop_reason:
        try:
            trajectory = read_messages(
                messages,
                action_format=action_format,
                max_observation_length=max_observation_length,
                tools=row.get("tools"),
            )
            drop_reason = "" if trajectory.steps else "no_action"
        except (UnreadableMessages, RecursionError):  # the latter: JSON nested too deeply
            drop_reason = "unreadable_messages"
    return {**trajectory._asdict(), "drop_reason": drop_reason}


def _adapter(name: str, description: str, column: str, read: Read) -> Adapter:
    return Adapter(name, description, (column,), partial(convert_agent, read), kind="agent")


ADAPTERS = (
    _adapter(
        "swe_smith",
        "SWE-smith's trajectories, the paper's agent data: the splits xml, tool and ticks",
        "messages",
        read_messages_column,
    ),
    _adapter(
        "openhands",
        "OpenHands' trajectories in `trajectory`",
        "trajectory",
        read_trajectory_column,
    ),
    _adapter(
        "swe_gym",
        "OpenHands' trajectories in `messages`",
        "messages",
        read_messages_column,
    ),
    _adapter(
        "swe_agent",
        "SWE-agent's older trajectories: `role` and `text`, commands in fenced blocks",
        "trajectory",
        read_trajectory_column,
    ),
    _adapter(
        "mini_swe_agent",
        "mini-SWE-agent: one fenced command a turn, or tool calls; data sets and .traj.json files",
        "messages",
        read_mini_swe_agent,
    ),
    _adapter(
        "messages",
        "any chat with `tool_calls`, or with <tool_call>, <function=…> or fenced commands in its texts",
        "messages",
        read_messages_column,
    ),
    _adapter("sharegpt", "the same in `conversations` of `from` and `value`", "conversations", read_conversations),
)
