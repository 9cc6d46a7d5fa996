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

SOLUTION_SYSTEM_PROMPT = (
    "Solve the problem step by step. Write the whole solution, and at its end the final answer inside \\boxed{}."
)
NEXT_STEP_REQUEST = "Write the next step."
ANSWER_REQUEST = "The solution ends here. Write its final answer inside \\boxed{} and nothing else."
_PROBLEM, _SOLUTION = "Problem:\n", "\n\nSolution so far:\n"

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
    request: str = NEXT_STEP_REQUEST,
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
        request (`str`, *optional*, defaults to `"Write the next step."`):
            The last line.

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
    solution = [f"(earlier steps left out: {omitted_steps})"] if omitted_steps else []
    solution += previous_steps
    parts = [
        _PROBLEM + messages[-1]["content"] + _SOLUTION + ("\n\n".join(solution) if solution else "(nothing yet)"),
        f"Title of the next step: {next_title}" if next_title else "",
        request,
    ]
    messages[-1]["content"] = "\n\n".join(part for part in parts if part)
    return with_system_prompt(messages, SYSTEM_PROMPT if system_prompt is None else system_prompt)


def with_system_prompt(messages: Sequence[Message], system_prompt: str) -> list[Message]:
    """The messages after a system message. One of the user's own follows in it."""
    if messages[0].get("role") == "system":
        system_prompt, messages = f"{system_prompt}\n\n{messages[0]['content']}", messages[1:]
    return [{"role": "system", "content": system_prompt}, *messages]


def _as_messages(problem: str | Sequence[Message]) -> list[Message]:
    """A problem as chat messages, of which the last one is the user's."""
    match problem:
        case str():
            messages = [{"role": "user", "content": problem}]
        case [*_, {"role": "user", "content": str()}] if all(isinstance(message, Mapping) for message in problem):
            messages = [dict(message) for message in problem]
        case _:
            messages = []
    if not messages:
        raise ValueError(
            f"`prompt` must end with a user message whose content is a text, got {str(problem)[:200]!r}. Write "
            "[{'role': 'user', 'content': problem}], or give the problem as a plain text in a `problem` column."
        )
    return messages


def build_solution_prompt(problem: str | Sequence[Message], system_prompt: str | None = None) -> list[Message]:
    """
    Build the chat messages that ask for a whole solution at once.

    Args:
        problem (`str` or `list[dict[str, str]]`):
            As in [`build_prompt`].
        system_prompt (`str`, *optional*):
            Replaces `SOLUTION_SYSTEM_PROMPT`, which asks for steps and for the final answer in a box; its wording is
            ours.

    Returns:
        `list[dict[str, str]]`.
    """
    return with_system_prompt(
        _as_messages(problem), SOLUTION_SYSTEM_PROMPT if system_prompt is None else system_prompt
    )


def read_problem(prompt: Sequence[Message]) -> tuple[str | list[Message], str]:
    """
    The problem that a prompt of [`build_prompt`] is about, and its system prompt.

    Args:
        prompt (`list[dict[str, str]]`):
            Chat messages.

    Returns:
        `tuple`: what `build_prompt` takes as `problem` (chat messages only if there is more than the user's), and as
        `system_prompt`.

    Raises:
        `ValueError`: when `build_prompt` did not make the prompt.

    Example:

    ```python
    >>> from trl_srl.prompts import build_prompt, read_problem
    >>> read_problem(build_prompt("What is 2 · 3 + 1?", ["2 · 3 = 6"], system_prompt="Think."))
    ('What is 2 · 3 + 1?', 'Think.')

    ```
    """
    content = prompt[-1]["content"]
    problem, found, _ = content.removeprefix(_PROBLEM).partition(_SOLUTION)
    if not found or not content.startswith(_PROBLEM) or prompt[0]["role"] != "system":
        raise ValueError(
            f"Cannot find the problem in the prompt {content[:200]!r}: trl_srl.build_prompt did not make it. Give "
            "rows with a `problem` and an `answer`."
        )
    earlier = [dict(message) for message in prompt[1:-1]]
    return ([*earlier, {"role": "user", "content": problem}] if earlier else problem), prompt[0]["content"]


def problem_text(prompt: Sequence[Mapping[str, Any]]) -> str:
    """
    The problem in the prompt of a step row: what the chat messages say, without the system message, and without the
    words that [`build_prompt`] puts around a problem and the steps so far.
    """
    contents = [str(message.get("content") or "") for message in prompt if message.get("role") != "system"]
    if contents and contents[-1].startswith(_PROBLEM):
        contents[-1] = contents[-1].removeprefix(_PROBLEM).partition(_SOLUTION)[0]
    return "\n".join(contents)


def is_built_prompt(prompt: Sequence[Mapping[str, Any]]) -> bool:
    """Whether [`build_prompt`] wrote a prompt, so that its problem is the same text in every step's prompt."""
    content = str(prompt[-1].get("content") or "") if prompt else ""
    return content.startswith(_PROBLEM) and _SOLUTION in content  # an agent's task may begin with "Problem:", too


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
        written = write_calls([call for call in calls if call], action_format or "tool_call")
        content = f"{content}\n{written or ''}"
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
