"""Paired comparisons, and that they are said in words that do not promise more than was seen."""

import pytest

from trl_srl.cli import main
from trl_srl.evaluation import Problem, SolvingSettings, compare_results, evaluate_solutions
from trl_srl.evaluation.comparison import compare_values

from .test_solving import Arithmetic


def solved(*numbers, of=30):
    return {str(number): float(number in numbers) for number in range(of)}


def test_three_aime_problems_are_not_progress():
    comparison = compare_values("greedy_accuracy", solved(1, 2, 3), solved(1, 2, 3, 4, 5, 6))
    assert comparison[:4] == ("greedy_accuracy", 0.1, 0.2, pytest.approx(0.1))
    assert (comparison.better, comparison.worse, comparison.num_problems) == (3, 0, 30)
    assert comparison.p_value == 0.25
    words = str(comparison)
    assert "10.0% → 20.0% on 30 problems; the second is better on 3, worse on 0, the same on 27" in words
    assert "This can be chance: equal models would differ as much in 25% of the cases." in words
    assert "With only 3 problems that changed, no outcome could have shown more." in words


def test_a_clear_difference():
    comparison = compare_values("greedy_accuracy", solved(1), solved(*range(1, 12)))
    assert comparison.p_value == 2 / 2**10
    assert comparison.low > 0
    assert str(comparison).endswith("More than chance: the second model is better here.")
    assert str(compare_values("greedy_accuracy", solved(*range(1, 12)), solved(1))).endswith(
        "More than chance: the first model is better here."
    )


def test_equal_models():
    comparison = compare_values("similarity", solved(1), solved(1))
    assert (comparison.difference, comparison.p_value) == (0.0, 1.0)
    assert str(comparison).endswith("They do not differ on a single problem.")


def test_means_of_samples_are_permuted_and_only_shared_problems_count():
    first = {"a": 0.5, "b": 0.25, "c": 0.0, "only here": 1.0}
    second = {"a": 0.75, "b": 0.5, "c": 0.25}
    comparison = compare_values("mean of samples", first, second)
    assert (comparison.first, comparison.second, comparison.num_problems) == (0.25, 0.5, 3)
    assert comparison.p_value == 2 / 8
    with pytest.raises(ValueError, match="no problem in common"):
        compare_values("similarity", {"a": 1.0}, {"b": 1.0})


@pytest.fixture
def two_results(tmp_path):
    problems = [Problem(str(number), str(number), f"id-{number}") for number in range(1, 13)]
    settings = SolvingSettings(num_samples=2)
    evaluate_solutions(
        Arithmetic(batch_size=64, limit=2), problems, settings, output_dir=tmp_path / "a", dataset="d", model="a"
    )
    evaluate_solutions(
        Arithmetic(batch_size=64, limit=10), problems[:-1], settings, output_dir=tmp_path / "b", dataset="d", model="b"
    )
    return str(tmp_path / "a"), str(tmp_path / "b")


def test_results_are_compared_by_problem(two_results):
    (greedy, sampled), notes = compare_results(*two_results)
    assert (greedy.name, greedy.better, greedy.worse, greedy.num_problems) == ("greedy_accuracy", 8, 0, 11)
    assert greedy.p_value == 2 / 2**8
    assert (sampled.name, sampled.first, sampled.second) == ("mean of samples", 0.5, 0.5)
    assert notes == ["only 11 problems are in both (12 and 11)"]


def test_the_command(two_results, capsys):
    main(["compare", *two_results])
    out = capsys.readouterr().out
    assert "Attention: only 11 problems are in both (12 and 11)." in out
    assert "greedy accuracy: 18.2% → 90.9% on 11 problems" in out
    with pytest.raises(SystemExit) as error:
        main(["compare", two_results[0], "nowhere"])
    assert error.value.code == 2
    assert "There is no results.json in nowhere" in capsys.readouterr().err
