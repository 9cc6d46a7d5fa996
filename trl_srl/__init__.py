"""Supervised Reinforcement Learning (SRL, arXiv 2510.25992) for Hugging Face TRL.

`from trl_srl import SRLConfig, SRLTrainer` is all that training needs. Names that need torch and TRL are imported on
first use, so that `import trl_srl` and the command line stay fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .actions import read_action
from .adapters import ADAPTERS, adapt
from .agent_prompts import build_agent_prompt
from .formatting import format_trajectories
from .loading import load_rows, split_solutions
from .problem_rows import ProblemSummary, make_problem_rows
from .prompts import Completion, build_prompt, gold_completion, parse_completion
from .rewards import step_similarity_reward
from .similarity import step_similarity
from .splitting import split_by_problem
from .step_rows import FormattingSummary
from .trajectories import Step, join_steps, split_steps


if TYPE_CHECKING:
    from .config import DynamicSamplingConfig, SRLConfig
    from .dynamic_sampling import DynamicSamplingTrainer
    from .evaluation import Solution, StepEvaluation, evaluate_steps, generate_steps
    from .memory import MemoryEstimate, estimate_memory
    from .preparing.parts import Recipe
    from .preparing.prepare import prepare_step_rows
    from .report import write_report
    from .rollouts import read_rollouts
    from .trainer import SRLTrainer
    from .weights.merging import MergeReport, merge_adapter

__version__ = "0.2.0.dev0"

_LAZY = {
    "DynamicSamplingConfig": "config",
    "SRLConfig": "config",
    "DynamicSamplingTrainer": "dynamic_sampling",
    "Solution": "evaluation",
    "StepEvaluation": "evaluation",
    "evaluate_steps": "evaluation",
    "generate_steps": "evaluation",
    "MemoryEstimate": "memory",
    "estimate_memory": "memory",
    "Recipe": "preparing.parts",
    "prepare_step_rows": "preparing.prepare",
    "write_report": "report",
    "read_rollouts": "rollouts",
    "SRLTrainer": "trainer",
    "MergeReport": "weights.merging",
    "merge_adapter": "weights.merging",
}

__all__ = [
    "ADAPTERS",
    "Completion",
    "DynamicSamplingConfig",
    "DynamicSamplingTrainer",
    "FormattingSummary",
    "MemoryEstimate",
    "MergeReport",
    "ProblemSummary",
    "Recipe",
    "SRLConfig",
    "SRLTrainer",
    "Solution",
    "Step",
    "StepEvaluation",
    "__version__",
    "adapt",
    "build_agent_prompt",
    "build_prompt",
    "estimate_memory",
    "evaluate_steps",
    "format_trajectories",
    "generate_steps",
    "gold_completion",
    "join_steps",
    "load_rows",
    "make_problem_rows",
    "merge_adapter",
    "parse_completion",
    "prepare_step_rows",
    "read_action",
    "read_rollouts",
    "split_by_problem",
    "split_solutions",
    "split_steps",
    "step_similarity",
    "step_similarity_reward",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
