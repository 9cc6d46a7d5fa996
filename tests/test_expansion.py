"""Agent trajectories → step rows (those of solutions: test_formatting.py). What must come out is written out."""

import time

import pytest
from datasets import Dataset, IterableDataset

from trl_srl import format_trajectories, step_similarity_reward
from trl_srl.agent_prompts import ACTION_FORMS, AGENT_SYSTEM_PROMPT, build_agent_prompt
from trl_srl.expansion import Options, expand_trajectory
from trl_srl.prompts import gold_completion, render_prompt
from trl_srl.step_rows import DROP_REASONS, check_step_rows


# As strict as the templates that users meet: a system message only at the beginning, then user and assistant in turns,
# no other role, and no message without a text.
STRICT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- set turn = loop.index0 - (1 if messages[0]['role'] == 'system' else 0) -%}"
    "{%- if message['role'] == 'system' -%}"
    "{%- if not loop.first -%}{{ raise_exception('system message in the middle') }}{%- endif -%}"
    "{%- elif message['role'] != ('user' if turn % 2 == 0 else 'assistant') -%}"
    "{{ raise_exception('roles must alternate user/assistant/user/…') }}"
    "{%- endif -%}"
    "{%- if not message['content'] -%}{{ raise_exception('empty message') }}{%- endif -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def run(command):
    return f"```bash\n{command}\n```"


def agent(*commands, prompt=None, **columns):
    steps = [{"action": run(command), "observation": f"saw {command}"} for command in commands]
    return {"prompt": prompt or [{"role": "user", "content": "Fix it."}], "steps": steps} | columns


def dataset(*rows):
    return Dataset.from_list(list(rows))


def test_every_action_is_a_target_and_the_last_two_pairs_are_shown():
    prompt = [{"role": "system", "content": "Be careful."}, {"role": "user", "content": "Fix it."}]
    rows, summary = format_trajectories(dataset(agent("a", "b", "c", "submit", prompt=prompt)))
    system = {
        "role": "system",
        "content": AGENT_SYSTEM_PROMPT.format(form=ACTION_FORMS["command"]) + "\n\nBe careful.",
    }
    assert rows["prompt"][:] == [
        [system, {"role": "user", "content": "Fix it.\n\nWrite the next action."}],
        [
            system,
            {"role": "user", "content": "Fix it."},
            {"role": "assistant", "content": run("a")},
            {"role": "user", "content": "Observation:\nsaw a\n\nWrite the next action."},
        ],
        [
            system,
            {"role": "user", "content": "Fix it."},
            {"role": "assistant", "content": run("a")},
            {"role": "user", "content": "Observation:\nsaw a"},
            {"role": "assistant", "content": run("b")},
            {"role": "user", "content": "Observation:\nsaw b\n\nWrite the next action."},
        ],
        [
            system,
            {"role": "user", "content": "Fix it.\n\n(earlier actions left out: 1)"},
            {"role": "assistant", "content": run("b")},
            {"role": "user", "content": "Observation:\nsaw b"},
            {"role": "assistant", "content": run("c")},
            {"role": "user", "content": "Observation:\nsaw c\n\nWrite the next action."},
        ],
    ]
    assert rows.remove_columns(["prompt", "problem_id"]).to_list() == [
        {"expert_action": run(command), "step_index": index, "num_steps": 4, "action_format": "command"}
        for index, command in enumerate(["a", "b", "c", "submit"])
    ]
    assert len(set(rows["problem_id"])) == 1
    assert (summary.rows, len(summary.problems), summary.trimmed, summary.dropped) == (4, 1, 0, {})


@pytest.mark.parametrize(("window", "shown"), [(0, [0, 0, 0]), (1, [0, 1, 1]), (2, [0, 1, 2]), (9, [0, 1, 2])])
def test_history_window(window, shown):
    rows, _ = format_trajectories(dataset(agent("a", "b", "c")), history_window=window)
    assert [sum(message["role"] == "assistant" for message in prompt) for prompt in rows["prompt"]] == shown
    left_out = [prompt[1]["content"].count("left out: ") for prompt in rows["prompt"]]
    assert left_out == [index > count for index, count in enumerate(shown)]


def test_a_negative_window_is_an_error():
    with pytest.raises(ValueError, match="history_window=-1 is too small"):
        format_trajectories(dataset(agent("a")), history_window=-1)
    with pytest.raises(ValueError, match="history_window=-1 is too small"):
        Options(history_window=-1)


def test_a_limit_that_nothing_counts_is_an_error():
    with pytest.raises(ValueError, match="pass `count_tokens`"):
        Options(max_prompt_length=100)


def test_an_unknown_format_is_an_error():
    with pytest.raises(ValueError, match=r"'json' is unknown\. Write one of tool_call, function, command"):
        build_agent_prompt("Fix it.", action_format="json")


@pytest.mark.parametrize("task", [[], [{"role": "assistant", "content": "x"}], [{"role": "user", "content": None}]])
def test_a_task_ends_with_the_users_message(task):
    with pytest.raises(ValueError, match="of which the last is the user's"):
        build_agent_prompt(task, action_format="command")


def test_the_system_prompt_is_replaced():
    rows, _ = format_trajectories(dataset(agent("a")), system_prompt="Ours {form}.")
    assert rows[0]["prompt"][0] == {"role": "system", "content": "Ours {form}."}


def test_a_task_may_be_a_text_and_actions_are_brought_into_their_form():
    call = '<tool_call>{"name": "f", "arguments": {"b": 1, "a": 2}}</tool_call>'
    steps = [{"action": f"Prose. {call}", "observation": None}] * 2
    rows, _ = format_trajectories(dataset({"problem": "Fix it.", "steps": steps, "answer": 4}))
    canonical = '<tool_call>\n{"arguments":{"a":2,"b":1},"name":"f"}\n</tool_call>'
    assert rows["expert_action"][:] == [canonical] * 2
    assert rows["action_format"][:] == ["tool_call"] * 2
    assert rows["answer"][:] == ["4"] * 2
    assert rows[1]["prompt"][2:] == [
        {"role": "assistant", "content": canonical},
        {"role": "user", "content": "Observation:\n(nothing)\n\nWrite the next action."},
    ]


def test_a_strict_chat_template_renders_every_prompt(make_tokenizer):
    tokenizer = make_tokenizer(STRICT_TEMPLATE)
    chat = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    empty = {"prompt": chat, "steps": [{"action": run(c), "observation": ""} for c in "abcd"]}
    rows, _ = format_trajectories(dataset(agent("a", "b", "c", "d", "e"), empty))
    for row in rows:
        rendered = render_prompt(row["prompt"], tokenizer)
        assert rendered.endswith("Write the next action.<|im_end|>\n<|im_start|>assistant\n")
    with pytest.raises(Exception, match="alternate"):
        render_prompt([*chat, {"role": "tool", "content": "x"}], tokenizer)


def count_messages(messages):
    return 10 * sum(message["role"] == "assistant" for message in messages) + 5


@pytest.mark.parametrize(
    ("limit", "shown", "trimmed", "too_long"),
    [(25, [0, 1, 2, 2], 0, 0), (24, [0, 1, 1, 1], 2, 0), (14, [0, 0, 0, 0], 3, 0), (4, [], 0, 4)],
)
def test_pairs_are_left_out_oldest_first_and_never_the_task(limit, shown, trimmed, too_long):
    data = dataset(agent("a", "b", "c", "d"))
    options = {"max_prompt_length": limit, "count_tokens": count_messages}
    if too_long:
        with pytest.raises(ValueError, match=r"dropped 4 .* \[prompt_too_long\]"):
            format_trajectories(data, **options)
        return
    rows, summary = format_trajectories(data, **options)
    assert [sum(message["role"] == "assistant" for message in prompt) for prompt in rows["prompt"]] == shown
    assert [f"left out: {index - count})" in prompt[1]["content"] for index, (count, prompt) in
            enumerate(zip(shown, rows["prompt"], strict=True))] == [i > c for i, c in enumerate(shown)]  # fmt: skip
    assert summary.trimmed == trimmed


@pytest.mark.parametrize(
    ("row", "reason", "dropped"),
    [
        (agent("a", prompt=[{"role": "user", "content": " "}]), "empty_problem", 1),
        (agent("a", drop_reason="unresolved"), "unresolved", 1),
        (agent("a", drop_reason="a reason of the user's"), "a reason of the user's", 1),
        (
            {"prompt": [{"role": "user", "content": "U"}], "steps": [{"action": "talk", "observation": ""}]},
            "no_action",
            1,
        ),
        (agent("echo '<think>'", "b", "cat </think>"), "think_tag_in_step", 2),
        (agent("a", "b"), "duplicate", 2),
        (agent("a") | {"action_format": "command", "steps": [{"action": " ", "observation": ""}]}, "empty_step", 1),
        (agent("a") | {"steps": [*agent("a")["steps"], None]}, "empty_step", 1),
        (agent("a\n```\n```bash\nb"), "no_action", 1),  # two commands in one turn
    ],
)
def test_drop_reason_is_counted(row, reason, dropped):
    rows, summary = format_trajectories(dataset({"drop_reason": None, "action_format": None} | agent("a", "b"), row))
    assert rows["expert_action"][:2] == [run("a"), run("b")]
    assert summary.dropped == {reason: dropped}
    assert reason in DROP_REASONS or f"dropped 1 rows [{reason}]" in str(summary)


@pytest.mark.parametrize("fence", ["```", "```mswea_bash_command", "```sh"])
def test_the_prompt_asks_for_the_fence_that_the_expert_writes(fence):
    steps = [{"action": f"{fence}\nls\n```", "observation": ""}]
    rows, _ = format_trajectories(dataset({"problem": "Fix it.", "steps": steps}))
    assert f"in this form:\n\n{fence}\nCOMMAND\n```\n\n" in rows[0]["prompt"][0]["content"]


def test_one_unreadable_action_drops_its_row_alone():
    row = agent("a", "b", "c")
    row["steps"][1]["action"] = "I only talk."
    rows, summary = format_trajectories(dataset(row))
    assert rows["step_index"][:] == [0, 2]
    assert rows[1]["prompt"][4] == {"role": "assistant", "content": "I only talk."}
    assert summary.dropped == {"no_action_in_step": 1}


def test_actions_after_many_rows_without_steps_keep_their_format():
    rows, summary = format_trajectories(dataset(*[{"prompt": None, "steps": []}] * 120, agent("a")))
    assert rows["action_format"][:] == ["command"]
    assert summary.dropped == {"empty_problem": 120}


def test_gold_scores_one():
    rows, _ = format_trajectories(dataset(agent("ls", "cat <<'E'\n```python\nE", "grep -n 'a  b' *")))
    completions = [gold_completion(action, "Hm.") for action in rows["expert_action"]]
    columns = {name: rows[name][:] for name in ("expert_action", "action_format")}
    assert step_similarity_reward(completions, **columns) == [1.0, 1.0, 1.0]


def test_streams_and_several_processes_give_the_same_rows():
    data = dataset(*(agent(*(f"{i} {k}" for k in range(4))) for i in range(5)))
    rows, summary = format_trajectories(data)
    assert format_trajectories(data, num_proc=2)[0].to_list() == rows.to_list()
    for stream in (data.to_iterable_dataset(), IterableDataset.from_generator(lambda: iter(data.to_list()))):
        streamed, counted = format_trajectories(stream)
        assert list(streamed) == rows.to_list()
        assert counted == summary


def test_ready_step_rows_of_agents_are_checked():
    rows, _ = format_trajectories(dataset(agent("a", "b")))
    bad = {**rows[0], "expert_action": "I only talk."}
    kept, summary = check_step_rows(Dataset.from_list([*rows, bad]))
    assert kept.to_list() == rows.to_list()
    assert summary.dropped == {"no_action_in_step": 1}


def test_rows_grow_linearly_with_the_steps():
    """The window bounds what a row holds: without it, 800 steps would take 64 times the time and room of 100."""

    def measure(steps):
        row = agent(*(f"command {k}" for k in range(steps)))
        for step in row["steps"]:
            step["observation"] = "x" * 2_000
        start = time.process_time()
        rows = list(expand_trajectory(row, Options()))
        characters = sum(len(message["content"]) for row in rows for message in row["prompt"])
        return time.process_time() - start, characters / steps

    _, few = measure(100)
    seconds, many = measure(800)
    assert many < 1.1 * few
    assert seconds < 5
