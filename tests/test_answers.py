"""Where a final answer stands, and whether a text holds it."""

import pytest

from trl_srl.answers import boxed_answer, boxed_or_last_number, has_answer, last_number


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("In all 72 clips.", "72"),
        ("In May 24, in all 1,250.50.", "1,250.50"),
        (r"\boxed{7} after 3 steps", "7"),
        (r"\boxed{1} then \boxed{\frac{1}{2}} in 3", r"\frac{1}{2}"),
        (r"\boxed {A}", "A"),
        (r"\boxed{7} and \boxed{8", "7"),  # the last one that is closed
        ("x = -3", "-3"),
        ("5-3", "3"),
        ("So it is a proof.", ""),
        ("", ""),
    ],
)
def test_boxed_or_last_number(text, answer):
    assert boxed_or_last_number(text) == answer


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 + 4 = 7", 7.0),
        ("so 1,234,567 in all", 1234567.0),
        ("it is -2.5.", -2.5),
        ("costs €4928.0 every week", 4928.0),
        ("10, 20", 20.0),
        ("48 - 24", 24.0),
        ("5-3", 3.0),
        ("so −3", -3.0),
        ("no number", None),
        ("", None),
    ],
)
def test_last_number(text, number):
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("text", "answer", "there"),
    [
        ("She sold 72 clips.", "72", True),
        ("She sold 72 clips.", "7", False),
        ("She sold 72 clips.", "72.0", True),
        ("She sold 1,250 clips.", "1250", True),
        ("She sold 1250 clips.", "1,250", True),
        ("10 - 3 = 7", "-3", False),
        ("x-3", "3", True),
        ("= −3", "-3", True),
        ("= -3", "3", False),
        ("It is 0.5.", "0.50", True),
        (r"$\dfrac{1}{2}$", r"\frac{1}{2}", True),
        (r"$\frac{1}{2}$", r"\frac{1}{3}", False),
        (r"\left( 1, 2 \right)", "(1,2)", True),
        ("So it is (B).", "B", True),
        ("x = 12y", "2y", False),  # the digits go on
        ("x = 2y", "2y", True),
        ("It is 72.", "$72$", True),
        ("It is 72.5.", "$72$", False),
        ("It is 0.72", "$72$", False),
        ("It is 0.72.", "$0.72$", True),
        ("3. 72 clips", "$72$", True),
        ("It is 1250.", "$1,250$", True),
        ("The end.", "", True),
        ("The end.", " $ ", True),
        ("MONDAY", "Monday", True),
        ("1,111,2345", "1111", True),  # no group of three, so the number ended before it
    ],
)
def test_has_answer(text, answer, there):
    assert has_answer(text, answer) is there


def test_a_number_too_long_for_a_decimal_is_no_error():
    assert not has_answer("9" * 5000, "8" * 5000)
    assert has_answer("9" * 5000, "9" * 5000)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{3}, no, \boxed{\frac{1}{\sqrt{2}}}!", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed{ 3 }", "3"),
        (r"\boxed{3", None),
        ("3}", None),
        ("", None),
    ],
)
def test_boxed_answer(text, answer):
    assert boxed_answer(text) == answer
