"""One expert trajectory → its step rows. Unusable ones are among them and carry the reason; formatting.py counts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .actions import find_action_format, read_action, shell_of
from .agent_prompts import build_agent_prompt
from .prompts import Message, build_prompt, gold_completion, parse_completion
from .step_rows import digest
from .trajectories import Step, build_step


@dataclass(frozen=True)
class Options:
    """The settings of [`format_trajectories`]."""

    include_last_step: bool = False
    title_hint: bool = False
    system_prompt: str | None = None
    history_window: int = 2
    max_prompt_length: int | None = None
    count_tokens: Callable[[list[Message]], int] | None = None

    def __post_init__(self) -> None:
        if self.max_prompt_length is not None and self.count_tokens is None:
            raise ValueError(
                "`max_prompt_length` counts tokens: pass `count_tokens`, which counts those of chat messages."
            )
        if self.history_window < 0:
            raise ValueError(
                f"history_window={self.history_window} is too small. Write 0 or more; the paper's number is 2."
            )


def expand_trajectory(row: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """
    The step rows of one trajectory row.

    Args:
        row (`Mapping`):
            A trajectory row: `problem` or `prompt`, `steps` or `completions`, perhaps `labels`, `answer`,
            `action_format`, `drop_reason`. Steps that are mappings with `action` make it an agent's.
        options ([`Options`]):
            Settings.

    Yields:
        `dict`: a step row with `drop_reason`, `""` if it can be used. A trajectory of which nothing can be used yields
        one row.

    Raises:
        `TypeError`: when the steps are no list of steps.
    """
    problem, steps = problem_and_steps(row)
    answer, reason = row.get("answer"), str(row.get("drop_reason") or "")
    blank: dict[str, Any] = {
        "prompt": [],
        "expert_action": "",
        "problem_id": digest(problem or ""),
        "step_index": 0,
        "num_steps": 0,
        "answer": None if answer is None else str(answer),
        "trajectory_id": "",
        "omitted_steps": 0,
        "drop_reason": "",
        "action_format": row.get("action_format"),
        "skipped_turns": row.get("skipped_turns") or 0,
        "cut_observations": row.get("cut_observations") or 0,
    }
    if reason:  # it is printed
        yield blank | {"drop_reason": reason if reason.isprintable() else ascii(reason)}
    elif _is_blank(problem):
        yield blank | {"drop_reason": "empty_problem"}
    elif isinstance(steps, str | Mapping):
        raise TypeError(
            f"The steps of the problem {str(problem)[:80]!r} are of type {type(steps).__name__}, not a list of steps. "
            "Cut solutions in one text first: trl_srl.split_solutions, or `trl-srl prepare --solution_column`."
        )
    elif is_agent(steps):
        yield from _expand_agent(problem, steps, blank, options)
    else:
        yield from _expand_solution(problem, steps or [], row.get("labels"), blank, options)


def problem_and_steps(row: Mapping[str, Any]) -> tuple[Any, Any]:
    """The problem and the steps of a trajectory row, each under the one of its two names that is there."""
    problem = row["problem"] if row.get("problem") is not None else row.get("prompt")
    return problem, row["steps"] if row.get("steps") is not None else row.get("completions")


def is_agent(steps: Sequence[Any] | None) -> bool:
    """Whether steps are an agent's: actions with observations."""
    first = steps[0] if steps else None
    return isinstance(first, Mapping) and "action" in first


def are_right(steps: Sequence[Any], labels: Sequence[Any] | None) -> bool:
    """Whether each of the steps is labelled as right, or there are no labels at all."""
    return labels is None or (len(labels) == len(steps) and all(labels))


def _expand_solution(
    problem: Any, raw_steps: Sequence[Any], labels: Sequence[Any] | None, blank: dict[str, Any], options: Options
) -> Iterator[dict[str, Any]]:
    try:
        steps = [build_step(step) for step in raw_steps]
    except TypeError as error:
        raise TypeError(f"{error} (in the trajectory of the problem {str(problem)[:80]!r})") from error
    num_targets = len(steps) if options.include_last_step else len(steps) - 1
    reason = ""
    if not are_right(steps, labels):
        reason = "wrong_label"
    elif num_targets < 1:
        reason = "too_few_steps"
    elif not all(step.text.strip() for step in steps):
        reason = "empty_step"
    if reason:
        yield blank | {"drop_reason": reason}
        return
    common = blank | {"trajectory_id": digest([problem, [step.text for step in steps]]), "num_steps": len(steps)}
    for index, step in enumerate(steps[:num_targets]):
        title = step.title if options.title_hint else ""
        action = (step.body if title else step.text).strip()
        prompt, omitted = _fit_prompt(_solution_prompts(problem, steps[:index], title, options), options)
        yield common | {
            "prompt": prompt or [],
            "expert_action": action,
            "step_index": index,
            "omitted_steps": omitted,
            "drop_reason": "title_only" if not action else _why_unusable(prompt, action),
        }


def _expand_agent(
    task: Any, raw_steps: Sequence[Mapping[str, Any]], blank: dict[str, Any], options: Options
) -> Iterator[dict[str, Any]]:
    """
    Every action is a target, the last one too, whatever `include_last_step` says: it ends the work (`submit`), and an
    agent has to learn when to do that. The context is the task and the last `history_window` pairs (Appendix A).
    """
    texts = ["" if step is None else step.get("action") or "" for step in raw_steps]
    action_format = blank["action_format"] or find_action_format(texts)
    if action_format is None or not all(text.strip() for text in texts):
        yield blank | {"drop_reason": "empty_step" if action_format else "no_action"}
        return
    actions = [read_action(text, action_format) for text in texts]
    pairs = [
        (action or text.strip(), step.get("observation") or "")
        for action, text, step in zip(actions, texts, raw_steps, strict=True)
    ]
    shell = next((shell_of(action) for action in actions if action), "")
    common = blank | {"action_format": action_format, "trajectory_id": digest([task, pairs]), "num_steps": len(pairs)}
    for index, (action, _) in enumerate(pairs):
        prompt, omitted = _fit_prompt(_agent_prompts(task, pairs, index, action_format, shell, options), options)
        yield common | {
            "prompt": prompt or [],
            "expert_action": action,
            "step_index": index,
            "omitted_steps": omitted,
            "drop_reason": "no_action_in_step" if actions[index] is None else _why_unusable(prompt, action),
        }
        common = common | {"skipped_turns": 0, "cut_observations": 0}  # counted once a trajectory


def _is_blank(problem: Any) -> bool:
    """Whether a problem, a text or chat messages, says nothing."""
    if isinstance(problem, list) and problem and isinstance(problem[-1], dict):
        problem = problem[-1].get("content") or ""
    return not problem or (isinstance(problem, str) and not problem.strip())


def _why_unusable(prompt: list[Message] | None, action: str) -> str:
    if parse_completion(gold_completion(action)) is None:  # the gold would not score 1.0
        return "think_tag_in_step"
    return "prompt_too_long" if prompt is None else ""


def _solution_prompts(problem: Any, earlier: Sequence[Step], title: str, options: Options) -> Iterator[list[Message]]:
    """The prompt with all earlier steps, then without the oldest, and so on."""
    for omitted in range(len(earlier) + 1):
        yield build_prompt(
            problem,
            [step.text for step in earlier[omitted:]],
            next_title=title,
            omitted_steps=omitted,
            system_prompt=options.system_prompt,
        )


def _agent_prompts(
    task: Any, pairs: Sequence[tuple[str, str]], index: int, action_format: str, shell: str, options: Options
) -> Iterator[list[Message]]:
    """The prompt with the last `history_window` pairs before a step, then without the oldest of them, and so on."""
    for start in range(max(0, index - options.history_window), index + 1):
        yield build_agent_prompt(
            task,
            pairs[start:index],
            action_format=action_format,
            shell=shell,
            omitted_actions=start,
            system_prompt=options.system_prompt,
        )


def _fit_prompt(prompts: Iterator[list[Message]], options: Options) -> tuple[list[Message] | None, int]:
    """The first of the prompts that fits, and how many were too long; `None` if none fits."""
    omitted = -1
    for omitted, prompt in enumerate(prompts):
        if options.max_prompt_length is None or options.count_tokens is None:
            return prompt, 0
        if options.count_tokens(prompt) <= options.max_prompt_length:
            return prompt, omitted
    return None, omitted
