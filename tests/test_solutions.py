"""Solutions in one go and step by step: the loop on a backend that writes what the test says, then on real models."""

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from trl_srl import generate_steps
from trl_srl.evaluation import Generated, Problem, TransformersBackend, solve_in_one_go, solve_step_by_step
from trl_srl.prompts import ANSWER_REQUEST, NEXT_STEP_REQUEST


class Script:
    """A backend that writes for each problem the next line of its script, and remembers the prompts."""

    name, batch_size, dtype = "script", 4, "float32"

    def __init__(self, **lines):
        self.lines = {problem: iter(of_problem) for problem, of_problem in lines.items()}
        self.calls = []

    def generate(self, prompts, *, max_completion_length, temperature=0.0, seed=0):
        self.calls.append(prompts)
        return [next(self.lines[prompt[-1]["content"].split("\n")[1]]) for prompt in prompts]


def step(text, truncated=False):
    return Generated(f"<think>hm</think>{text}", 5, truncated)


def problems(*names):
    return [Problem(name, "", name) for name in names]


def test_unfinished_problems_advance_together_until_each_has_an_answer():
    backend = Script(a=[step("one"), step("the answer is 1")], b=[step("two"), step("three"), step(r"\boxed{2}")])
    first, second = solve_step_by_step(backend, problems("a", "b"))
    assert (first.steps, first.answer, first.ending) == (["one", "the answer is 1"], "1", "answer")
    assert (second.steps, second.answer) == (["two", "three", r"\boxed{2}"], "2")
    assert (first.num_tokens, second.num_tokens) == (10, 15)
    assert second.completions[0] == "<think>hm</think>two"
    assert [len(prompts) for prompts in backend.calls] == [2, 2, 1]
    # The model sees its own steps and not its monologues.
    assert backend.calls[2][0][-1]["content"] == (
        f"Problem:\nb\n\nSolution so far:\ntwo\n\nthree\n\n{NEXT_STEP_REQUEST}"
    )


def test_at_the_limit_it_is_asked_once_for_the_answer():
    backend = Script(a=[step("one"), step("two"), step("42")], b=[step("x"), step("y"), step("No idea,\nreally.")])
    first, second = solve_step_by_step(backend, problems("a", "b"), max_steps=2)
    assert (first.steps, first.answer, first.ending) == (["one", "two"], "42", "asked")
    assert (second.steps, second.answer, second.ending) == (["x", "y"], None, "no_answer")
    assert backend.calls[2][0][-1]["content"].endswith(f"Solution so far:\none\n\ntwo\n\n{ANSWER_REQUEST}")


def test_a_model_that_repeats_itself_is_asked_at_once():
    backend = Script(a=[step("one"), step("one"), step(r"\boxed{7}")])
    (solution,) = solve_step_by_step(backend, problems("a"), max_steps=10)
    assert (solution.steps, solution.answer, solution.ending) == (["one"], "7", "asked")


def test_without_asking_the_limit_is_the_end():
    backend = Script(a=[step("one"), step("one")])
    (solution,) = solve_step_by_step(backend, problems("a"), max_steps=10, ask_for_answer=False)
    assert (solution.steps, solution.answer, solution.ending) == (["one"], None, "no_answer")
    assert len(backend.calls) == 2


@pytest.mark.parametrize(
    ("line", "ending"),
    [
        (Generated("the answer is 1", 3, truncated=False), "malformed"),
        (step("the answer is 1", truncated=True), "truncated"),
        (Generated("<think>for ever", 3, truncated=True), "truncated"),
    ],
)
def test_a_malformed_or_cut_off_step_ends_a_solution_without_an_answer(line, ending):
    (solution,) = solve_step_by_step(Script(a=[step("one"), line]), problems("a"))
    assert (solution.steps, solution.answer, solution.ending) == (["one"], None, ending)
    # Nor does asking help a model that does not follow the format.
    (asked,) = solve_step_by_step(Script(a=[step("one"), line]), problems("a"), max_steps=1)
    assert (asked.answer, asked.ending) == (None, ending)


def test_system_prompts():
    backend = Script(a=[step(r"\boxed{1}")] * 3)
    of_rows = [Problem("a", "", "a", system_prompt="of the rows")]
    solve_step_by_step(backend, of_rows)
    solve_step_by_step(backend, of_rows, system_prompt="given")
    solve_step_by_step(backend, problems("a"))
    systems = [prompts[0][0]["content"] for prompts in backend.calls]
    assert systems[:2] == ["of the rows", "given"]
    assert "<think>" in systems[2]


class OneGo(Script):
    def generate(self, prompts, **settings):
        self.calls.append(prompts)
        return [next(self.lines[prompt[-1]["content"]]) for prompt in prompts]


def test_one_go():
    backend = OneGo(
        a=[Generated("<think>\\boxed{9}</think>Add.\nThe answer is 3.", 20, truncated=False)],
        b=[Generated(r"\boxed{4} and so on", 9, truncated=True)],
        c=[Generated("I think that", 3, truncated=True)],
        d=[Generated("No.", 2, truncated=False)],
    )
    solutions = solve_in_one_go(backend, problems("a", "b", "c", "d"))
    assert [solution.answer for solution in solutions] == ["3", "4", None, None]
    assert [solution.ending for solution in solutions] == ["answer", "answer", "truncated", "no_answer"]
    assert solutions[0].steps == ["Add.\nThe answer is 3."]
    assert [message["role"] for message in backend.calls[0][0]] == ["system", "user"]
    assert "\\boxed{}" in backend.calls[0][0][0]["content"]


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def test_a_model_that_was_trained_to_finish_finishes(solver_model, sums):
    """The five problems of `sums` by heart: two steps each, and one wrong answer."""
    solutions = generate_steps(*load(solver_model), sums["problem"][:], system_prompt="S", max_completion_length=32)
    assert [solution.answer for solution in solutions] == ["8", "8", "11", "18", "1"]
    assert {solution.ending for solution in solutions} == {"answer"}
    assert solutions[2].steps == ["take 7+4", "the answer is 11"]
    alone = generate_steps(*load(solver_model), ["7+4"], system_prompt="S", max_completion_length=32, batch_size=1)
    assert alone == [solutions[2]]


def test_a_model_that_never_saw_a_last_step_comes_to_the_limit(format_model):
    """It was shown other steps than an answer; some of what it writes is malformed, nothing is an answer."""
    model, tokenizer = load(format_model)
    backend = TransformersBackend(model, tokenizer)
    solutions = solve_step_by_step(
        backend, problems("1+1", "2+2"), system_prompt="S", max_steps=3, max_completion_length=24, ask_for_answer=False
    )
    assert {solution.answer for solution in solutions} == {None}
    assert {solution.ending for solution in solutions} <= {"no_answer", "malformed", "truncated"}


def test_one_text_is_not_a_list_of_problems(solver_model):
    with pytest.raises(TypeError, match="Write a list"):
        generate_steps(*load(solver_model), "7+4")
