"""Whether SRL helped: single steps (steps.py), whole solutions (solutions.py), two models (comparison.py).

The names of backends.py are imported on first use, so that what needs no PyTorch does not wait for it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ..answers import find_final_answer
from .answers import AnswerChecker
from .benchmarks import BENCHMARKS, Benchmark
from .comparison import Comparison, compare_results
from .problems import Problem, read_problems
from .solutions import Solution, generate_steps, solve_in_one_go, solve_step_by_step
from .solving import SolvingSettings, evaluate_solutions
from .steps import (
    StepEvaluation,
    StepResult,
    evaluate_steps,
    similarity_by_step,
    summarize_steps,
    write_next_steps,
)


if TYPE_CHECKING:
    from .backends import Backend, Generated, TransformersBackend, VLLMBackend, load_backend

__all__ = [
    "BENCHMARKS",
    "AnswerChecker",
    "Backend",
    "Benchmark",
    "Comparison",
    "Generated",
    "Problem",
    "Solution",
    "SolvingSettings",
    "StepEvaluation",
    "StepResult",
    "TransformersBackend",
    "VLLMBackend",
    "compare_results",
    "evaluate_solutions",
    "evaluate_steps",
    "find_final_answer",
    "generate_steps",
    "load_backend",
    "read_problems",
    "similarity_by_step",
    "solve_in_one_go",
    "solve_step_by_step",
    "summarize_steps",
    "write_next_steps",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(".backends", __name__), name)
