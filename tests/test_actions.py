"""Actions in their canonical form: what is read, what is not, and in how long."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trl_srl.actions import (
    ACTION_FORMATS,
    Call,
    as_call,
    comparable,
    find_action_format,
    read_action,
    shell_of,
    write_calls,
)


CALL = '<tool_call>\n{"arguments":{"command":"ls","timeout":3},"name":"bash"}\n</tool_call>'
FUNCTION = "<function=bash>\n<parameter=command>ls</parameter>\n</function>"
COMMAND = "```bash\nls -la\n```"


@pytest.mark.parametrize(
    ("text", "action"),
    [
        (CALL, CALL),
        ('<tool_call>{"name": "bash", "arguments": {"timeout": 3, "command": "ls"}}</tool_call>', CALL),
        ('I look.\n<tool_call>\n {"name":"bash",\n"arguments":{"command":"ls","timeout":3}}\n</tool_call> Ok.', CALL),
        ('<tool_call>{"name": "bash", "arguments": "{\\"timeout\\": 3, \\"command\\": \\"ls\\"}"}</tool_call>', CALL),
        ('<tool_call>{"id": "7", "type": "function", "name": " bash ", "arguments": {"command": "ls", "timeout": 3}}'
         "</tool_call>", CALL),
        ("A <tool_call> follows: " + CALL, CALL),  # a mere mention
        (f"{CALL}\n\nand\n\n{CALL}", f"{CALL}\n{CALL}"),  # parallel calls, in their order
        ('<tool_call>{"name": "submit"}</tool_call>', '<tool_call>\n{"arguments":{},"name":"submit"}\n</tool_call>'),
        ('<tool_call>{"name": "submit", "arguments": ""}</tool_call>',
         '<tool_call>\n{"arguments":{},"name":"submit"}\n</tool_call>'),
        ('<tool_call>{"name": "p", "arguments": {"t": "a </tool_call> b"}}</tool_call>',
         '<tool_call>\n{"arguments":{"t":"a </tool_call> b"},"name":"p"}\n</tool_call>'),
        ('<tool_call>{"name": "p", "arguments": {"t": "\\u00e9"}}</tool_call>',
         '<tool_call>\n{"arguments":{"t":"é"},"name":"p"}\n</tool_call>'),
        ('<tool_call>{"name": "p", "arguments": {"t": "\\ud83d"}}</tool_call>',  # no file can hold half a pair
         '<tool_call>\n{"arguments":{"t":"\\ud83d"},"name":"p"}\n</tool_call>'),
    ],
)  # fmt: skip
def test_tool_calls(text, action):
    assert read_action(text, "tool_call") == action


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no call",
        '{"name": "bash", "arguments": {}}',  # without its tags an environment would not see it
        "<tool_call>",
        '<tool_call>{"name": "bash", "arguments": {}}',
        '<tool_call>{"name": "bash", "arguments": {}</tool_call>',
        '<tool_call>{"name": "bash", "arguments": {}} and</tool_call>',
        '<tool_call>{"name": "", "arguments": {}}</tool_call>',
        '<tool_call>{"arguments": {}}</tool_call>',
        '<tool_call>{"name": "bash", "arguments": [1]}</tool_call>',
        '<tool_call>{"name": "bash", "arguments": "ls"}</tool_call>',
        '<tool_call>{"name": "bash", "arguments": {"x": NaN}}</tool_call>',
        '<tool_call>{"name": "bash", "arguments": {"x": 1e999}}</tool_call>',
        '<tool_call>{"name": "bash", "arguments": {"x": 1' + "0" * 5000 + "}}</tool_call>",
        '<tool_call>{"name": "bash", "arguments": {"x": ' + "[" * 100_000 + "}}</tool_call>",
        CALL + '<tool_call>{"name": "bash", </tool_call>',  # of parallel calls one is malformed
    ],
)
def test_what_is_no_tool_call(text):
    assert read_action(text, "tool_call") is None
    assert comparable(text, "tool_call") == text


@pytest.mark.parametrize(
    ("text", "action"),
    [
        (FUNCTION, FUNCTION),
        ("I look.\n<function=bash><parameter=command>\nls\n</parameter></function> Done.", FUNCTION),
        ("<tool_call>\n<function=bash>\n<parameter=command>ls</parameter>\n</function>\n</tool_call>", FUNCTION),
        ("<function=submit>\n</function>", "<function=submit>\n</function>"),
        ("<function=edit><parameter=path>/a</parameter> and <parameter=new>x\ny</parameter></function>",
         "<function=edit>\n<parameter=new>\nx\ny\n</parameter>\n<parameter=path>/a</parameter>\n</function>"),
        (f"{FUNCTION}\n{FUNCTION}", f"{FUNCTION}\n{FUNCTION}"),
        ("As <function= says:\n" + FUNCTION, FUNCTION),
        ("<function=bash>\n<parameter=command>ls</parameter>\n", FUNCTION),  # stopped before the last tag
        ("<function=submit>", "<function=submit>\n</function>"),
        ("<function=e><parameter=t>a </function> b</parameter></function>",
         "<function=e>\n<parameter=t>a </function> b</parameter>\n</function>"),
        ("<function=e><parameter=t>\n\n  a\n\n</parameter></function>",  # only one newline on each side is layout
         "<function=e>\n<parameter=t>\n\n  a\n\n</parameter>\n</function>"),
    ],
)  # fmt: skip
def test_functions(text, action):
    assert read_action(text, "function") == action


@pytest.mark.parametrize(
    "text",
    [
        "<function=bash> is one",
        "<function=bash><parameter=command>ls</function>",
        "<function=bash><parameter=command>ls",
        "<function=bash><parameter=command>ls</parameter></bash>",
        "<function=two words><parameter=command>ls</parameter></function>",
        "<function=><parameter=command>ls</parameter></function>",
        "<function=bash><parameter=>ls</parameter></function>",
        FUNCTION + "<function=bash> and",
    ],
)
def test_what_is_no_function(text):
    assert read_action(text, "function") is None


@pytest.mark.parametrize(
    ("text", "action"),
    [
        (COMMAND, COMMAND),
        ("THOUGHT: I look.\n\n```bash\n\nls -la\n\n```\nThen more.", COMMAND),
        ("As in\n```python\nx = 1\n```\nI run\n```bash\nls -la\n```", COMMAND),
        ("```mswea_bash_command\nls\n```", "```mswea_bash_command\nls\n```"),
        ("```\nold()\n```\nDISCUSSION\n```\nls\n```", "```\nls\n```"),  # SWE-agent: the last one
        ("```\nls\n```\n```sh\npwd\n```", "```sh\npwd\n```"),
        ("```bash\ncat <<'E'\n```python\nx\nE\n```", "```bash\ncat <<'E'\n```python\nx\nE\n```"),
        ("````bash\ncat <<'E'\n```\nE\n````", "````bash\ncat <<'E'\n```\nE\n````"),
        ("  ```bash title=x\r\nls\r\n  ```\r\n", "```bash\nls\n```"),
    ],
)
def test_commands(text, action):
    assert read_action(text, "command") == action


@pytest.mark.parametrize(
    "text",
    ["ls", "`ls`", "```ls```", "```bash\nls", "```bash\n\n```", "```python\nx\n```", f"{COMMAND}\n{COMMAND}"],
)
def test_what_is_no_command(text):
    assert read_action(text, "command") is None


def test_rows_of_texts_are_compared_as_they_are():
    assert comparable(CALL + "  ", None) == comparable(CALL + "  ", "text") == CALL + "  "
    with pytest.raises(ValueError, match=r"'json' is unknown\. Write one of tool_call, function, command"):
        comparable("x", "json")


def test_the_format_of_most_turns():
    assert find_action_format([FUNCTION, "talk", FUNCTION, COMMAND]) == "function"
    assert find_action_format([CALL, COMMAND]) == "tool_call"
    assert find_action_format(["talk"]) is find_action_format([]) is None


@pytest.mark.parametrize(
    ("value", "call"),
    [
        ({"function": {"name": "f", "arguments": '{"a": 1}'}, "id": "1"}, Call("f", {"a": 1})),
        ({"name": "f", "arguments": {"a": None}}, Call("f", {"a": None})),
        ({"name": "f", "arguments": None}, Call("f", {})),
        ({"name": "f", "parameters": {"a": 1}}, Call("f", {"a": 1})),
        ({"name": "f", "arguments": "{"}, None),
        ({"name": None, "arguments": {}}, None),
        ("f", None),
        (None, None),
    ],
)
def test_calls_of_chat_data(value, call):
    assert as_call(value) == call


def test_what_is_no_json_is_not_written():
    assert write_calls([Call("f", {"x": float("inf")})], "tool_call") is None
    assert write_calls([Call("f", {"x": b"bytes"})], "function") is None


def test_the_shell_of_a_command():
    assert [shell_of(text) for text in (COMMAND, "```\nls\n```", "````sh\nls\n````", CALL)] == ["bash", "", "sh", ""]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(st.text(min_size=1, max_size=5), JSON, max_size=4)


def shuffled(value, draw):
    """The same JSON with its keys in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key], draw) for key in draw(st.permutations(list(value)))}
    return [shuffled(item, draw) for item in value] if isinstance(value, list) else value


@given(arguments=ARGUMENTS, indent=st.sampled_from([None, 0, 2]), ascii_only=st.booleans(), data=st.data())
@settings(deadline=None)
def test_key_order_and_white_space_change_nothing(arguments, indent, ascii_only, data):
    keys = {"name": "f", "arguments": arguments}
    written = json.dumps(shuffled(keys, data.draw), indent=indent, ensure_ascii=ascii_only)
    action = read_action(f"Prose.\n<tool_call>\n{written}\n</tool_call>", "tool_call")
    assert action == write_calls([Call("f", arguments)], "tool_call")
    assert read_action(action, "tool_call") == action
    assert json.loads(action.split("\n")[1]) == keys


VALUES = st.text(alphabet="ab <>/=`\n", max_size=20).filter(lambda value: "</parameter>" not in value)


@given(parameters=st.dictionaries(st.text("abc_", min_size=1), VALUES, max_size=4), data=st.data())
@settings(deadline=None)
def test_parameters_come_back(parameters, data):
    names = data.draw(st.permutations(list(parameters)))
    text = "<function=f>" + "".join(f"<parameter={n}>\n{parameters[n]}\n</parameter>\n" for n in names) + "</function>"
    assert read_action(text, "function") == write_calls([Call("f", parameters)], "function")


PIECES = st.sampled_from(
    ["<tool_call>", "</tool_call>", '{"name":"f"', ',"arguments":{', "}", '"', "<function=", "f", ">", "</function>",
     "<parameter=", "</parameter>", "```", "````", "bash", "sh", "`", "\n", " ", "x", "\r\n", "\ud800"]
)  # fmt: skip


@pytest.mark.parametrize("action_format", ACTION_FORMATS)
@given(text=st.lists(PIECES, max_size=30).map("".join))
@settings(deadline=None, max_examples=300)
def test_the_canonical_form_reads_as_itself(action_format, text):
    action = read_action(text, action_format)
    assert action is None or read_action(f"Prose.\n{action}\nMore.", action_format) == action


LIMIT_SECONDS = 5  # a text of 1 MB takes a fraction of a second, and would take hours if any part were quadratic
HOSTILE = [
    "`", "```", "```\n", "````\n```\n", "```bash\n", "```a`\n", "<function=", "<function=a>",
    "<function=a></function>", "<function=a><parameter=", "<function=a><parameter=b>", "<parameter=b></parameter>",
    "</function>", "<tool_call>", "<tool_call>{", '<tool_call>{"name":"a"}</tool_call>', '<tool_call>"',
    "<tool_call>\n", "</tool_call>", "<think>", "1.", "*", " ", "\n", "{", '{"a":',
]  # fmt: skip


@pytest.mark.parametrize("action_format", ACTION_FORMATS)
@pytest.mark.parametrize("unit", HOSTILE)
def test_time_is_linear(action_format, unit):
    text = unit * (1_000_000 // len(unit))
    ends = ("", "</parameter></function>", "</tool_call>", "\n```\n")
    start = time.process_time()
    for end in ends:
        read_action(text + end, action_format)
    read_action("<function=a><parameter=b>" + text + "</parameter></function>", action_format)
    read_action('<tool_call>{"name": "a", "arguments": {"b": ' + text, action_format)
    read_action("```bash\n" + text + "\n```", action_format)
    assert time.process_time() - start < LIMIT_SECONDS
