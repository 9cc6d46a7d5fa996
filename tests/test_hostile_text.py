"""No text makes the reading of data slow: a megabyte of whatever an expression might backtrack on takes seconds.

Quadratic time would be minutes to hours here, so the bound can be generous for crowded machines. `split_steps` has
such tests of its own, for every style.
"""

import time

import pytest

from trl_srl.answers import boxed_or_last_number, find_final_answer, has_answer
from trl_srl.expansion import Options, expand_trajectory
from trl_srl.preparing.inspecting import Inspection
from trl_srl.preparing.inspection_report import printable
from trl_srl.preparing.rewriting import check_rewritten
from trl_srl.prompts import gold_completion, parse_completion
from trl_srl.splitting import normalize_problem


MEGABYTE = 10**6
BRICKS = [
    *(
        "1.",
        "1.\n",
        "1. **",
        "1. **a\n",
        "*",
        "`",
        "```\n",
        "# ",
        "- ",
        "<think>",
        "</think>",
        "\\[\n",
        "$$",
        "\\begin{a}",
    ),
    *("\\boxed{", "\\boxed{1}", "{", "1,111", "-1", "Step 1:\n", " ", "\n", "a\u0301\u0323", "\u0301\u0323", "\x1b"),
    *("<tool_call>", "<function=", "answer: \n", "####\n", ",111"),
]


def read_everything(text):
    parse_completion(text)
    parse_completion(gold_completion(text))
    normalize_problem(text)
    boxed_or_last_number(text)
    find_final_answer(text)
    has_answer(text, text[:50])
    has_answer(text, "72")
    check_rewritten(text, text, None)
    trajectory = {"problem": text, "steps": [text, "x"], "answer": text[:20]}
    Inspection().add_trajectory(trajectory, list(expand_trajectory(trajectory, Options())))
    agent = {"prompt": [{"role": "user", "content": "P"}], "steps": [{"action": text, "observation": text}]}
    Inspection().add_trajectory(agent, list(expand_trajectory(agent, Options())))
    printable(text)


@pytest.mark.parametrize("brick", BRICKS, ids=ascii)
def test_a_wall_of_one_brick(brick):
    text = brick * (MEGABYTE // len(brick))
    start = time.process_time()
    read_everything(text)
    assert time.process_time() - start < 10.0
