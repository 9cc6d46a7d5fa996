"""Expert trajectories → step rows. What must come out is written out by hand."""

import pytest
from datasets import Dataset, IterableDataset, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from trl_srl.formatting import format_trajectories
from trl_srl.prompts import SYSTEM_PROMPT, gold_completion
from trl_srl.rewards import step_similarity_reward
from trl_srl.step_rows import DROP_REASONS, check_step_rows


GOOD = {"problem": "What is 2 + 2?", "steps": ["Hold up 2 fingers.", "Hold up 2 more.", "Count 4."]}
TITLED = [
    {"title": "Halve", "body": "48 / 2 = 24"},
    {"title": "", "body": "No title."},
    {"title": "Add", "body": "48 + 24 = 72"},
]


def dataset(*rows):
    return Dataset.from_list(list(rows))


def actions(rows):
    return rows["expert_action"][:]


def questions(rows):
    return [prompt[-1]["content"] for prompt in rows["prompt"]]


def test_one_row_for_each_step_but_the_last():
    rows, summary = format_trajectories(dataset(GOOD | {"answer": "4"}))
    system = {"role": "system", "content": SYSTEM_PROMPT}
    assert rows.to_list() == [
        {
            "prompt": [
                system,
                {
                    "role": "user",
                    "content": "Problem:\nWhat is 2 + 2?\n\nSolution so far:\n(nothing yet)\n\nWrite the next step.",
                },
            ],
            "expert_action": "Hold up 2 fingers.",
            "problem_id": "38d46ad3618826cf",
            "step_index": 0,
            "num_steps": 3,
            "answer": "4",
        },
        {
            "prompt": [
                system,
                {
                    "role": "user",
                    "content": "Problem:\nWhat is 2 + 2?\n\nSolution so far:\nHold up 2 fingers.\n\n"
                    "Write the next step.",
                },
            ],
            "expert_action": "Hold up 2 more.",
            "problem_id": "38d46ad3618826cf",
            "step_index": 1,
            "num_steps": 3,
            "answer": "4",
        },
    ]
    assert (summary.rows, summary.problems, summary.trimmed, summary.dropped) == (2, {"38d46ad3618826cf"}, 0, {})


def test_include_last_step():
    rows, _ = format_trajectories(dataset(GOOD), include_last_step=True)
    assert actions(rows) == ["Hold up 2 fingers.", "Hold up 2 more.", "Count 4."]
    assert rows["num_steps"][:] == [3, 3, 3]


def test_one_step_is_enough_when_the_last_step_is_a_target():
    rows, _ = format_trajectories(dataset({"problem": "P", "steps": ["only"]}), include_last_step=True)
    assert actions(rows) == ["only"]


def test_context_is_the_experts_steps_in_order():
    rows, _ = format_trajectories(dataset({"problem": "P", "steps": ["a", "b", "c", "d"]}))
    assert questions(rows) == [
        "Problem:\nP\n\nSolution so far:\n(nothing yet)\n\nWrite the next step.",
        "Problem:\nP\n\nSolution so far:\na\n\nWrite the next step.",
        "Problem:\nP\n\nSolution so far:\na\n\nb\n\nWrite the next step.",
    ]


def test_titles_stay_in_the_target_without_the_hint():
    rows, _ = format_trajectories(dataset({"problem": "P", "steps": TITLED}), include_last_step=True)
    assert actions(rows) == ["**Halve**: 48 / 2 = 24", "No title.", "**Add**: 48 + 24 = 72"]
    assert not any("Title of the next step" in question for question in questions(rows))


def test_title_hint_puts_the_title_in_the_prompt_and_the_body_in_the_target():
    rows, _ = format_trajectories(dataset({"problem": "P", "steps": TITLED}), include_last_step=True, title_hint=True)
    assert actions(rows) == ["48 / 2 = 24", "No title.", "48 + 24 = 72"]
    assert questions(rows) == [
        "Problem:\nP\n\nSolution so far:\n(nothing yet)\n\nTitle of the next step: Halve\n\nWrite the next step.",
        "Problem:\nP\n\nSolution so far:\n**Halve**: 48 / 2 = 24\n\nWrite the next step.",
        "Problem:\nP\n\nSolution so far:\n**Halve**: 48 / 2 = 24\n\nNo title.\n\nTitle of the next step: Add\n\n"
        "Write the next step.",
    ]


def test_system_prompt_is_replaced():
    rows, _ = format_trajectories(dataset(GOOD), system_prompt="Be brief.")
    assert [prompt[0] for prompt in rows["prompt"]] == [{"role": "system", "content": "Be brief."}] * 2


def test_steps_are_stripped():
    rows, _ = format_trajectories(dataset({"problem": "P", "steps": [" a \n", "\n\nb  b\n", "c"]}))
    assert actions(rows) == ["a", "b  b"]


def test_other_columns_are_not_carried():
    rows, _ = format_trajectories(dataset(GOOD | {"source": "s1K", "score": 0.5}))
    assert rows.column_names == ["prompt", "expert_action", "problem_id", "step_index", "num_steps"]


@pytest.mark.parametrize(("answer", "text"), [("4", "4"), (4, "4"), (0.5, "0.5"), (True, "True"), (None, None)])
def test_answer_is_kept_as_text(answer, text):
    rows, _ = format_trajectories(dataset(GOOD | {"answer": answer}))
    assert rows["answer"][:] == [text, text]
    assert rows.features["answer"] == Value("string")


def test_prompt_as_messages():
    messages = [
        {"role": "system", "content": "You are careful."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "P"},
    ]
    rows, _ = format_trajectories(dataset({"prompt": messages, "steps": ["a", "b"]}), system_prompt="Ours.")
    assert rows["prompt"][:] == [
        [
            {"role": "system", "content": "Ours.\n\nYou are careful."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi"},
            {
                "role": "user",
                "content": "Problem:\nP\n\nSolution so far:\n(nothing yet)\n\nWrite the next step.",
            },
        ]
    ]


def test_trl_stepwise_type():
    rows, summary = format_trajectories(dataset({"prompt": "P", "completions": ["a", "b", "c"]}))
    assert actions(rows) == ["a", "b"]
    assert summary.dropped == {}


def test_trl_stepwise_type_with_labels_uses_only_trajectories_that_are_all_true():
    rows, summary = format_trajectories(
        dataset(
            {"prompt": "P", "completions": ["a", "b", "c"], "labels": [True, True, True]},
            {"prompt": "Q", "completions": ["d", "e", "f"], "labels": [True, True, False]},
            {"prompt": "R", "completions": ["g", "h", "i"], "labels": [False, True, True]},
            {"prompt": "S", "completions": ["j", "k"], "labels": None},
        )
    )
    assert actions(rows) == ["a", "b", "j"]
    assert summary.dropped == {"wrong_label": 2}


def test_problem_id_depends_on_the_problem_alone():
    other = {"problem": "Another", "steps": ["x", "y"]}
    same = {"problem": "  What is 2 + 2?\n", "steps": ["It is 4.", "Done."], "answer": "4"}
    alone, _ = format_trajectories(dataset(GOOD))
    among, _ = format_trajectories(dataset(other, same, GOOD), include_last_step=True)
    assert set(alone["problem_id"]) == {"38d46ad3618826cf"}
    assert [i == "38d46ad3618826cf" for i in among["problem_id"]] == [False, False, True, True, True, True, True]


@pytest.mark.parametrize(
    ("row", "reason", "dropped"),
    [
        ({"problem": "", "steps": ["a", "b"]}, "empty_problem", 1),
        ({"problem": " \n", "steps": ["a", "b"]}, "empty_problem", 1),
        ({"problem": None, "steps": ["a", "b"]}, "empty_problem", 1),
        ({"problem": "P", "steps": ["a"]}, "too_few_steps", 1),
        ({"problem": "P", "steps": []}, "too_few_steps", 1),
        ({"problem": "P", "steps": None}, "too_few_steps", 1),
        ({"problem": "P", "steps": ["a", "", "c"]}, "empty_step", 1),
        ({"problem": "P", "steps": ["a", "b", " \n"]}, "empty_step", 1),
        ({"problem": "P", "steps": ["a", "b"], "labels": [True, False]}, "wrong_label", 1),
        ({"problem": "P", "steps": ["a", "b"], "labels": [True]}, "wrong_label", 1),
        ({"problem": "P", "steps": ["a", "b"], "labels": []}, "wrong_label", 1),
        ({"problem": "P", "steps": ["<think>a</think>", "b</think>", "c"]}, "think_tag_in_step", 2),
        (GOOD, "duplicate", 2),
    ],
)
def test_drop_reason_is_counted(row, reason, dropped):
    rows, summary = format_trajectories(dataset({"labels": None} | GOOD, row))
    assert actions(rows) == ["Hold up 2 fingers.", "Hold up 2 more."]
    assert summary.rows == 2
    assert summary.dropped == {reason: dropped}
    assert reason in DROP_REASONS


def test_messages_without_a_text_are_an_empty_problem():
    messages = [{"role": "user", "content": " \n"}]
    good = {"prompt": [{"role": "user", "content": "P"}], "steps": ["a", "b"]}
    rows, summary = format_trajectories(dataset(good, {"prompt": messages, "steps": ["a", "b"]}))
    assert len(rows) == 1
    assert summary.dropped == {"empty_problem": 1}


def test_only_the_step_with_a_think_tag_is_dropped():
    rows, summary = format_trajectories(dataset({"problem": "P", "steps": ["a", "b <think>", "c", "d"]}))
    assert actions(rows) == ["a", "c"]
    assert rows["step_index"][:] == [0, 2]
    assert summary.dropped == {"think_tag_in_step": 1}


def test_step_that_is_only_a_title_is_dropped_when_the_hint_gives_it_away():
    data = dataset({"problem": "P", "steps": [{"title": "Halve", "body": ""}, *TITLED]})
    rows, summary = format_trajectories(data, title_hint=True)
    assert actions(rows) == ["48 / 2 = 24", "No title."]
    assert summary.dropped == {"title_only": 1}
    rows, summary = format_trajectories(data)
    assert actions(rows) == ["**Halve**", "**Halve**: 48 / 2 = 24", "No title."]
    assert summary.dropped == {}


def test_another_solution_of_the_same_problem_is_no_duplicate():
    other = {"problem": GOOD["problem"], "steps": ["Hold up 2 fingers.", "Double them."]}
    rows, summary = format_trajectories(dataset(GOOD, other, GOOD, other))
    assert actions(rows) == ["Hold up 2 fingers.", "Hold up 2 more.", "Hold up 2 fingers."]
    assert len(summary.problems) == 1
    assert summary.dropped == {"duplicate": 3}


LONG = {"problem": "P", "steps": [letter * 3 + " w" * 9 for letter in "abcde"]}  # ten words each


def count_words(messages):
    """9 words around the steps (`Problem: P`, `Solution so far:`, `Write the next step.`), 2 for `(nothing yet)`, 5
    for `(earlier steps left out: n)`, 10 for a step: 11, 19, 29 and 39 words before trimming."""
    return len(messages[-1]["content"].split())


@pytest.mark.parametrize(
    ("limit", "shown", "too_long"),
    [
        (39, ["", "aaa", "aaa bbb", "aaa bbb ccc"], 0),
        (38, ["", "aaa", "aaa bbb", "1 bbb ccc"], 0),
        (34, ["", "aaa", "aaa bbb", "1 bbb ccc"], 0),  # 9 + 5 + 20
        (33, ["", "aaa", "aaa bbb", "2 ccc"], 0),
        (28, ["", "aaa", "1 bbb", "2 ccc"], 0),
        (24, ["", "aaa", "1 bbb", "2 ccc"], 0),  # 9 + 5 + 10
        (23, ["", "aaa", "2", "3"], 0),
        (18, ["", "1", "2", "3"], 0),
        (14, ["", "1", "2", "3"], 0),  # 9 + 5
        (13, [""], 3),
        (11, [""], 3),
    ],
)
def test_whole_earlier_steps_are_left_out_oldest_first(limit, shown, too_long):
    rows, summary = format_trajectories(dataset(LONG), max_prompt_length=limit, count_tokens=count_words)

    def outline(question):
        words = question.replace("(earlier steps left out: ", "").replace(")", "").split()
        return " ".join(word for word in words if word.isdigit() or word[1:] in ("aa", "bb", "cc", "dd", "ee"))

    assert [outline(question) for question in questions(rows)] == shown
    assert all(question.startswith("Problem:\nP\n\nSolution so far:\n") for question in questions(rows))
    assert all(question.count(" w") % 9 == 0 for question in questions(rows))  # no step is cut
    assert [action[:3] for action in actions(rows)] == ["aaa", "bbb", "ccc", "ddd"][: len(shown)]
    assert summary.trimmed == sum(text[:1].isdigit() for text in shown)
    assert summary.dropped == ({"prompt_too_long": too_long} if too_long else {})


def test_a_limit_that_no_problem_fits_is_an_error():
    with pytest.raises(ValueError, match=r"No usable step row in 1 rows.*\n.*\ndropped 4 .*\[prompt_too_long\]"):
        format_trajectories(dataset(LONG), max_prompt_length=10, count_tokens=count_words)


def test_limit_without_a_counter_is_an_error():
    with pytest.raises(ValueError, match="pass `count_tokens`"):
        format_trajectories(dataset(LONG), max_prompt_length=10)


def test_summary_text():
    rows = [
        LONG,
        LONG,
        {"problem": "", "steps": ["a", "b"]},
        {"problem": "Q", "steps": ["only"]},
        {"problem": "R", "steps": ["only"]},
    ]
    _, summary = format_trajectories(dataset(*rows), max_prompt_length=34, count_tokens=count_words)
    assert str(summary) == (
        "4 step rows from 1 problems\n"
        "1 of them leave out earlier steps to fit the length limit\n"
        "dropped 4 step rows of a trajectory that was seen before [duplicate]\n"
        "dropped 1 trajectories whose problem is empty [empty_problem]\n"
        "dropped 2 trajectories without a step to learn (by default the last step is never a target) [too_few_steps]"
    )


MIXED = [
    GOOD | {"answer": None, "problem": "A"},
    {"problem": "", "steps": ["x", "y"], "answer": "1"},
    {"problem": "B", "steps": ["one"], "answer": "1"},
    LONG | {"answer": "5"},
    {"problem": "C", "steps": ["a", "<think>", "c"], "answer": "6"},
]
MIXED_ACTIONS = ["Hold up 2 fingers.", "Hold up 2 more.", *(step for step in LONG["steps"][:4]), "a"]
MIXED_ANSWERS = [None, None, "5", "5", "5", "5", "6"]
MIXED_DROPPED = {"empty_problem": 1, "too_few_steps": 1, "think_tag_in_step": 1}


def check_mixed(rows, summary):
    rows = list(rows)
    assert [row["expert_action"] for row in rows] == MIXED_ACTIONS
    assert [row["answer"] for row in rows] == MIXED_ANSWERS
    assert (summary.rows, len(summary.problems), summary.trimmed) == (7, 3, 1)
    assert summary.dropped == MIXED_DROPPED
    return [row["prompt"] for row in rows]


def test_same_rows_with_two_processes_and_in_streams():
    options = {"max_prompt_length": 34, "count_tokens": count_words}
    prompts = check_mixed(*format_trajectories(dataset(*MIXED), **options))
    assert check_mixed(*format_trajectories(dataset(*MIXED), num_proc=2, **options)) == prompts
    stream = dataset(*MIXED).to_iterable_dataset(num_shards=2)
    assert check_mixed(*format_trajectories(stream, **options)) == prompts
    unknown = IterableDataset.from_generator(lambda: iter(MIXED))
    assert unknown.column_names is None
    assert check_mixed(*format_trajectories(unknown, **options)) == prompts


def test_stream_stays_a_stream_and_is_counted_while_it_is_read():
    rows, summary = format_trajectories(dataset(GOOD, GOOD).to_iterable_dataset())
    assert isinstance(rows, IterableDataset)
    assert rows.column_names == ["prompt", "expert_action", "problem_id", "step_index", "num_steps"]
    assert summary.rows == 0
    assert len(list(rows)) == 4  # duplicates are not looked for in a stream
    assert summary.rows == 4


@pytest.mark.parametrize(
    "first",
    [
        {"problem": "Q", "steps": ["a", "b"], "answer": None},
        {"problem": "", "steps": [], "answer": None},
    ],
    ids=["no answer", "all dropped"],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_first_batch_does_not_decide_the_types(first, streaming):
    data = dataset(*[first] * 1000, GOOD | {"answer": "4"})
    rows, _ = format_trajectories(data.to_iterable_dataset() if streaming else data)
    assert list(rows)[-1]["answer"] == "4"
    assert list(rows)[-1]["expert_action"] == "Hold up 2 more."
    assert rows.features["answer"] == rows.features["expert_action"] == rows.features["problem_id"] == Value("string")
    assert rows.features["prompt"] == List({"role": Value("string"), "content": Value("string")})
    assert rows.features["step_index"] == rows.features["num_steps"] == Value("int32")


@pytest.mark.parametrize("steps", [[1, 2], [["a"], ["b"]], [{"text": "a"}, {"text": "b"}]], ids=str)
def test_step_that_is_no_text_names_the_problem(steps):
    with pytest.raises(TypeError, match=r"step must be a string.*in the trajectory of the problem 'What is it\?'"):
        format_trajectories(dataset({"problem": "What is it?", "steps": steps}))


@pytest.mark.parametrize("column", ["steps", "completions"])
def test_solution_in_one_text_is_no_list_of_steps(column):
    with pytest.raises((TypeError, ValueError), match=r"split_solutions|--solution_column"):
        format_trajectories(dataset({"prompt": "P", column: "abc"}))


def test_steps_in_columns_are_a_clear_error():
    """As old versions of 🤗 Datasets stored a sequence of mappings."""
    with pytest.raises(TypeError, match="problem 'P' are of type dict, not a list of steps"):
        format_trajectories(dataset({"problem": "P", "steps": {"title": ["a"], "body": ["b"]}}))


@pytest.mark.parametrize(("reason", "shown"), [("\x1b[2J", r"'\x1b[2J'"), (True, "True"), (7, "7")])
def test_a_reason_of_the_datas_own_is_a_printable_text(reason, shown):
    _, summary = format_trajectories(dataset({"drop_reason": None} | GOOD, GOOD | {"drop_reason": reason}))
    assert str(summary) == f"2 step rows from 1 problems\ndropped 1 rows [{shown}]"


@pytest.mark.parametrize("problem", [3, ["What", "is", "it?"]], ids=str)
def test_problem_that_is_no_text_is_a_clear_error(problem):
    with pytest.raises((TypeError, ValueError), match="must end with a user message"):
        format_trajectories(dataset({"problem": problem, "steps": ["a", "b"]}))


@pytest.mark.parametrize(
    "row",
    [
        {"problem": "P"},
        {"steps": ["a", "b"]},
        {"question": "P", "steps": ["a", "b"]},
        {"prompt": "P", "solution": "a"},
    ],
)
def test_missing_columns_are_listed(row):
    with pytest.raises(ValueError) as error:
        format_trajectories(dataset(row))
    assert f"in the columns {sorted(row)}. Needed: `problem`" in str(error.value)
    assert "split_solutions" in str(error.value)


def test_step_rows_are_not_formatted_again():
    rows, _ = format_trajectories(dataset(GOOD))
    with pytest.raises(ValueError, match="step rows already"):
        format_trajectories(rows)


def test_no_usable_row_is_an_error_with_the_summary():
    data = dataset({"problem": "P", "steps": ["only"]}, {"problem": "", "steps": ["a", "b"]})
    with pytest.raises(ValueError) as error:
        format_trajectories(data)
    assert str(error.value) == (
        "No usable step row in 2 rows.\n"
        "0 step rows from 0 problems\n"
        "dropped 1 trajectories whose problem is empty [empty_problem]\n"
        "dropped 1 trajectories without a step to learn (by default the last step is never a target) [too_few_steps]\n"
        "A solution needs at least two steps, since the last one is no target; include_last_step=True makes it one."
    )


def no_rows():
    yield from ()


@pytest.mark.parametrize(
    "empty",
    [Dataset.from_list([]), Dataset.from_dict({"problem": [], "steps": []}), IterableDataset.from_generator(no_rows)],
    ids=["no columns", "columns", "stream"],
)
def test_empty_dataset(empty):
    with pytest.raises(ValueError, match="dataset is empty"):
        format_trajectories(empty)


STEP = st.lists(
    st.one_of(st.sampled_from(["<think>", "</think>", " ", "\n", "\u2028"]), st.text(max_size=5)), max_size=4
).map("".join)
TITLED_STEP = st.fixed_dictionaries({"title": st.text(max_size=5), "body": STEP})


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(TITLED_STEP, max_size=4), max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_every_kept_row_scores_one_with_the_experts_own_step(solutions, title_hint, include_last_step):
    steps = [{"title": "", "body": "a"}, {"title": "", "body": "b"}]
    data = dataset(*({"problem": "P", "steps": solution} for solution in [steps, *solutions]))
    rows, summary = format_trajectories(data, title_hint=title_hint, include_last_step=include_last_step)
    completions = [gold_completion(action) for action in actions(rows)]
    assert step_similarity_reward(completions, actions(rows)) == [1.0] * summary.rows
    assert summary.rows == len(rows) >= 1


def test_formatted_rows_pass_the_check():
    rows, _ = format_trajectories(dataset(GOOD | {"answer": "4"}))
    checked, summary = check_step_rows(rows)
    assert checked.to_list() == rows.to_list()
    assert summary.dropped == {}


def test_another_version_of_the_library_is_not_answered_from_the_cache(tmp_path, monkeypatch):
    path = tmp_path / "data.parquet"
    dataset(GOOD).to_parquet(path)
    data = Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    before, _ = format_trajectories(data)
    monkeypatch.setattr("trl_srl.prompts.SYSTEM_PROMPT", "Wording of the next release.")
    after, _ = format_trajectories(data)
    assert before[0]["prompt"][0]["content"] == SYSTEM_PROMPT
    assert after[0]["prompt"][0]["content"] == "Wording of the next release."


def test_a_gap_in_the_steps_is_an_empty_step():
    rows, summary = format_trajectories(dataset(GOOD, {"problem": "P", "steps": ["a", None, "c"]}))
    assert (len(rows), summary.dropped) == (2, {"empty_step": 1})
