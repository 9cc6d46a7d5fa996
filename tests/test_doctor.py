"""What a run says of itself: the words are the interface, so they are written out."""

import pytest

from trl_srl.doctor import FirstBatch, batch_arithmetic, diagnose


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        (
            (1000, 512, 8, 15.625, 469),
            "64 prompts x 8 rollouts = 512 completions per optimizer step; 1,000 step rows = 15.62 steps per epoch; "
            "469 steps in all.",
        ),
        (
            (134_000, 4096, 8, 262.0, 7860),
            "512 prompts x 8 rollouts = 4,096 completions per optimizer step; 134,000 step rows = 262 steps per "
            "epoch; 7,860 steps in all.",
        ),
        (
            (3, 2, 2, 3.0, 10),
            "1 prompts x 2 rollouts = 2 completions per optimizer step; 3 step rows = 3 steps per epoch; 10 steps in "
            "all.",
        ),
        (
            (1000, 2, 8, 4000.0, 4000),
            "0.25 prompts x 8 rollouts = 2 completions per optimizer step; 1,000 step rows = 4,000 steps per epoch; "
            "4,000 steps in all.",
        ),
        (
            (None, 32, 8, None, 1200),
            "4 prompts x 8 rollouts = 32 completions per optimizer step; step rows are streamed; 1,200 steps in all.",
        ),
    ],
)
def test_batch_arithmetic(numbers, text):
    assert batch_arithmetic(*numbers) == text


def report(bad_format=0.0, truncated=0.0, uninformative=0.0, think_prefilled=False, **texts):
    texts = {"completion": "<think>hm</think>x = 3", "expert_action": "x = 4", "reward": 0.8} | texts
    batch = FirstBatch(bad_format, truncated, uninformative, think_prefilled=think_prefilled, **texts)
    return str(diagnose(batch, max_completion_length=256))


def test_healthy_batch_is_described_without_advice():
    assert report(0.125, 0.25, 0.5) == (
        "First batch: 12% of the completions badly formed, 25% cut off at 256 tokens, 50% of the groups "
        "uninformative.\n"
        "One completion (reward 0.800): '<think>hm</think>x = 3'\n"
        "The expert's step: 'x = 4'"
    )


LENGTH, FORMAT, SPREAD = "raise max_completion_length", "Almost no completion follows the format", "raise temperature"


@pytest.mark.parametrize(
    ("bad_format", "truncated", "uninformative", "advice"),
    [
        (0.0, 0.0, 0.0, []),
        (0.9, 0.5, 0.9, []),  # the thresholds themselves are still fine
        (0.95, 0.0, 0.5, [FORMAT]),
        (0.95, 0.0, 1.0, [FORMAT]),  # equal rewards follow from the bad format
        (1.0, 0.5, 1.0, [FORMAT]),
        (0.0, 0.6, 0.0, [LENGTH]),
        (1.0, 0.6, 1.0, [LENGTH]),  # whoever is cut off cannot close the tag
        (0.0, 0.0, 0.95, [SPREAD]),
        (0.9, 0.0, 1.0, [SPREAD]),
        (0.5, 0.6, 0.95, [LENGTH, SPREAD]),
    ],
)
def test_advice_appears_exactly_when_it_should(bad_format, truncated, uninformative, advice):
    text = report(bad_format, truncated, uninformative)
    assert [words for words in (LENGTH, FORMAT, SPREAD) if words in text] == advice
    assert len(text.splitlines()) == 3 + len(advice)


def test_format_advice_names_the_remedy():
    assert "trl_srl.gold_completion(expert_action, monologue)" in report(bad_format=1.0)


@pytest.mark.parametrize(
    ("think_prefilled", "form"),
    [(False, "(<think> … </think> and one step)"), (True, "(a monologue, </think> and one step)")],
)
def test_format_advice_says_what_this_template_needs(think_prefilled, form):
    text = report(bad_format=1.0, think_prefilled=think_prefilled)
    assert [f for f in ("(<think> … </think> and one step)", "(a monologue, </think> and one step)") if f in text] == [
        form
    ]


def test_texts_stay_in_one_line():
    lines = report(completion="a\nb\tc\u2028d", expert_action="e\r\nf").splitlines()
    assert lines[1:] == [
        "One completion (reward 0.800): 'a\\nb\\tc\\u2028d'",
        "The expert's step: 'e\\r\\nf'",
    ]


def test_long_texts_lose_their_middle():
    lines = report(completion="a" * 1000 + "b" * 1000, expert_action="c" * 398).splitlines()
    assert lines[1] == "One completion (reward 0.800): '" + "a" * 199 + " … " + "b" * 199 + "'"
    assert lines[2] == "The expert's step: '" + "c" * 398 + "'"  # 400 with its quotes: just fits
    assert " … " in report(expert_action="c" * 399).splitlines()[2]
