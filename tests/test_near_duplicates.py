"""When two problems are one: by hand."""

import pytest

from trl_srl.near_duplicates import is_built_prompt, normalize_problem, problem_key, problem_text
from trl_srl.prompts import build_prompt


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("What is 2 + 2?", "what is 2 + 2"),
        ("  what\nIS\t2+2", "what is 2 + 2"),
        ("What is 2 - 2?", "what is 2 - 2"),
        ("What is 2 − 2?", "what is 2 - 2"),  # a typographical minus
        ("3 × 4 ÷ 2 · 1", "3 * 4 / 2 * 1"),
        ("a well-known, (odd) “case”!", "a well known odd case"),
        ("She has 1,250,000 clips; 2.50 each.", "she has 1250000 clips 2.50 each"),
        ("1,25 and 1,2345", "1 25 and 1 2345"),  # no thousands
        ("$x^2 = 9$", "x ^ 2 = 9"),
        ("Ｆｕｌｌ　width ﬁ", "full width fi"),
        ("E\u0301te\u0301 and \u00c9t\u00e9", "\u00e9t\u00e9 and \u00e9t\u00e9"),
        ("Straße", "strasse"),
        (" ?! ", "?!"),  # nothing but punctuation stays
        ("", ""),
    ],
)
def test_normalize_problem(text, normal):
    assert normalize_problem(text) == normal


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 2 + 2?", "What is 22?"),
        ("What is 2.5?", "What is 25?"),
        ("Take 3 of 4.", "Take 4 of 3."),
        ("-3", "3"),
        ("2 < 3", "2 > 3"),
    ],
)
def test_numbers_and_operators_tell_problems_apart(one, other):
    assert problem_key(one) != problem_key(other)


def test_key_is_the_same_everywhere():
    assert problem_key("What is 2 + 2?") == "ebf0495f5d0ae85b"  # printf 'what is 2 + 2' | sha256sum
    assert problem_key("\ud83d half a pair") == problem_key("\ud83d HALF a pair")


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
