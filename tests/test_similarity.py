"""2M/T. difflib is the definition, so here it is the reference; other numbers are worked out by hand."""

from difflib import SequenceMatcher

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trl_srl.similarity import step_similarity


def difflib_ratio(action, expert, autojunk=False):
    return SequenceMatcher(None, action, expert, autojunk=autojunk).ratio()


ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))  # surrogates included
FEW_LETTERS = st.text("ab ", max_size=40)  # many equal blocks: ties decide


@settings(max_examples=300, deadline=None)
@given(*[st.one_of(ANY_TEXT, FEW_LETTERS)] * 2)
def test_equals_difflib(action, expert):
    assert step_similarity(action, expert) == difflib_ratio(action, expert)


@settings(max_examples=40, deadline=None)
@given(*[st.text("abc", min_size=190, max_size=260)] * 2)
def test_equals_difflib_around_two_hundred_characters(action, expert):
    assert step_similarity(action, expert) == difflib_ratio(action, expert)


@given(ANY_TEXT)
def test_equal_texts_score_exactly_one(text):
    assert step_similarity(text, text) == 1.0


@given(*[ANY_TEXT] * 2)
def test_one_means_equal_and_the_range_is_zero_to_one(action, expert):
    similarity = step_similarity(action, expert)
    assert 0.0 <= similarity <= 1.0
    assert (similarity == 1.0) == (action == expert)


@pytest.mark.parametrize(
    ("action", "expert", "similarity"),
    [
        ("", "", 1.0),
        ("", "abc", 0.0),
        ("abc", "", 0.0),
        ("abc", "xyz", 0.0),
        ("x = 3", "x = 4", 0.8),  # 2 · 4 / 10
        ("abxcd", "abcd", 8 / 9),  # "ab" and "cd": 2 · 4 / 9
        ("abcd", "cdab", 0.5),  # one block of two, nothing beside it in order
        ("a" * 100, "a" * 300, 0.5),  # 2 · 100 / 400
        ("x", "x" * 200, 2 / 201),
        ("Step", "step", 0.75),  # case counts
        ("a  b", "a b", 6 / 7),  # inner white space counts
        (" a ", "a", 0.5),  # outer white space too: stripping is the caller's
    ],
)
def test_by_hand(action, expert, similarity):
    assert step_similarity(action, expert) == similarity


@pytest.mark.parametrize(
    ("action", "expert", "forwards", "backwards"),
    [
        ("tide", "diet", 0.25, 0.5),
        ("aaba", "baaa", 0.75, 0.5),
        ("GESTALT PATTERN MATCHING", "GESTALT PRACTICE", 0.6, 0.65),
    ],
)
def test_the_models_text_comes_first(action, expert, forwards, backwards):
    assert step_similarity(action, expert) == forwards
    assert step_similarity(expert, action) == backwards


@pytest.mark.parametrize(
    ("length", "autojunk_ratio"),
    [(199, 198 / 199), (200, 0.0), (201, 0.0)],  # difflib's default falls from almost 1 to 0
)
def test_no_cliff_at_two_hundred_characters(length, autojunk_ratio):
    expert = ("ab" * 101)[:length]
    action = "b" + expert[:-1]  # shifted by one: all but one character match
    assert difflib_ratio(action, expert, autojunk=True) == autojunk_ratio
    assert step_similarity(action, expert) == (length - 1) / length


@pytest.mark.parametrize(
    ("action", "expert", "similarity"),
    [
        ("𝑥 = 3", "𝑥 = 4", 0.8),  # outside the BMP: one character, not two
        ("👩‍🔬", "👩", 2 / 4),  # woman, joiner, microscope
        ("e\u0301", "\u00e9", 0.0),  # not normalised
        ("e\u0301", "e", 2 / 3),
        ("\ud83d", "\ud83d", 1.0),  # lone surrogates, which a byte-level model can produce
        ("\ud83d", "\ude00", 0.0),
        ("\ud83d\ude00", "\U0001f600", 0.0),
        ("a\x00b", "ab", 4 / 5),
        ("√2 ≤ π", "√2 < π", 10 / 12),
    ],
)
def test_any_unicode(action, expert, similarity):
    assert step_similarity(action, expert) == similarity
