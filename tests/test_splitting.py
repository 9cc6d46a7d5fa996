"""When two problems are one, and that no problem is on both sides of a split."""

import random

import pytest
from datasets import Dataset, IterableDatasetDict

from trl_srl.agent_prompts import build_agent_prompt
from trl_srl.formatting import format_trajectories
from trl_srl.splitting import choose_validation, normalize_problem, problem_key, problem_keys, split_by_problem


def dataset(*rows):
    return Dataset.from_list(list(rows))


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


def step_rows(problems_and_steps):
    return dataset(
        *({"problem_id": problem, "step_index": i} for problem, count in problems_and_steps for i in range(count))
    )


TEN = step_rows([(f"p{i}", i + 1) for i in range(10)])


@pytest.mark.parametrize(("size", "problems"), [(1, 1), (3, 3), (9, 9), (0.1, 1), (0.25, 2), (0.3, 3), (0.9, 9)])
def test_split_has_no_problem_on_both_sides(size, problems):
    split = split_by_problem(TEN, size)
    train, validation = set(split["train"]["problem_id"]), set(split["validation"]["problem_id"])
    assert set(split) == {"train", "validation"}
    assert not train & validation
    assert (len(train), len(validation)) == (10 - problems, problems)
    assert len(split["train"]) + len(split["validation"]) == 55  # 1 + 2 + … + 10


def test_split_does_not_depend_on_the_order_of_the_rows():
    order = list(range(55))
    random.Random(0).shuffle(order)
    validation = split_by_problem(TEN, 3)["validation"]
    shuffled = split_by_problem(TEN.select(order), 3)["validation"]
    assert set(shuffled["problem_id"]) == set(validation["problem_id"])
    assert len(shuffled) == len(validation)


def test_split_depends_on_the_seed_alone():
    sides = [tuple(sorted(set(split_by_problem(TEN, 3, seed)["validation"]["problem_id"]))) for seed in range(10)]
    assert sides == [
        tuple(sorted(set(split_by_problem(TEN, 3, seed)["validation"]["problem_id"]))) for seed in range(10)
    ]
    assert len(set(sides)) > 1


def test_split_keeps_the_order_of_the_rows():
    split = split_by_problem(step_rows([("a", 3), ("b", 3)]), 1)
    assert split["train"]["step_index"][:] == split["validation"]["step_index"][:] == [0, 1, 2]


@pytest.mark.parametrize("size", [0, 10, 11, -1, 0.0, 0.04, 0.96, 1.0, 2.5])
def test_split_needs_a_problem_on_both_sides(size):
    with pytest.raises(ValueError, match=rf"validation_size={size} cannot split 10 problems.*from 1 to 9"):
        split_by_problem(TEN, size)


def test_split_without_problem_ids_says_what_to_do():
    with pytest.raises(ValueError, match=r"needs a column `problem_id`, found \['prompt'\]"):
        split_by_problem(Dataset.from_dict({"prompt": ["a", "b"]}), 1)


NEAR = ["Add 2 and 3.", "add 2 AND 3", " Add  2 and\n3 !", "Add 3 and 2.", "Add 2 and 4.", "Add 23."]


def test_near_duplicates_are_one_problem():
    rows, _ = format_trajectories(dataset(*({"problem": text, "steps": ["a", "b", "c"]} for text in NEAR)))
    keys = list(problem_keys(rows).values())
    assert len(keys) == 6
    assert keys[0] == keys[1] == keys[2]
    assert len(set(keys)) == 4
    for seed in range(20):
        split = split_by_problem(rows, 2, seed)
        together = set(rows["problem_id"][:6])
        sides = [len(together & set(split[side]["problem_id"])) for side in ("train", "validation")]
        assert 0 in sides
    with pytest.raises(ValueError, match="cannot split 4 problems"):
        split_by_problem(rows, 4)
    with pytest.raises(ValueError, match=r"both sides need at least one\. Bring more problems"):
        split_by_problem(rows.select([0]), 1)


def test_keys_are_found_in_the_prompt_of_the_first_step():
    task = [{"role": "system", "content": "S"}, {"role": "user", "content": "Fix it!"}]
    history = [("```bash\nls\n```", "a.py")]
    first = build_agent_prompt(task, action_format="command")
    second = build_agent_prompt(task, history, action_format="command")
    rows = [
        {"problem_id": "later", "step_index": 1, "prompt": second},  # its first step is not there
        {"problem_id": "one", "step_index": 1, "prompt": second},
        {"problem_id": "one", "step_index": 0, "prompt": first},
        {"problem_id": "dropped", "step_index": 0, "prompt": []},
    ]
    assert list(problem_keys(rows)) == ["one"]
    assert problem_keys([rows[2] | {"prompt": build_agent_prompt("FIX it", action_format="tool_call")}]) == (
        problem_keys(rows)
    )


def test_validation_is_chosen_by_the_problems_alone():
    keys = {f"p{i}": f"k{i // 2}" for i in range(10)}
    chosen = choose_validation(keys, 2, seed=1)
    assert len(chosen) == 4
    assert all((f"p{i}" in chosen) == (f"p{i + 1}" in chosen) for i in range(0, 10, 2))
    assert choose_validation(dict(reversed(keys.items())), 2, seed=1) == chosen


def stream_rows(count=400):
    return format_trajectories(
        dataset(*({"problem": f"Add {i} and {i}.", "steps": ["a", "b", "c"]} for i in range(count)))
    )[0].to_iterable_dataset()


def test_a_stream_is_split_by_a_hash_of_each_problem():
    split = split_by_problem(stream_rows(), 0.25)
    assert isinstance(split, IterableDatasetDict)
    sides = {side: [row["problem_id"] for row in rows] for side, rows in split.items()}
    assert len(sides["train"]) + len(sides["validation"]) == 800
    assert not set(sides["train"]) & set(sides["validation"])
    assert len(set(sides["validation"])) == pytest.approx(100, abs=30)
    # What comes later changes nothing, another seed does.
    fewer = {row["problem_id"] for row in split_by_problem(stream_rows(200), 0.25)["validation"]}
    assert fewer == set(sides["validation"]) & {row["problem_id"] for row in stream_rows(200)}
    other = {row["problem_id"] for row in split_by_problem(stream_rows(), 0.25, seed=1)["validation"]}
    assert other != set(sides["validation"])


def test_near_duplicates_in_a_stream_are_on_one_side():
    rows = [{"problem": text, "steps": ["a", "b"]} for i in range(50) for text in (f"Add {i}.", f"ADD {i} !")]
    split = split_by_problem(format_trajectories(dataset(*rows).to_iterable_dataset())[0], 0.5)
    texts = {
        side: {row["prompt"][-1]["content"].partition("\n\nSol")[0].upper().rstrip(". !") for row in rows}
        for side, rows in split.items()
    }
    assert not texts["train"] & texts["validation"]
    assert len(texts["train"]) + len(texts["validation"]) == 50


def test_a_task_that_begins_like_our_prompts_is_on_one_side_of_a_stream():
    run = {"action": "```bash\nls\n```", "observation": "a.py"}
    tasks = [{"prompt": [{"role": "user", "content": f"Problem:\nmend {i}"}], "steps": [run] * 4} for i in range(40)]
    split = split_by_problem(format_trajectories(dataset(*tasks).to_iterable_dataset())[0], 0.5)
    sides = {side: {row["problem_id"] for row in rows} for side, rows in split.items()}
    assert not sides["train"] & sides["validation"]
    assert len(sides["train"]) + len(sides["validation"]) == 40


@pytest.mark.parametrize("size", [3, 0.0, 1.0, 2.5])
def test_a_stream_needs_a_share(size):
    with pytest.raises(ValueError, match=rf"validation_size={size} cannot split a stream"):
        split_by_problem(stream_rows(2), size)


def test_key_is_the_same_everywhere():
    assert problem_key("What is 2 + 2?") == "ebf0495f5d0ae85b"  # printf 'what is 2 + 2' | sha256sum
    assert problem_key("\ud83d half a pair") == problem_key("\ud83d HALF a pair")
