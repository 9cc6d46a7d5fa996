"""Both directions of the text protocol. Every expected text is written out by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trl_srl.prompts import (
    ANSWER_REQUEST,
    SOLUTION_SYSTEM_PROMPT,
    SYSTEM_PROMPT,
    Completion,
    build_prompt,
    build_solution_prompt,
    completion_text,
    count_prompt_tokens,
    gold_completion,
    is_built_prompt,
    is_think_prefilled,
    parse_completion,
    problem_text,
    read_problem,
    render_prompt,
)


MESSAGES = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
)
ASSISTANT = "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n"
PREFILLED = MESSAGES + ASSISTANT + "<think>\\n' -}}{%- endif -%}"
# Qwen3 with `enable_thinking=False` writes an empty block, which is closed again.
CLOSED = MESSAGES + ASSISTANT + "<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}"


def question(messages):
    return messages[-1]["content"]


def test_prompt_of_the_first_step():
    assert build_prompt("What is 2 + 2?") == [
        {"role": "system", "content": SYSTEM_PROMPT},
        {
            "role": "user",
            "content": "Problem:\nWhat is 2 + 2?\n\nSolution so far:\n(nothing yet)\n\nWrite the next step.",
        },
    ]


def test_system_prompt_names_the_tags():
    assert "<think>" in SYSTEM_PROMPT
    assert "</think>" in SYSTEM_PROMPT


def test_partial_solution_is_shown_in_order():
    assert question(build_prompt("P", ["first", "second\nline", "third"])) == (
        "Problem:\nP\n\nSolution so far:\nfirst\n\nsecond\nline\n\nthird\n\nWrite the next step."
    )


def test_title_hint_stands_before_the_request():
    assert question(build_prompt("P", ["first"], next_title="Add")) == (
        "Problem:\nP\n\nSolution so far:\nfirst\n\nTitle of the next step: Add\n\nWrite the next step."
    )


def test_omitted_steps_are_said():
    assert question(build_prompt("P", ["third"], omitted_steps=2)) == (
        "Problem:\nP\n\nSolution so far:\n(earlier steps left out: 2)\n\nthird\n\nWrite the next step."
    )


def test_all_earlier_steps_omitted_is_not_nothing_yet():
    text = question(build_prompt("P", [], omitted_steps=3))
    assert "(earlier steps left out: 3)" in text
    assert "(nothing yet)" not in text


@pytest.mark.parametrize("system_prompt", ["Be brief.", ""])
def test_system_prompt_is_replaced(system_prompt):
    assert build_prompt("P", system_prompt=system_prompt)[0] == {"role": "system", "content": system_prompt}


def test_messages_keep_earlier_turns_and_the_users_system_message():
    problem = [
        {"role": "system", "content": "You speak like a pirate."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Ahoy"},
        {"role": "user", "content": "What is 2 + 2?"},
    ]
    assert build_prompt(problem, ["Think of fingers."], system_prompt="Ours.") == [
        {"role": "system", "content": "Ours.\n\nYou speak like a pirate."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Ahoy"},
        {
            "role": "user",
            "content": "Problem:\nWhat is 2 + 2?\n\nSolution so far:\nThink of fingers.\n\nWrite the next step.",
        },
    ]


def test_messages_of_the_caller_are_not_changed():
    problem = [{"role": "system", "content": "S"}, {"role": "user", "content": "P"}]
    build_prompt(problem)
    assert problem == [{"role": "system", "content": "S"}, {"role": "user", "content": "P"}]


@pytest.mark.parametrize(
    "problem",
    [
        [],
        [{"role": "assistant", "content": "P"}],
        [{"role": "user", "content": "P"}, {"role": "assistant", "content": "42"}],
        [{"role": "user"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": [{"type": "text", "text": "P"}]}],
        ["P"],
        ["P", {"role": "user", "content": "Q"}],
        3,
        None,
    ],
    ids=repr,
)
def test_bad_problem_says_what_to_write(problem):
    with pytest.raises(ValueError, match=r"must end with a user message.*Write \[\{'role': 'user'"):
        build_prompt(problem)


WELL_FORMED = [
    ("<think>hm</think>x = 3", "hm", "x = 3"),
    ("<think>\nhm\n</think>\n\nx = 3\n", "hm", "x = 3"),
    ("  \n<think>hm</think>x = 3", "hm", "x = 3"),
    ("<think></think>x = 3", "", "x = 3"),
    ("<think>line 1\n\nline 2</think>\nstep 1\n\nstep 2", "line 1\n\nline 2", "step 1\n\nstep 2"),
    ("<think>1 < 2 and 3 > 2</think>if a < b: think(a)", "1 < 2 and 3 > 2", "if a < b: think(a)"),
    ("<think>hm</think>**Title**: x  =  3", "hm", "**Title**: x  =  3"),
]

MALFORMED = {
    "nothing": "",
    "white space": " \n",
    "no tags": "x = 3",
    "text before the block": "Sure! <think>hm</think>x = 3",
    "never closed": "<think>hm, x = 3",
    "never opened": "hm</think>x = 3",
    "closed before it opens": "</think><think>x = 3",
    "empty action": "<think>hm</think>",
    "blank action": "<think>hm</think> \n\t",
    "opened twice": "<think>hm<think>again</think>x = 3",
    "two blocks": "<think>hm</think>x = 3<think>again</think>",
    "two blocks and two actions": "<think>hm</think>x = 3<think>again</think>y = 4",
    "opened again in the action": "<think>hm</think>x = 3<think>",
    "stray closing tag in the action": "<think>hm</think>x = 3</think>",
    "closed twice": "<think>hm</think></think>x = 3",
    "other tag": "<thinking>hm</thinking>x = 3",
}


@pytest.mark.parametrize(("text", "monologue", "action"), WELL_FORMED)
def test_well_formed_completion(text, monologue, action):
    assert parse_completion(text) == Completion(monologue, action)


@pytest.mark.parametrize(("text", "monologue", "action"), WELL_FORMED)
def test_well_formed_completion_behind_a_prefilled_tag(text, monologue, action):
    assert parse_completion(text.lstrip().removeprefix("<think>"), think_prefilled=True) == (monologue, action)


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_malformed_completion(text):
    assert parse_completion(text) is None


@pytest.mark.parametrize(
    "text",
    ["", "x = 3", "hm, x = 3", "hm</think>", "hm</think> \n", "<think>hm</think>x = 3", "hm</think>x</think>"],
)
def test_malformed_completion_behind_a_prefilled_tag(text):
    assert parse_completion(text, think_prefilled=True) is None


TEXT = st.text().filter(lambda text: "<think>" not in text and "</think>" not in text)


@given(action=TEXT.filter(str.strip), monologue=TEXT)
def test_gold_completion_parses_back(action, monologue):
    assert parse_completion(gold_completion(action, monologue)) == (monologue.strip(), action.strip())


def test_gold_completion_is_written_as_the_system_prompt_asks():
    assert gold_completion("x = 3") == "<think></think>\nx = 3"
    assert gold_completion("x = 3", "Solve for x.") == "<think>Solve for x.</think>\nx = 3"


PIECES = st.sampled_from(["<think>", "</think>", "<", "think>", "/", " ", "\n", "a", "b"])


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=8).map("".join), st.booleans())
def test_what_parses_has_exactly_one_block_and_a_clean_action(text, think_prefilled):
    completion = parse_completion(text, think_prefilled)
    whole = "<think>" + text if think_prefilled else text
    one_block = whole.count("<think>") == whole.count("</think>") == 1 and whole.lstrip().startswith("<think>")
    assert (completion is not None) == (one_block and not whole.rstrip().endswith("</think>"))
    if completion is not None:
        monologue, action = whole.strip().removeprefix("<think>").split("</think>")
        assert completion == (monologue.strip(), action.strip())


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("<think>hm</think>x", "<think>hm</think>x"),
        ("", ""),
        ([{"role": "assistant", "content": "<think>hm</think>x"}], "<think>hm</think>x"),
        ([{"role": "assistant", "content": None}], ""),
        ([{"role": "assistant"}], ""),
        # A tokenizer with a response template has moved the monologue away.
        ([{"role": "assistant", "content": "x = 3", "reasoning_content": "hm"}], "<think>hm</think>x = 3"),
        ([{"role": "assistant", "content": "x = 3", "reasoning_content": ""}], "<think></think>x = 3"),
        ([{"role": "assistant", "content": "x = 3", "reasoning_content": None}], "x = 3"),
        ([{"role": "assistant", "content": "", "reasoning_content": "cut o"}], "<think>cut o</think>"),
    ],
)
def test_completion_text(completion, text):
    assert completion_text(completion) == text


def test_moved_monologue_is_put_back_without_a_prefilled_tag():
    moved = [{"role": "assistant", "content": "x = 3", "reasoning_content": "hm"}]
    assert completion_text(moved, think_prefilled=True) == "hm</think>x = 3"
    assert completion_text("hm</think>x", think_prefilled=True) == "hm</think>x"


@pytest.mark.parametrize(
    ("rendered", "prefilled"),
    [
        ("<|im_start|>assistant\n", False),
        ("<|im_start|>assistant\n<think>", True),
        ("<|im_start|>assistant\n<think>\n", True),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", False),
        ("Write <think> and </think>.<|im_start|>assistant\n", False),
        ("Write <think> and </think>.<|im_start|>assistant\n<think>\n", True),
        ("Begin with <think>.<|im_start|>assistant\n", False),
        ("", False),
    ],
)
def test_is_think_prefilled(rendered, prefilled):
    assert is_think_prefilled(rendered) is prefilled


@pytest.mark.parametrize(("template", "prefilled"), [(None, False), (PREFILLED, True), (CLOSED, False)])
def test_is_think_prefilled_on_our_own_rendered_prompt(make_tokenizer, template, prefilled):
    tokenizer = make_tokenizer(template) if template else make_tokenizer()
    assert is_think_prefilled(render_prompt(build_prompt("P", ["a"]), tokenizer)) is prefilled


def test_rendered_prompt_is_the_chat_template_ready_to_be_continued(tokenizer):
    messages = build_prompt("P", system_prompt="S")
    rendered = (
        "<|im_start|>system\nS<|im_end|>\n"
        "<|im_start|>user\nProblem:\nP\n\nSolution so far:\n(nothing yet)\n\nWrite the next step.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert render_prompt(messages, tokenizer) == rendered
    assert tokenizer.decode(render_prompt(messages, tokenizer, tokenize=True)) == rendered


def test_count_prompt_tokens(tokenizer):
    messages = [{"role": "user", "content": "<think>é"}]
    # <|im_start|> user\n <think> é (two bytes) <|im_end|> \n, then <|im_start|> assistant\n
    assert count_prompt_tokens(messages, tokenizer) == (1 + 5 + 1 + 2 + 1 + 1) + (1 + 10)


def test_template_arguments_reach_the_template(make_tokenizer):
    tokenizer = make_tokenizer(MESSAGES + "{%- if enable_thinking -%}<think>{%- endif -%}")
    messages = build_prompt("P")
    assert render_prompt(messages, tokenizer, enable_thinking=True).endswith("<think>")
    assert not render_prompt(messages, tokenizer, enable_thinking=False).endswith("<think>")
    longer = count_prompt_tokens(messages, tokenizer, enable_thinking=True)
    assert longer == count_prompt_tokens(messages, tokenizer, enable_thinking=False) + 1


def test_another_last_line_asks_for_the_answer():
    assert question(build_prompt("1+1?", ["one"], request=ANSWER_REQUEST)) == (
        f"Problem:\n1+1?\n\nSolution so far:\none\n\n{ANSWER_REQUEST}"
    )


def test_a_prompt_for_a_whole_solution():
    assert build_solution_prompt("1+1?") == [
        {"role": "system", "content": SOLUTION_SYSTEM_PROMPT},
        {"role": "user", "content": "1+1?"},
    ]
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "1+1?"},
    ]
    messages = build_solution_prompt(chat, system_prompt="S")
    assert messages == [{"role": "system", "content": "S\n\nBe brief."}, *chat[1:]]


@pytest.mark.parametrize("steps", [[], ["one", "two"]])
def test_the_problem_is_read_back(steps):
    problem = "Two lines.\n\nProblem:\nSolution so far: unknown"
    assert read_problem(build_prompt(problem, steps, next_title="T")) == (problem, SYSTEM_PROMPT)
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": problem},
    ]
    assert read_problem(build_prompt(chat, steps, system_prompt="S")) == (chat[1:], "S\n\nBe brief.")


@pytest.mark.parametrize("content", ["1+1?", "Problem:\n1+1?", "1+1?\n\nSolution so far:\n"])
def test_prompts_of_others_hold_no_problem_that_could_be_read(content):
    with pytest.raises(ValueError, match="Cannot find the problem"):
        read_problem([{"role": "system", "content": "S"}, {"role": "user", "content": content}])


@pytest.mark.parametrize("previous", [[], ["Hold up 2."], ["a\n\nSolution so far:\nb"]])
def test_problem_in_the_prompts_of_all_steps(previous):
    prompt = build_prompt("What is 2 + 2?\n\nCount.", previous, next_title="T", omitted_steps=2)
    assert problem_text(prompt) == "What is 2 + 2?\n\nCount."
    assert is_built_prompt(prompt)


def test_problem_of_chat_messages():
    chat = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello, what is it?"},
        {"role": "user", "content": "2 + 2"},
    ]
    assert (
        problem_text(chat) == problem_text(build_prompt(chat, ["Hold up 2."])) == "Hello.\nHello, what is it?\n2 + 2"
    )
    assert not is_built_prompt(chat)
    assert problem_text([]) == ""
    assert not is_built_prompt([])
