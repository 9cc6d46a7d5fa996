"""The reward: 2M/T or -1, and what is logged with it. Numbers are worked out by hand."""

import subprocess
import sys
from functools import partial
from math import isnan

import pytest

from trl_srl.prompts import gold_completion
from trl_srl.rewards import step_similarity_reward


def assistant(content, **others):
    return [{"role": "assistant", "content": content, **others}]


def test_similarity_or_minus_one():
    completions = [
        "<think>hm</think>x = 4",
        "<think>hm</think>x = 3",
        "<think>hm</think>7",
        "x = 4",
        "<think>hm</think>",
        "<think>x = 4",
        "",
    ]
    assert step_similarity_reward(completions, ["x = 4"] * 7) == [1.0, 0.8, 0.0, -1.0, -1.0, -1.0, -1.0]


def test_rewards_are_plain_floats():
    assert [type(r) for r in step_similarity_reward(["<think></think>a", "a"], ["a", "a"])] == [float, float]


@pytest.mark.parametrize("before", ["", " ", "\n\n", "\t", "\u00a0", "\u3000"])
@pytest.mark.parametrize("after", ["", " ", "\r\n", "\u2028"])
def test_experts_own_step_scores_one_with_outer_white_space_on_either_side(before, after):
    step = "1. **Add**:  2 + 2\n   = 4"
    assert step_similarity_reward([gold_completion(step)], [before + step + after]) == [1.0]
    assert step_similarity_reward([gold_completion(before + step + after)], [step]) == [1.0]


def test_inner_white_space_counts_on_both_sides_alike():
    completions = ["<think></think>a  b", "<think></think>a b", "<think></think>a  b"]
    assert step_similarity_reward(completions, ["a b", "a  b", "a  b"]) == [6 / 7, 6 / 7, 1.0]


def test_the_models_action_is_the_first_argument():
    assert step_similarity_reward(["<think></think>tide", "<think></think>diet"], ["diet", "tide"]) == [0.25, 0.5]


def test_no_cliff_at_two_hundred_characters():
    experts = ["ab" * 99 + "a", "ab" * 100]
    completions = ["<think></think>b" + expert[:-1] for expert in experts]
    assert step_similarity_reward(completions, experts) == [198 / 199, 199 / 200]


@pytest.mark.parametrize("penalty", [-1.0, -0.5, 0.0, -2])
def test_format_penalty(penalty):
    rewards = step_similarity_reward(["x = 4", "<think></think>x = 4"], ["x = 4"] * 2, format_penalty=penalty)
    assert rewards == [penalty, 1.0]


def test_prefilled_template():
    completions = ["hm</think>x = 4", "<think>hm</think>x = 4"]
    assert step_similarity_reward(completions, ["x = 4"] * 2, think_prefilled=True) == [1.0, -1.0]
    assert step_similarity_reward(completions, ["x = 4"] * 2) == [-1.0, 1.0]


def test_conversational_completions():
    completions = [
        assistant("<think>hm</think>x = 4"),
        assistant("x = 3", reasoning_content="hm"),
        assistant("x = 4"),
        assistant(None),
    ]
    assert step_similarity_reward(completions, ["x = 4"] * 4) == [1.0, 0.8, -1.0, -1.0]


def test_moved_monologue_behind_a_prefilled_tag():
    # TRL's parsing puts the tag of the prompt and the monologue together: the block was not opened twice.
    completions = [assistant("x = 4", reasoning_content="hm"), assistant("hm</think>x = 4")]
    assert step_similarity_reward(completions, ["x = 4"] * 2, think_prefilled=True) == [1.0, 1.0]


def test_generated_tokens_are_read_instead_of_the_parsed_message(tokenizer):
    texts = ["<think>hm</think>x = 4", "x = 4"]
    completions = [assistant("x = 4"), assistant("x = 4", reasoning_content="hm")]
    ids = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts]
    decode = partial(tokenizer.batch_decode, skip_special_tokens=True)
    assert step_similarity_reward(completions, ["x = 4"] * 2, ids, decode=decode) == [1.0, -1.0]


def test_without_token_ids_the_completions_are_read(tokenizer):
    assert step_similarity_reward(["<think></think>x"], ["x"], decode=tokenizer.batch_decode) == [1.0]


def test_without_decode_the_token_ids_are_not_read():
    assert step_similarity_reward(["<think></think>x"], ["x"], [[1, 2]]) == [1.0]


def test_lone_surrogate_of_the_model_is_scored():
    assert step_similarity_reward(["<think></think>\ud83d"], ["x"]) == [0.0]


def collect(*args, **kwargs):
    columns, metrics = {}, {}
    rewards = step_similarity_reward(*args, log_extra=columns.__setitem__, log_metric=metrics.__setitem__, **kwargs)
    return rewards, columns, metrics


def test_logged_columns():
    completions = ["<think>hm</think> x = 4\n", "<think>hm</think>x = 3", "x = 4"]
    _, columns, _ = collect(completions, ["x = 4", " x = 4 ", "x = 4\n"])
    assert list(columns) == ["action", "expert_action", "similarity"]
    assert columns["action"] == ["x = 4", "x = 3", ""]
    assert columns["expert_action"] == ["x = 4", "x = 4", "x = 4"]
    assert columns["similarity"][:2] == [1.0, 0.8]
    assert isnan(columns["similarity"][2])


def test_logged_metrics_count_a_malformed_completion_as_zero():
    completions = ["<think>hm</think>x = 4", "<think>hm</think>x = 3", "x = 4", "<think>x = 4"]
    _, _, metrics = collect(completions, ["x = 4"] * 4, format_penalty=-7.0)
    assert metrics == {
        "srl/similarity": pytest.approx(0.45),  # (1 + 0.8 + 0 + 0) / 4
        "srl/format_rate": 0.5,
        "srl/exact_step_rate": 0.25,
        "srl/cut_rate": 0.0,
    }


def test_truncated_rate_counts_completions_without_an_end_token():
    completions = ["<think>hm</think>x"] * 4
    ids = [[5, 6, 2], [5, 6], [], [5, 3]]
    _, _, metrics = collect(completions, ["x"] * 4, ids, eos_token_ids={2, 3})
    assert metrics["srl/truncated_rate"] == 0.5
    _, _, metrics = collect(completions, ["x"] * 4, ids)
    assert "srl/truncated_rate" not in metrics


def test_no_completion_logs_no_metric():
    assert collect([], []) == ([], {"action": [], "expert_action": [], "similarity": []}, {})


def test_missing_expert_action_names_the_remedy():
    with pytest.raises(ValueError, match=r"column `expert_action`.*trl-srl prepare.*format_trajectories"):
        step_similarity_reward(["<think></think>x"], prompts=["p"], solution=["x"])


def test_as_many_expert_actions_as_completions():
    with pytest.raises(ValueError, match="zip"):
        step_similarity_reward(["<think></think>x"], ["x", "y"])


def test_other_columns_are_ignored():
    rewards = step_similarity_reward(
        completions=["<think></think>x"],
        expert_action=["x"],
        completion_ids=[[1]],
        prompts=["p"],
        problem_id=["8a2f"],
        step_index=[0],
        answer=[None],
        trainer_state=None,
    )
    assert rewards == [1.0]


def test_imports_neither_torch_nor_trl():
    code = (
        "import sys, trl_srl.rewards; print(sorted({'torch', 'trl', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


CALL = '<tool_call>\n{"arguments":{"a":1,"b":[2,3]},"name":"f"}\n</tool_call>'


@pytest.mark.parametrize(
    "completion",
    [
        f"<think></think>\n{CALL}",
        '<think></think><tool_call>{"name": "f", "arguments": {"b": [2, 3], "a": 1}}</tool_call>',
        '<think></think>I call it.\n<tool_call>\n{"name":"f",\n "arguments":{"a":1,  "b":[2,3]}}\n</tool_call>\nSo.',
        '<think></think><tool_call>{"name": "f", "arguments": "{\\"b\\": [2, 3], \\"a\\": 1}"}</tool_call>',
        assistant("<think></think>", tool_calls=[{"function": {"name": "f", "arguments": {"b": [2, 3], "a": 1}}}]),
        assistant("", reasoning_content="", tool_calls=[{"name": "f", "arguments": {"b": [2, 3], "a": 1}}]),
    ],
)
def test_key_order_white_space_and_prose_around_a_call_cost_nothing(completion):
    other_order = '<tool_call>{"name": "f", "arguments": {"b": [2,3], "a": 1}}</tool_call>'
    for expert in (CALL, other_order):
        assert step_similarity_reward([completion], [expert], action_format=["tool_call"]) == [1.0]


def test_calls_that_a_response_template_took_out_are_written_in_the_rows_form():
    completion = assistant("<think></think>", tool_calls=[{"name": "f", "arguments": {"a": "1"}}])
    expert = "<function=f>\n<parameter=a>1</parameter>\n</function>"
    assert step_similarity_reward([completion], [expert], action_format=["function"]) == [1.0]


def test_what_holds_no_action_is_compared_as_it_was_written():
    expert = "```bash\nls\n```"  # 14 characters
    completions = [f"<think></think>{text}" for text in (expert, "ls", "```bash\nls", "```bash\nls -l\n```", "")]
    # "ls" alone: M = 2, T = 2 + 14; never closed: M = 10, T = 10 + 14; another command: M = 14, T = 17 + 14
    assert step_similarity_reward(completions, [expert] * 5, action_format=["command"] * 5) == [
        1.0,
        4 / 16,
        20 / 24,
        28 / 31,
        -1.0,
    ]


def test_several_blocks_are_all_compared():
    expert = "<function=a>\n</function>"  # 24 characters
    spam = "\n".join(f"<function={name}>\n</function>" for name in "xyza")
    assert step_similarity_reward([f"<think></think>{spam}"], [expert], action_format=["function"]) == [48 / 123]


def test_texts_and_agents_in_one_batch():
    completions = ["<think></think>Prose. " + CALL, "<think></think>Prose. " + CALL]
    rewards = step_similarity_reward(completions, ["Prose. " + CALL, CALL], action_format=[None, "tool_call"])
    assert rewards == [1.0, 1.0]
    assert step_similarity_reward(completions[:1], [CALL], action_format=["text"])[0] < 1
    with pytest.raises(ValueError, match="'json' is unknown"):
        step_similarity_reward(completions[:1], [CALL], action_format=["json"])


def test_actions_of_agents_are_logged_in_their_canonical_form():
    columns, metrics = {}, {}
    completions = ["<think></think>Now: " + CALL, "<think></think>I talk.", "no format"]
    step_similarity_reward(
        completions,
        [CALL] * 3,
        action_format=["tool_call"] * 3,
        log_extra=columns.__setitem__,
        log_metric=metrics.__setitem__,
    )
    assert columns["action"] == [CALL, "I talk.", ""]
    assert metrics["srl/action_rate"] == 1 / 3
    assert metrics["srl/exact_step_rate"] == 1 / 3
    metrics.clear()
    step_similarity_reward(["<think></think>a"], ["a"], log_metric=metrics.__setitem__)
    assert "srl/action_rate" not in metrics
