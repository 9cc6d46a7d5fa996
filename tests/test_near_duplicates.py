"""When two problems are one: by hand."""

import pytest

from trl_srl.near_duplicates import normalize_problem


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
    assert normalize_problem(one) != normalize_problem(other)
