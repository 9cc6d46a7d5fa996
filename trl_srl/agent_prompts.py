"""The prompt that asks an agent for its next action; its answer is read by `parse_completion` and `read_action`."""

from collections.abc import Sequence

from .actions import unknown_format
from .prompts import THINK_CLOSE, THINK_OPEN, Message, with_system_prompt


AGENT_SYSTEM_PROMPT = (
    "You work on a task by acting in an environment, one action at a time. You are given the task, and the latest "
    f"actions with what the environment answered. First reason freely about what to do next inside {THINK_OPEN} and "
    f"{THINK_CLOSE} tags. After {THINK_CLOSE} write the next action and nothing else, in this form:\n\n{{form}}\n\nOn "
    "the form of your reply this goes before all else that you are told."
)
ACTION_FORMS = {
    "tool_call": '<tool_call>\n{"arguments":{"ARGUMENT":"value"},"name":"FUNCTION"}\n</tool_call>',
    "function": "<function=FUNCTION>\n<parameter=ARGUMENT>value</parameter>\n</function>",
    "command": "```bash\nCOMMAND\n```",
}


def build_agent_prompt(
    task: str | Sequence[Message],
    history: Sequence[tuple[str, str]] = (),
    *,
    action_format: str,
    shell: str = "bash",
    omitted_actions: int = 0,
    system_prompt: str | None = None,
) -> list[Message]:
    r"""
    Build the chat messages that ask for an agent's next action.

    Source: Appendix A of the paper, whose context is the task and the last two pairs. Actions are the assistant's
    messages and observations the user's: some chat templates refuse the role `tool`, or two messages of one role in a
    row, and all of them render these two in turns.

    Args:
        task (`str` or `list[dict[str, str]]`):
            The task, as a text or as chat messages whose last one is the user's. A system message follows ours.
        history (`list[tuple[str, str]]`, *optional*):
            The latest pairs of an action and what the environment answered, oldest first.
        action_format (`str`):
            `"tool_call"`, `"function"` or `"command"`; the system message shows its form.
        shell (`str`, *optional*, defaults to `"bash"`):
            The name that a command's fence has, `""` for none.
        omitted_actions (`int`, *optional*, defaults to `0`):
            How many pairs before `history` are left out; the prompt says so.
        system_prompt (`str`, *optional*):
            Replaces `AGENT_SYSTEM_PROMPT` (our wording).

    Returns:
        `list[dict[str, str]]`: a system message, then user and assistant in turns, the last one the user's.

    Raises:
        `ValueError`: when the task does not end with the user's message, or for an unknown format.

    Example:

    ```python
    >>> from trl_srl import build_agent_prompt
    >>> prompt = build_agent_prompt("Fix it.", [("```bash\nls\n```", "a.py")], action_format="command")
    >>> [message["role"] for message in prompt]
    ['system', 'user', 'assistant', 'user']
    >>> prompt[-1]["content"]
    'Observation:\na.py\n\nWrite the next action.'

    ```
    """
    if action_format not in ACTION_FORMS:
        raise unknown_format(action_format)
    if system_prompt is None:
        form = ACTION_FORMS[action_format].replace("```bash", f"```{shell}")
        system_prompt = AGENT_SYSTEM_PROMPT.format(form=form)
    messages = [{"role": "user", "content": task}] if isinstance(task, str) else [dict(message) for message in task]
    if not messages or messages[-1].get("role") != "user" or not isinstance(messages[-1].get("content"), str):
        raise ValueError(
            f"An agent's task must be a text, or messages of which the last is the user's, got {str(task)[:200]!r}."
        )
    messages = with_system_prompt(messages, system_prompt)
    if omitted_actions:
        messages[-1]["content"] += f"\n\n(earlier actions left out: {omitted_actions})"
    for action, observation in history:
        messages.append({"role": "assistant", "content": action})
        messages.append({"role": "user", "content": f"Observation:\n{observation.strip() or '(nothing)'}"})
    messages[-1]["content"] += "\n\nWrite the next action."
    return messages
