"""Looking before training: what is counted, by hand."""

import pyarrow as pa
import pytest

from trl_srl.expansion import Options, expand_trajectory
from trl_srl.formatting import step_row_features
from trl_srl.preparing.inspecting import EXAMPLES, Example, Inspection, make_example, sample_places


@pytest.mark.parametrize(
    ("count", "most", "places"),
    [(0, 3, []), (1, 3, [0]), (3, 3, [0, 1, 2]), (4, 3, [0, 1, 3]), (101, 3, [0, 50, 100]), (10, 4, [0, 3, 6, 9])],
)
def test_sample_places(count, most, places):
    assert sample_places(count, most) == places


def test_examples_are_one_short_line():
    example = make_example("a\n  b", "x" * 100 + "\n" + "y" * 100)
    assert example == Example("a b", "x" * 80 + " … " + "y" * 80)
    assert make_example("p" * 10**6 + "q", "").problem == "p" * 80 + " … " + "p" * 79 + "q"


SUM = {"problem": "2 + 2", "steps": ["Take 2.", "Take 2.", "So 4."], "answer": "4"}


def look(inspection, trajectory, **options):
    rows = list(expand_trajectory(trajectory, Options(**options)))
    inspection.add_trajectory(trajectory, rows)
    return rows


def test_answers_in_last_steps():
    inspection = Inspection()
    look(inspection, SUM)
    look(inspection, SUM | {"steps": ["So 4.", "That was it."]})
    look(inspection, SUM | {"answer": None})
    look(inspection, SUM | {"steps": ["So 4."], "answer": "5"})  # not used, so not looked at
    look(
        inspection,
        {"problem": "P", "steps": [{"title": "", "body": "a"}, {"title": "Is 4", "body": "b"}], "answer": "4"},
    )
    assert (inspection.answers, inspection.answers_elsewhere) == (3, 1)
    assert inspection.elsewhere == [Example("2 + 2", "answer 4, last step: That was it.")]


def test_dropped_examples_name_problem_and_step():
    inspection = Inspection()
    look(inspection, {"problem": "One?", "steps": ["Yes."]})
    look(inspection, {"problem": "Tags?", "steps": ["<think>", "b"]})
    look(inspection, {"prompt": [{"role": "user", "content": "Chat?"}], "steps": []})
    look(inspection, {"problem": "", "steps": ["a", "b"]})
    agent = {"prompt": [{"role": "user", "content": "Fix."}], "steps": [{"action": "thinks only", "observation": ""}]}
    look(inspection, agent)
    assert inspection.dropped == {
        "too_few_steps": [Example("One?", "Yes."), Example("Chat?", "")],
        "think_tag_in_step": [Example("Tags?", "<think>")],
        "empty_problem": [Example("", "b")],
        "no_action": [Example("Fix.", "thinks only")],
    }


def test_parts_are_merged_and_examples_stay_few():
    whole = Inspection()
    for number in range(5):
        part = Inspection()
        look(part, {"problem": f"One? {number}", "steps": ["Yes."]})
        look(part, SUM)
        look(part, SUM | {"answer": "5"})
        whole.merge(part.collected())
    assert [example.problem for example in whole.dropped["too_few_steps"]] == ["One? 0", "One? 1", "One? 2"]
    assert (whole.answers, whole.answers_elsewhere, len(whole.elsewhere)) == (10, 5, EXAMPLES)


def test_step_rows_are_measured():
    inspection = Inspection()
    rows = [
        *look(Inspection(), SUM, system_prompt="é"),
        *look(Inspection(), {"problem": "P", "steps": ["Take 2.", "b"]}, system_prompt="é"),
    ]
    table = pa.Table.from_pylist(rows, schema=step_row_features().arrow_schema)
    inspection.add_step_rows(table.slice(0, 2), split=0)
    inspection.add_step_rows(table.slice(2), split=1)
    assert inspection.steps_per_solution.counts == {3: 1, 2: 1}
    assert inspection.step_characters.counts == {7: 3}
    # "é", and: Problem:\n2 + 2\n\nSolution so far:\n(nothing yet)\n\nWrite the next step.
    first = 1 + 9 + 5 + 2 + 17 + 13 + 2 + 20
    second = first - 13 + 7
    assert sorted(inspection.prompt_characters.counts.elements()) == sorted([first, second, first - 4])
    assert inspection.repeating_steps == 1
    assert inspection.repeating == [Example("2 + 2", "step 2: Take 2.")]
    assert inspection.repeats.share_repeated == 1.0
    assert inspection.repeats.share_shared == 1.0


def test_tokens(tokenizer):
    inspection = Inspection()
    inspection.add_tokens([{"prompt": [{"role": "user", "content": "ab"}], "expert_action": "abc"}], tokenizer)
    assert inspection.step_tokens.counts == {3: 1}
    assert inspection.prompt_tokens.counts == {(1 + 4 + 1 + 2 + 1 + 1) + (1 + 9 + 1): 1}
