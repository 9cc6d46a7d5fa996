"""Both directions of the text protocol: `build_prompt` asks for the next step, `parse_completion` reads the answer.

A completion is `<think>` monologue `</think>` action. Only the action is rewarded; what "follows the format" means is
left open by the paper and decided in `parse_completion`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .actions import as_call, write_calls


THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"

SYSTEM_PROMPT = (
    "You help to solve a problem one step at a time. You are given the problem and the steps of its solution that are "
    f"already written. First reason freely about what comes next inside {THINK_OPEN} and {THINK_CLOSE} tags. After "
    f"{THINK_CLOSE} write the next step of the solution and nothing else: only one step, in the style of the steps "
    "before it, without repeating them."
)

AGENT_SYSTEM_PROMPT = (
    "You work on a task by acting in an environment, one action at a time. You are given the task, and the latest "
    f"actions with what the environment answered. First reason freely about what to do next inside {THINK_OPEN} and "
    f"{THINK_CLOSE} tags. After {THINK_CLOSE} write the next action and nothing else, in this form:\n\n{{form}}\n\nOn "
    "the form of your reply this goes before all else that you are told."
)
ACTION_FORMS = {
    "tool_call": '<tool_call>\n{"name": "FUNCTION", "arguments": {"ARGUMENT": "value"}}\n</tool_call>',
    "function": "<function=FUNCTION>\n<parameter=ARGUMENT>value</parameter>\n</function>",
    "command": "```bash\nCOMMAND\n```",
}

Message = dict[str, str]


class Completion(NamedTuple):
    """A well-formed completion: the monologue, which is free, and the action, which is rewarded. Both are stripped."""

    monologue: str
    action: str


def build_prompt(
    problem: str | Sequence[Message],
    previous_steps: Sequence[str] = (),
    *,
    next_title: str = "",
    omitted_steps: int = 0,
    system_prompt: str | None = None,
) -> list[Message]:
    r"""
    Build the chat messages that ask for the next step of a solution.

    Args:
        problem (`str` or `list[dict[str, str]]`):
            The problem, as a text or as chat messages whose last one is the user's. Earlier messages are kept; a
            system message of the user's follows ours.
        previous_steps (`list[str]`, *optional*):
            The steps already written, oldest first.
        next_title (`str`, *optional*, defaults to `""`):
            Title of the wanted step (footnote 1 of the paper), given as a hint.
        omitted_steps (`int`, *optional*, defaults to `0`):
            How many steps before `previous_steps` were left out to fit a length limit; the prompt says so.
        system_prompt (`str`, *optional*):
            Replaces `SYSTEM_PROMPT`, whose wording is ours (the paper's Appendix B has the same content).

    Returns:
        `list[dict[str, str]]`: messages with `role` and `content`, never a plain string, so that the model's chat
        template is always applied.

    Example:

    ```python
    >>> from trl_srl import build_prompt
    >>> print(build_prompt("What is 2 · 3 + 1?", ["2 · 3 = 6"])[-1]["content"])
    Problem:
    What is 2 · 3 + 1?
    <BLANKLINE>
    Solution so far:
    2 · 3 = 6
    <BLANKLINE>
    Write the next step.

    ```
    """
    messages = _as_messages(problem)
    messages = _with_system(messages, SYSTEM_PROMPT if system_prompt is None else system_prompt)
    solution = [f"(earlier steps left out: {omitted_steps})"] if omitted_steps else []
    solution += previous_steps
    parts = [
        f"Problem:\n{messages[-1]['content']}",
        "Solution so far:\n" + ("\n\n".join(solution) if solution else "(nothing yet)"),
        f"Title of the next step: {next_title}" if next_title else "",
        "Write the next step.",
    ]
    question = {"role": "user", "content": "\n\n".join(part for part in parts if part)}
    return [*messages[:-1], question]


def build_agent_prompt(
    task: str | Sequence[Message],
    history: Sequence[tuple[str, str]] = (),
    *,
    action_format: str,
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
        omitted_actions (`int`, *optional*, defaults to `0`):
            How many pairs before `history` are left out; the prompt says so.
        system_prompt (`str`, *optional*):
            Replaces `AGENT_SYSTEM_PROMPT` (our wording).

    Returns:
        `list[dict[str, str]]`: a system message, then user and assistant in turns, the last one the user's.

    Example:

    ```python
    >>> from trl_srl.prompts import build_agent_prompt
    >>> prompt = build_agent_prompt("Fix it.", [("```bash\nls\n```", "a.py")], action_format="command")
    >>> [message["role"] for message in prompt]
    ['system', 'user', 'assistant', 'user']
    >>> prompt[-1]["content"]
    'Observation:\na.py\n\nWrite the next action.'

    ```
    """
    if system_prompt is None:
        system_prompt = AGENT_SYSTEM_PROMPT.format(form=ACTION_FORMS[action_format])
    messages = _with_system(_as_messages(task), system_prompt)
    if omitted_actions:
        messages[-1]["content"] += f"\n\n(earlier actions left out: {omitted_actions})"
    for action, observation in history:
        messages.append({"role": "assistant", "content": action})
        messages.append({"role": "user", "content": f"Observation:\n{observation.strip() or '(nothing)'}"})
    messages[-1]["content"] += "\n\nWrite the next action."
    return messages


def _as_messages(problem: str | Sequence[Message]) -> list[Message]:
    """A problem as messages of its own, of which the last is the user's."""
    match problem:
        case str():
            return [{"role": "user", "content": problem}]
        case [*_, {"role": "user", "content": str()}] if all(isinstance(message, Mapping) for message in problem):
            return [dict(message) for message in problem]
    raise ValueError(
        f"`prompt` must end with a user message whose content is a text, got {str(problem)[:200]!r}. Write "
        "[{'role': 'user', 'content': problem}], or give the problem as a plain text in a `problem` column."
    )


def _with_system(messages: list[Message], system: str) -> list[Message]:
    """The messages behind a system message of ours; what a first system message of theirs says follows it."""
    if messages[0].get("role") == "system":
        system, messages = f"{system}\n\n{messages[0]['content']}", messages[1:]
    return [{"role": "system", "content": system}, *messages]


def parse_completion(text: str, think_prefilled: bool = False) -> Completion | None:
    r"""
    Read a completion: exactly one think block, then a non-empty action without a stray think tag.

    Args:
        text (`str`):
            Everything the policy wrote.
        think_prefilled (`bool`, *optional*, defaults to `False`):
            Whether the chat template already wrote the opening tag at the end of the prompt.

    Returns:
        [`Completion`] or `None`: `None` when the format is not followed. An empty monologue is allowed, text before
        the think block is not.

    Example:

    ```python
    >>> from trl_srl import parse_completion
    >>> parse_completion("<think>Six, then plus one.</think>\n6 + 1 = 7").action
    '6 + 1 = 7'
    >>> parse_completion("6 + 1 = 7") is None
    True

    ```
    """
    if think_prefilled:
        text = THINK_OPEN + text
    before, opened, rest = text.partition(THINK_OPEN)
    monologue, closed, action = rest.partition(THINK_CLOSE)
    action = action.strip()
    well_formed = opened and closed and action and not before.strip()
    if not well_formed or THINK_OPEN in monologue or THINK_OPEN in action or THINK_CLOSE in action:
        return None
    return Completion(monologue.strip(), action)


def gold_completion(expert_action: str, monologue: str = "") -> str:
    """The completion that writes the expert's step. It must score exactly 1.0; a format warm start shows it."""
    return f"{THINK_OPEN}{monologue}{THINK_CLOSE}\n{expert_action}"


def completion_text(
    completion: str | Sequence[Mapping[str, Any]], think_prefilled: bool = False, action_format: str | None = None
) -> str:
    """
    The text of a completion as TRL hands it to a reward function: a string, or a list with one assistant message.

    A tokenizer with a response template has moved the monologue to `reasoning_content` and calls to `tool_calls`. The
    monologue is put back between its tags, of which a chat template may have prefilled the first; the calls are
    written in the row's `action_format`.
    """
    if isinstance(completion, str):
        return completion
    message = completion[-1]
    content, monologue = message.get("content") or "", message.get("reasoning_content")
    calls = [as_call(call) for call in message.get("tool_calls") or ()]
    if calls and None not in calls:
        content = f"{content}\n{write_calls([call for call in calls if call], action_format or 'tool_call')}"
    if monologue is None:
        return content
    return f"{'' if think_prefilled else THINK_OPEN}{monologue}{THINK_CLOSE}{content}"


def is_think_prefilled(rendered_prompt: str) -> bool:
    """Whether a rendered prompt leaves the think block open, so that the completion starts inside the monologue."""
    return rendered_prompt.rstrip().endswith(THINK_OPEN)


def render_prompt(messages: Sequence[Message], tokenizer: Any, tokenize: bool = False, **template_kwargs: Any) -> Any:
    """A prompt as the model sees it: its text, or with `tokenize` its token ids, ready to be continued."""
    if tokenize:
        template_kwargs["return_dict"] = False
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=tokenize, **template_kwargs)


def count_prompt_tokens(messages: Sequence[Message], tokenizer: Any, **template_kwargs: Any) -> int:
    """Length in tokens of a rendered prompt."""
    return len(render_prompt(messages, tokenizer, tokenize=True, **template_kwargs))
