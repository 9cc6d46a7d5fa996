"""Step-level evaluation, against numbers worked out by hand."""

import math

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from trl_srl.evaluation import StepResult, evaluate_steps, generate_steps, last_number, summarize_steps
from trl_srl.formatting import format_trajectories


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 + 4 = 7", 7.0),
        ("so 1,234,567 in all", 1234567.0),
        ("it is -2.5.", -2.5),
        ("costs €4928.0 every week", 4928.0),
        ("10, 20", 20.0),
        ("no number", None),
        ("", None),
    ],
)
def test_last_number(text, number):
    assert last_number(text) == number


def result(action, expert, similarity=0.0, truncated=False):
    return StepResult("completion", action, expert, similarity, truncated)


def test_malformed_completions_count_as_zero_in_every_rate():
    evaluation = summarize_steps(
        [
            result("1 + 1 = 2", "1 + 1 = 2", 1.0),
            result("so 2.0", "1 + 1 = 2", 0.25),
            result(None, "1 + 1 = 2", truncated=True),
            result("no number", "name it", 0.5),
        ]
    )
    assert evaluation == (1.75 / 4, 3 / 4, 1 / 4, 2 / 3, 1 / 4, 4)
    assert evaluation._fields[3] == "right_number_rate"


def test_without_any_number_there_is_no_rate_of_right_ones():
    assert math.isnan(summarize_steps([result("a", "b")]).right_number_rate)


@pytest.fixture(scope="module")
def loaded(format_model):
    return AutoModelForCausalLM.from_pretrained(format_model), AutoTokenizer.from_pretrained(format_model)


@pytest.fixture(scope="module")
def step_rows(expert_trajectories):
    return format_trajectories(expert_trajectories, system_prompt="S")[0]


def test_results_stand_in_the_order_of_the_rows(loaded, step_rows):
    together = generate_steps(*loaded, step_rows.select(range(9)), max_completion_length=24, batch_size=4)
    alone = [
        generate_steps(*loaded, step_rows.select([i]), max_completion_length=24, batch_size=1)[0] for i in range(9)
    ]
    assert together == alone  # greedy, whatever the batch
    assert [r.expert_action for r in together] == step_rows["expert_action"][:9]
    assert any(r.action is not None and r.completion.startswith("<think>") for r in together)


def test_sampling_depends_on_the_seed_alone(loaded, step_rows):
    rows = step_rows.select(range(20))
    runs = [generate_steps(*loaded, rows, max_completion_length=24, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_a_limit_too_short_truncates_everything(loaded, step_rows):
    evaluation = evaluate_steps(*loaded, step_rows.select(range(4)), max_completion_length=3)
    assert evaluation.truncated_rate == 1.0
    assert evaluation.similarity == evaluation.format_rate == 0.0


def test_the_model_keeps_its_mode(loaded, step_rows):
    model, tokenizer = loaded
    model.train()
    evaluate_steps(model, tokenizer, step_rows.select(range(2)), max_completion_length=3)
    assert model.training


def test_bad_input_is_refused(loaded, step_rows, make_tokenizer):
    with pytest.raises(ValueError, match="no step row to evaluate"):
        evaluate_steps(*loaded, step_rows.select([]))
    with pytest.raises(ValueError, match="no chat template"):
        evaluate_steps(loaded[0], make_tokenizer(chat_template=None), step_rows)


def test_a_prefilled_think_tag_is_seen(loaded, step_rows):
    model, tokenizer = loaded
    written = generate_steps(model, tokenizer, step_rows.select([0]), max_completion_length=24)[0]
    template = tokenizer.chat_template
    tokenizer.chat_template = template.replace("assistant\\n", "assistant\\n<think>")
    prefilled = generate_steps(model, tokenizer, step_rows.select([0]), max_completion_length=24)[0]
    tokenizer.chat_template = template
    assert written.completion == "<think>" + prefilled.completion
    assert written.action == prefilled.action is not None
