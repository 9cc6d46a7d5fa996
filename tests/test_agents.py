"""Agents' chats → (action, observation) pairs."""

import json
import time

import pytest

from trl_srl.agents import UnreadableMessages, read_messages


SYSTEM = {"role": "system", "content": "You act."}
TASK = {"role": "user", "content": "Fix it."}
PROMPT = [SYSTEM, TASK]


def call(name, arguments):
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


def says(content, *calls):
    return {"role": "assistant", "content": content, "tool_calls": list(calls) or None}


def saw(content):
    return {"role": "tool", "content": content, "tool_call_id": "1"}


def bash(command):
    return f'<tool_call>\n{{"arguments":{{"command":"{command}"}},"name":"bash"}}\n</tool_call>'


def pairs(trajectory):
    return [(step["action"], step["observation"]) for step in trajectory.steps]


def test_tool_calls_as_text_or_as_mapping():
    chat = [
        *PROMPT,
        says("I look around.", call("bash", '{"command": "ls"}')),
        saw("a.py"),
        says("", call("bash", {"command": "cat", "timeout": None})),  # 🤗 Datasets' filling is no argument
        saw("x = 1\n"),
        says(None, call("submit", "{}")),
    ]
    trajectory = read_messages(chat)
    submit = '<tool_call>\n{"arguments":{},"name":"submit"}\n</tool_call>'
    assert pairs(trajectory) == [(bash("ls"), "a.py"), (bash("cat"), "x = 1"), (submit, "")]
    assert trajectory.prompt == PROMPT
    assert (trajectory.action_format, trajectory.skipped_turns, trajectory.cut_observations) == ("tool_call", 0, 0)
    assert read_messages(json.dumps(chat)) == trajectory  # as SWE-smith stores it


def test_null_that_the_teacher_wrote_stays():
    trajectory = read_messages([TASK, says("", call("f", '{"a": null}'))])
    assert trajectory.steps[0]["action"] == '<tool_call>\n{"arguments":{"a":null},"name":"f"}\n</tool_call>'


def test_parallel_calls_are_one_action():
    both = says("Both.", call("bash", '{"command":"ls"}'), call("bash", '{"command":"pwd"}'))
    chat = [*PROMPT, both, saw("a.py"), saw("/")]
    assert pairs(read_messages(chat)) == [(bash("ls") + "\n" + bash("pwd"), "a.py\n\n/")]


def test_a_turn_without_an_action_is_skipped_and_what_was_answered_is_joined():
    chat = [
        *PROMPT,
        says("What is wrong with it?"),
        {"role": "user", "content": "It crashes."},
        says("I look.", call("bash", '{"command": "ls"}')),
        saw("a.py"),
        says("I wonder."),
        {"role": "user", "content": "Go on."},
        says("Malformed.", call("bash", '{"command": ')),
        saw("Not JSON."),
        says("All done."),
    ]
    trajectory = read_messages(chat)
    assert trajectory.prompt == [SYSTEM, {"role": "user", "content": "Fix it.\n\nIt crashes."}]
    assert pairs(trajectory) == [(bash("ls"), "a.py\n\nGo on.\n\nNot JSON.")]
    assert trajectory.skipped_turns == 4


def test_function_blocks():
    chat = [
        {"role": "system", "content": "Call <function=name>."},
        {"role": "user", "content": [{"type": "text", "text": "Fix "}, {"type": "text", "text": "it."}]},
        says("First:\n\n<function=bash>\n<parameter=command>ls</parameter>\n</function>"),
        {"role": "user", "content": [{"type": "text", "text": "OBSERVATION:\na.py"}]},
        says("<think>Maybe <function=x>?</think>\n<function=submit>\n</function>"),
        {"role": "user", "content": "OBSERVATION:\n"},
    ]
    trajectory = read_messages(chat)
    assert pairs(trajectory) == [
        ("<function=bash>\n<parameter=command>ls</parameter>\n</function>", "a.py"),
        ("<function=submit>\n</function>", ""),
    ]
    assert trajectory.prompt[1] == TASK
    assert trajectory.action_format == "function"


def test_fenced_commands_and_the_record_of_the_run():
    chat = [
        *PROMPT,
        says("THOUGHT: I look.\n\n```bash\nls\n```"),
        {"role": "user", "content": "<returncode>0</returncode>\n<output>\na.py</output>"},
        says("```bash\nls\n```\nand\n```bash\npwd\n```"),  # refused by mini-SWE-agent
        {"role": "user", "content": "Write EXACTLY ONE action."},
        says("```bash\necho COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\n```"),
        {"role": "exit", "content": "diff", "extra": {"exit_status": "Submitted"}},
    ]
    trajectory = read_messages(chat)
    assert pairs(trajectory) == [
        ("```bash\nls\n```", "<returncode>0</returncode>\n<output>\na.py</output>\n\nWrite EXACTLY ONE action."),
        ("```bash\necho COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\n```", ""),
    ]
    assert (trajectory.action_format, trajectory.skipped_turns) == ("command", 1)


def test_sharegpt():
    chat = [
        {"from": "system", "value": "You act."},
        {"from": "human", "value": "Fix it."},
        {"from": "function_call", "value": '{"name": "bash", "arguments": {"command": "ls"}}'},
        {"from": "observation", "value": "a.py"},
        {"from": "gpt", "value": "Fixed."},
    ]
    trajectory = read_messages(chat)
    assert (trajectory.prompt, pairs(trajectory)) == (PROMPT, [(bash("ls"), "a.py")])
    assert trajectory.skipped_turns == 1


def test_half_a_surrogate_pair_becomes_a_replacement_character():
    chat = [TASK, says("", call("f", '{"a": "\\ud83d"}')), saw("\ud83d")]
    for action_format, action in (
        ("tool_call", '<tool_call>\n{"arguments":{"a":"\\ud83d"},"name":"f"}\n</tool_call>'),  # JSON can say it
        ("function", "<function=f>\n<parameter=a>\ufffd</parameter>\n</function>"),
    ):
        assert pairs(read_messages(json.dumps(chat), action_format=action_format)) == [(action, "\ufffd")]


def test_malformed_calls_are_turns_without_an_action():
    calls = ["5", "[5]", '"text"', [5], [{"function": "f"}], [{"name": "f", "arguments": {"x": float("inf")}}]]
    chat = [TASK, *({"role": "assistant", "content": "", "tool_calls": value} for value in calls)]
    trajectory = read_messages([*chat, says("", call("f", "{}"))])
    assert (len(trajectory.steps), trajectory.skipped_turns) == (1, 6)


def test_a_value_that_ends_its_own_block_is_no_action_and_never_a_shorter_one():
    value = "a</parameter>b"
    trajectory = read_messages(
        [*PROMPT, says("", call("edit", {"text": value})), says("", call("edit", {"text": "a"}))],
        action_format="function",
    )
    assert [action for action, _ in pairs(trajectory)] == [
        "<function=edit>\n<parameter=text>a</parameter>\n</function>"
    ]
    assert trajectory.skipped_turns == 1
    as_json = read_messages([*PROMPT, says("", call("edit", {"text": value}))])
    assert value in as_json.steps[0]["action"]  # JSON can hold it


def test_older_swe_agent():
    chat = [
        {"role": "system", "system_prompt": "You act.", "text": None},
        {"role": "user", "system_prompt": None, "text": "Fix it."},
        {"role": "ai", "system_prompt": None, "text": "I look.\n```\nls\n```"},
        {"role": "user", "system_prompt": None, "text": "a.py"},
    ]
    trajectory = read_messages(chat)
    assert (trajectory.prompt, pairs(trajectory)) == (PROMPT, [("```\nls\n```", "a.py")])


def test_tool_calls_in_the_papers_form():
    chat = [TASK, says("", call("edit", '{"path": "/a", "view_range": [1, 2], "new": "x\\ny"}'))]
    assert read_messages(chat, action_format="function").steps[0]["action"] == (
        "<function=edit>\n<parameter=new>\nx\ny\n</parameter>\n<parameter=path>/a</parameter>\n"
        "<parameter=view_range>[1,2]</parameter>\n</function>"
    )


def test_the_format_is_that_of_most_turns_unless_it_is_given():
    chat = [TASK, says("```bash\nls\n```"), says("<function=f>\n</function>"), says("```bash\npwd\n```")]
    assert len(read_messages(chat).steps) == 2
    assert pairs(read_messages(chat, action_format="function")) == [("<function=f>\n</function>", "")]


@pytest.mark.parametrize(
    ("length", "observation"),
    [
        (10, "0123456789"),
        (11, "01234\n[… 1 characters left out …]\n6789a"),
        (5000, "01234\n[… 4,990 characters left out …]\n56789"),
    ],
)
def test_a_huge_observation_is_cut_in_the_middle(length, observation):
    text = ("0123456789a" if length == 11 else "0123456789" * 500)[:length]
    trajectory = read_messages([TASK, says("", call("f", "{}")), saw(text)], max_observation_length=10)
    assert (trajectory.steps[0]["observation"], trajectory.cut_observations) == (observation, int(length > 10))


def test_the_limit_counts_characters_of_the_whole_observation():
    chat = [TASK, says("", call("f", "{}")), saw("a" * 10_000)]
    assert read_messages(chat).cut_observations == 0
    assert read_messages([*chat, saw("b")]).cut_observations == 1
    assert read_messages(chat, max_observation_length=0).steps[0]["observation"] == (
        "\n[… 10,000 characters left out …]\n"
    )


@pytest.mark.parametrize(
    "tools",
    [
        [{"type": "function", "function": {"name": "bash", "description": None}}],
        ['{"type": "function", "function": {"name": "bash"}}'],
        '[{"type": "function", "function": {"name": "bash"}}]',
        {"type": "function", "function": {"name": "bash"}},
    ],
)
def test_tools_are_described_in_the_system_message(tools):
    described = 'You can call these functions:\n{"type": "function", "function": {"name": "bash"}}'
    assert read_messages(PROMPT, tools=tools).prompt == [
        {"role": "system", "content": f"You act.\n\n{described}"},
        TASK,
    ]
    assert read_messages([TASK], tools=tools).prompt[0] == {"role": "system", "content": described}


@pytest.mark.parametrize("tools", [None, [], "", " ", "[]", " []\n", "{}", "null"])
def test_no_tools_are_not_described(tools):
    assert read_messages(PROMPT, tools=tools).prompt == PROMPT


def test_messages_of_one_role_in_a_row_become_one():
    chat = [SYSTEM, {"role": "developer", "content": "Be brief."}, TASK, TASK, says("", call("f", "{}"))]
    assert read_messages(chat).prompt == [
        {"role": "system", "content": "You act.\n\nBe brief."},
        {"role": "user", "content": "Fix it.\n\nFix it."},
    ]


@pytest.mark.parametrize(
    ("chat", "prompt"), [([], []), ([SYSTEM], []), (PROMPT, PROMPT), ([*PROMPT, says("Hello.")], PROMPT)]
)
def test_chats_without_an_action(chat, prompt):
    trajectory = read_messages(chat)
    assert (trajectory.prompt, trajectory.steps, trajectory.action_format) == (prompt, [], None)


@pytest.mark.parametrize(
    "messages", [None, "", "no JSON", "{}", [1], ["text"], [{"role": "narrator", "content": "x"}], [{"content": "x"}]]
)
def test_what_is_no_chat(messages):
    with pytest.raises(UnreadableMessages):
        read_messages(messages)


def test_bad_settings():
    with pytest.raises(ValueError, match="Write one of tool_call, function, command"):
        read_messages(PROMPT, action_format="xml")
    with pytest.raises(ValueError, match="Write 0 or more"):
        read_messages(PROMPT, max_observation_length=-1)


@pytest.mark.parametrize(
    "unit", ["`", "```\n", "<function=", "<function=a><parameter=b>", "<tool_call>", "<think>", "</think>", "1.", "*"]
)
def test_time_is_linear(unit):
    text = unit * (1_000_000 // len(unit))
    start = time.process_time()
    trajectory = read_messages([{"role": "user", "content": text}, says(text), saw(text), says(text)])
    assert time.process_time() - start < 5
    assert trajectory.steps == []
