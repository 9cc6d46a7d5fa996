"""Whole solutions from the problem alone, in one go or step by step.

Step by step is how a model trained by SRL is used: it is called again with its own steps until it gives a final
answer. But the paper's targets are the steps 1 … N-1, so such a model never saw a last step and may well go on for
ever. What we do about it, all of it ours:

- A step that gives a final answer (see `find_final_answer`) ends the solution.
- A step that is malformed or cut off ends it too, without an answer: nothing is tried again, so that a model which
  does not follow the format is not helped to a better number.
- After `max_steps` steps, or when a step repeats an earlier one, the model is asked once for the final answer
  (`ask_for_answer`), with its steps before it and another last line in the prompt (`ANSWER_REQUEST`).
"""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..answers import find_final_answer
from ..prompts import (
    ANSWER_REQUEST,
    NEXT_STEP_REQUEST,
    THINK_CLOSE,
    Message,
    build_prompt,
    build_solution_prompt,
    parse_completion,
)
from .problems import Problem


if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from .backends import Backend, Generated


class Solution(NamedTuple):
    """
    What a model wrote for a problem.

    Attributes:
        steps (`list[str]`): Its steps without their monologues; in one go a single text.
        answer (`str` or `None`): The final answer.
        ending (`str`): How it ended: `"answer"` (it gave one), `"asked"` (when it was asked for it), `"malformed"` (a
            step did not follow the format), `"truncated"` (a completion was cut off), or `"no_answer"`.
        completions (`list[str]`): Everything it wrote, call by call, monologues included.
        num_tokens (`int`): Length of the completions in tokens.
    """

    steps: list[str]
    answer: str | None
    ending: str
    completions: list[str]
    num_tokens: int


def solve_in_one_go(
    backend: "Backend",
    problems: Sequence[Problem],
    *,
    max_completion_length: int = 2048,
    temperature: float = 0.0,
    system_prompt: str | None = None,
    seed: int = 0,
) -> list[Solution]:
    """
    Let a model write each solution in one completion.

    Args:
        backend ([`Backend`]):
            What writes.
        problems (`list[Problem]`):
            What to solve.
        max_completion_length (`int`, *optional*, defaults to `2048`):
            Limit in tokens.
        temperature (`float`, *optional*, defaults to `0.0`):
            0 decodes greedily.
        system_prompt (`str`, *optional*):
            Replaces our prompt for whole solutions.
        seed (`int`, *optional*, defaults to `0`):
            Seed for sampling.

    Returns:
        `list[Solution]`. A final answer before the cut of a truncated completion counts.
    """
    prompts = [build_solution_prompt(problem.problem, system_prompt) for problem in problems]
    written = backend.generate(
        prompts, max_completion_length=max_completion_length, temperature=temperature, seed=seed
    )
    return [_whole_solution(generated) for generated in written]


def _whole_solution(generated: "Generated") -> Solution:
    answer = find_final_answer(generated.text)
    ending = "answer" if answer is not None else "truncated" if generated.truncated else "no_answer"
    text = generated.text.rpartition(THINK_CLOSE)[2].strip()
    return Solution([text], answer, ending, [generated.text], generated.num_tokens)


class _Unfinished:
    """A solution while it is written."""

    def __init__(self, problem: Problem, system_prompt: str | None):
        self.problem, self.system_prompt = problem.problem, system_prompt or problem.system_prompt
        self.steps: list[str] = []
        self.completions: list[str] = []
        self.num_tokens = 0
        self.answer: str | None = None
        self.ending = ""
        self.repeats = False

    def prompt(self, request: str) -> list[Message]:
        return build_prompt(self.problem, self.steps, system_prompt=self.system_prompt, request=request)

    def _read(self, generated: "Generated") -> str | None:
        """The action of a completion, or `None` if it ends the solution without an answer."""
        self.completions.append(generated.text)
        self.num_tokens += generated.num_tokens
        parsed = parse_completion(generated.text)
        if generated.truncated or parsed is None:
            self.ending = "truncated" if generated.truncated else "malformed"
            return None
        return parsed.action

    def add_step(self, generated: "Generated") -> None:
        action = self._read(generated)
        if action is None:
            return
        self.answer = find_final_answer(action)
        if self.answer is not None:
            self.ending = "answer"
        self.repeats = action in self.steps
        if not self.repeats or self.answer is not None:
            self.steps.append(action)

    def add_answer(self, generated: "Generated") -> None:
        action = self._read(generated)
        if action is None:
            return
        # Asked for the answer and nothing else, a model may leave the box out.
        self.answer = find_final_answer(action) or (action if "\n" not in action else None)
        self.ending = "no_answer" if self.answer is None else "asked"


def solve_step_by_step(
    backend: "Backend",
    problems: Sequence[Problem],
    *,
    max_steps: int = 20,
    max_completion_length: int = 256,
    temperature: float = 0.0,
    ask_for_answer: bool = True,
    system_prompt: str | None = None,
    seed: int = 0,
) -> list[Solution]:
    """
    Let a model solve problems step by step, all unfinished ones together.

    Args:
        backend ([`Backend`]):
            What writes: [`TransformersBackend`] or [`VLLMBackend`].
        problems (`list[Problem]`):
            What to solve.
        max_steps (`int`, *optional*, defaults to `20`):
            Most steps of a solution.
        max_completion_length (`int`, *optional*, defaults to `256`):
            Limit in tokens of a step with its monologue.
        temperature (`float`, *optional*, defaults to `0.0`):
            0 decodes greedily.
        ask_for_answer (`bool`, *optional*, defaults to `True`):
            Whether a model that has come to the limit, or repeats itself, is asked once for the final answer.
        system_prompt (`str`, *optional*):
            Replaces that of the step rows a problem was read from, or else ours: give the one of the training.
        seed (`int`, *optional*, defaults to `0`):
            Seed for sampling.

    Returns:
        `list[Solution]`.
    """
    rng = random.Random(seed)
    solutions = [_Unfinished(problem, system_prompt) for problem in problems]

    def advance(unfinished: list[_Unfinished], request: str = NEXT_STEP_REQUEST) -> list["Generated"]:
        return backend.generate(
            [solution.prompt(request) for solution in unfinished],
            max_completion_length=max_completion_length,
            temperature=temperature,
            seed=rng.getrandbits(31),
        )

    for _ in range(max_steps):
        unfinished = [solution for solution in solutions if not solution.ending and not solution.repeats]
        if not unfinished:
            break
        for solution, generated in zip(unfinished, advance(unfinished), strict=True):
            solution.add_step(generated)
    stuck = [solution for solution in solutions if not solution.ending]
    if stuck and ask_for_answer:
        for solution, generated in zip(stuck, advance(stuck, ANSWER_REQUEST), strict=True):
            solution.add_answer(generated)
    return [
        Solution(
            solution.steps, solution.answer, solution.ending or "no_answer", solution.completions, solution.num_tokens
        )
        for solution in solutions
    ]


def generate_steps(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    problems: Sequence[str | list[Message]],
    *,
    max_steps: int = 20,
    max_completion_length: int = 256,
    temperature: float = 0.0,
    ask_for_answer: bool = True,
    system_prompt: str | None = None,
    batch_size: int = 16,
    seed: int = 0,
) -> list[Solution]:
    r"""
    Solve problems with a model trained by SRL: it is called again with its own steps until it gives a final answer.

    The monologues are not shown to the model again, as in training. A solution also ends with a malformed step, and
    at `max_steps`, where the model is asked for its answer: by default SRL never trains on a last step, so the model
    may not know when to stop.

    Args:
        model ([`~transformers.PreTrainedModel`]):
            The model, on the device to use.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            Its tokenizer, with a chat template.
        problems (`list[str]` or `list[list[dict[str, str]]]`):
            Problems as texts, or as chat messages whose last one is the user's. All are solved together.
        max_steps, max_completion_length, temperature, ask_for_answer, seed:
            As in [`~trl_srl.evaluation.solve_step_by_step`], which does the same through any backend.
        system_prompt (`str`, *optional*):
            The one that the model was trained with, if it was not ours.
        batch_size (`int`, *optional*, defaults to `16`):
            Completions generated at once.

    Returns:
        `list[Solution]`: `steps`, `answer` (`None` if there is none), `ending`, `completions` with the monologues.

    Example:

    ```python
    from trl_srl import generate_steps

    (solution,) = generate_steps(model, tokenizer, ["What is 2 · 3 + 1?"])
    print("\n".join(solution.steps), solution.answer)
    ```
    """
    from .backends import TransformersBackend

    if isinstance(problems, str):
        raise TypeError("`problems` is one text. Write a list of problems, [problem].")
    return solve_step_by_step(
        TransformersBackend(model, tokenizer, batch_size=batch_size),
        [Problem(problem, answer="", problem_id="") for problem in problems],
        max_steps=max_steps,
        max_completion_length=max_completion_length,
        temperature=temperature,
        ask_for_answer=ask_for_answer,
        system_prompt=system_prompt,
        seed=seed,
    )
