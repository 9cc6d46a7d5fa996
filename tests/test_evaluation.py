"""Step-level evaluation, against numbers worked out by hand."""

import math

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from trl_srl.evaluation import (
    StepResult,
    TransformersBackend,
    evaluate_steps,
    similarity_by_step,
    summarize_steps,
    write_next_steps,
)
from trl_srl.evaluation.statistics import wilson_interval
from trl_srl.evaluation.steps import step_intervals, without_repeats
from trl_srl.formatting import format_trajectories


def result(action, expert, similarity=0.0, truncated=False, monologue=None, problem_id="", step_index=0):
    return StepResult("completion", action, expert, similarity, truncated, monologue, problem_id, step_index)


def test_malformed_completions_count_as_zero_in_every_rate():
    evaluation = summarize_steps(
        [
            result("1 + 1 = 2", "1 + 1 = 2", 1.0),
            result("so 2.0", "1 + 1 = 2", 0.25),
            result(None, "1 + 1 = 2", truncated=True),
            result("no number", "name it", 0.5),
        ]
    )
    assert evaluation[:6] == (1.75 / 4, 3 / 4, 1 / 4, 2 / 3, 1 / 4, 4)
    assert evaluation._fields[3] == "right_number_rate"


# A solution of three steps and one of a single step.
SOME = [
    result("1 + 1 = 2", "1 + 1 = 2", 1.0, monologue="m" * 9, problem_id="long", step_index=0),
    result("so 2", "is 3", 0.2, monologue="", problem_id="long", step_index=1),
    result(None, "done", truncated=True, problem_id="long", step_index=2),
    result("4", "5", 0.6, monologue="mmm", problem_id="short", step_index=0),
]


def test_means_by_problem_by_step_and_lengths():
    evaluation = summarize_steps(SOME)
    assert evaluation.similarity == pytest.approx(1.8 / 4)
    assert evaluation.similarity_by_problem == pytest.approx((1.2 / 3 + 0.6) / 2)
    assert evaluation.monologue_length == 12 / 4  # a malformed completion has no monologue
    assert evaluation.action_length == (9 + 4 + 1) / 4
    assert similarity_by_step(SOME) == {0: pytest.approx(1.6 / 2), 1: 0.2, 2: 0.0}


def test_rows_that_several_processes_evaluated_again_count_once():
    assert without_repeats([*SOME, *SOME[:2]], most=1) == SOME
    twice = [result("a", "b", 0.1), result("c", "b", 0.2)]
    assert without_repeats([*twice, twice[0]], most=2) == twice


def test_intervals_are_over_problems():
    intervals = step_intervals(SOME)
    # The sums of the two problems are off by -0.15 and 0.15.
    assert intervals["similarity"] == pytest.approx(wilson_interval(0.45, 0.45 * 0.55 / (2 * 0.15**2 / 4**2)))
    assert intervals["right_number_rate"].value == 1 / 3  # "done" has no number


def test_steps_of_one_problem_are_not_independent():
    steps = [result("a", "a", 1.0, problem_id="easy")] * 3 + [result("b", "c", 0.0, problem_id="hard")] * 3
    assert step_intervals(steps)["similarity"] == pytest.approx(wilson_interval(0.5, 2))


def test_a_model_that_writes_only_malformed_completions_is_worst_in_everything():
    worst = [step._replace(action=None, monologue=None, similarity=0.0, completion="") for step in SOME]
    others, malformed = summarize_steps(SOME), summarize_steps(worst)
    for name in (
        "similarity",
        "similarity_by_problem",
        "format_rate",
        "exact_step_rate",
        "right_number_rate",
    ):
        assert getattr(malformed, name) == 0.0 < getattr(others, name)


def test_without_any_number_there_is_no_rate_of_right_ones():
    assert math.isnan(summarize_steps([result("a", "b")]).right_number_rate)


@pytest.fixture(scope="module")
def loaded(format_model):
    return AutoModelForCausalLM.from_pretrained(format_model), AutoTokenizer.from_pretrained(format_model)


@pytest.fixture(scope="module")
def step_rows(expert_trajectories):
    return format_trajectories(expert_trajectories, system_prompt="S")[0]


def test_results_stand_in_the_order_of_the_rows(loaded, step_rows):
    backend = TransformersBackend(*loaded, batch_size=4)
    together = write_next_steps(backend, step_rows.select(range(9)), max_completion_length=24)
    alone = [write_next_steps(backend, step_rows.select([i]), max_completion_length=24)[0] for i in range(9)]
    assert together == alone  # greedy, whatever the batch
    assert [r.expert_action for r in together] == step_rows["expert_action"][:9]
    assert any(r.action is not None and r.completion.startswith("<think>") for r in together)


def test_sampling_depends_on_the_seed_alone(loaded, step_rows):
    rows = step_rows.select(range(20))
    backend = TransformersBackend(*loaded)
    runs = [
        write_next_steps(backend, rows, max_completion_length=24, temperature=1.0, seed=seed) for seed in (1, 1, 2)
    ]
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


def test_a_prefilled_think_tag_is_put_back(loaded, step_rows):
    model, tokenizer = loaded
    backend = TransformersBackend(model, tokenizer)
    written = write_next_steps(backend, step_rows.select([0]), max_completion_length=24)[0]
    template = tokenizer.chat_template
    tokenizer.chat_template = template.replace("assistant\\n", "assistant\\n<think>")
    prefilled = write_next_steps(backend, step_rows.select([0]), max_completion_length=24)[0]
    tokenizer.chat_template = template
    assert written == prefilled
    assert written.completion.startswith("<think>")
    assert written.action is not None
    assert written.monologue == "m"
