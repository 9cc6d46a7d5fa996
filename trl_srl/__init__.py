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
from .prompts import Completion, build_prompt, gold_completion, parse_completion
from .rewards import step_similarity_reward
from .similarity import step_similarity
from .step_rows import FormattingSummary, split_by_problem
from .trajectories import Step, join_steps, split_steps


if TYPE_CHECKING:
    from .config import DynamicSamplingConfig, SRLConfig
    from .dynamic_sampling import DynamicSamplingTrainer
    from .evaluation import StepEvaluation, evaluate_steps, generate_steps
    "read_rollouts",
