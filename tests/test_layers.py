"""The rules of the layout: modules import strictly downward, and only three of them touch TRL's underscore names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest


PACKAGE = Path(__file__).parents[1] / "trl_srl"
LAYERS = {
    "actions": 0,
    "answers": 0,
    "counting": 0,
    "progress": 0,
    "shards": 0,
    "trajectories": 1,
    "matching": 0,
    "similarity": 1,
    "near_duplicates": 1,
    "prompts": 1,
    "rewards": 2,
    "doctor": 2,
    "inspecting": 2,
    "rewriting": 2,
    "inspection_report": 3,
    "rewriting_models": 3,
    "step_rows": 2,
    "agents": 2,
    "agent_prompts": 2,
    "expansion": 3,
    "adapters": 3,
    "formatting": 4,
    "loading": 3,
    "selection": 2,
    "seams": 2,
    "prompt_stream": 2,
    "interruptions": 2,
    "config": 3,
    "memory": 3,
    "resuming": 3,
    "training_log": 2,
    "terminal": 3,
    "model_card": 3,
    "publishing": 4,
    "dynamic_sampling": 5,
    "evaluation": 4,
    "trainer": 6,
    "demo": 7,
    "cli": 8,
    "__init__": 9,
