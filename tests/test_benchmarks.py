"""What the benchmarks rest on: the simulation of dynamic sampling is what the trainer does, and its claims hold."""

import pytest

from benchmarks.dynamic_sampling import (
    UNLIMITED,
    Batch,
    coin,
    cost,
    measure,
    optimum,
    ours,
    run_trainer,
    whole_batches,
)


def scripted(*draws):
    iterator = iter(draws)
    return lambda: next(iterator)


def test_the_simulation_by_hand():
    # 4 groups, one kept; 3 missing at 1 in 4 would be 12, at most a batch of 4: two kept; 1 missing at 3 in 8 are 3.
    draws = [True, False, False, False, True, True, False, False, False, True, True]
    assert ours(scripted(*draws), batch=4) == Batch([4, 4, 3], 4)
    assert ours(scripted(*draws), batch=4, max_rounds=1) == Batch([4, 4], 3)
    assert whole_batches(scripted(*draws, False), batch=4) == Batch([4, 4, 4], 4)
    assert optimum(scripted(*draws), 0.5, batch=4) == Batch([4, 6], 4)
    assert optimum(scripted(*draws), 0.5, batch=4, unit=4) == Batch([4, 8], 4)
    assert cost([Batch([4, 4], 3), Batch([4], 1)]) == 3.0


@pytest.mark.parametrize("batch", [4, 16, 64])
@pytest.mark.parametrize("acceptance", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_ours_generates_least_and_near_the_optimum(acceptance, batch):
    row = measure(acceptance, batch, batches=6000 // batch)
    assert row.ours <= 1.15 * row.optimum
    assert row.unlimited <= 1.15 * row.optimum
    assert row.unlimited < row.whole
    assert row.ours < row.whole
    assert row.ours < row.thrown


def test_how_many_rounds_a_low_acceptance_needs():
    """Each round is at most one batch, so that 1 / acceptance - 1 refill rounds are just enough on average."""

    def filled(rounds):
        draw = coin(0.1, seed=0)
        return sum(ours(draw, 16, max_rounds=rounds).trained for _ in range(200)) / (16 * 200)

    assert filled(3) == pytest.approx(0.4, abs=0.02)
    assert filled(9) > 0.85
    assert filled(14) > 0.95
    assert filled(UNLIMITED) == 1.0


@pytest.mark.parametrize(("acceptance", "max_rounds"), [(0.2, 3), (0.5, 3), (0.5, 1), (0.8, 3)])
def test_the_trainer_generates_what_the_simulation_says(acceptance, max_rounds):
    run = run_trainer(acceptance, max_rounds=max_rounds)
    assert run.rounds == run.simulated
    assert len(run.rounds) > 8  # there were refills
    assert run.trained <= 32
    assert 0 < run.tokens <= sum(run.rounds) * 4 * 8


def test_both_trainers_of_the_overhead_benchmark_do_the_same_work():
    """Equal weights, equal tokens, nothing refilled: `run_pairs` raises otherwise."""
    from benchmarks.overhead import run_pairs

    theirs, ours, _ = run_pairs("tiny", pairs=2, warmup=1)
    assert len(theirs) == len(ours) == 2
    assert all(seconds.cpu > 0 for seconds in theirs + ours)


def test_the_interval_of_a_median_by_hand():
    from benchmarks.overhead import median_interval

    # 25 values: order statistics 12.5 -+ 0.98 * 5, that is the 8th and the 18th from the bottom (0-based 7 and 17)
    assert median_interval([float(i) for i in range(25)]) == (12.0, 7.0, 17.0)


def test_the_trajectories_of_the_benchmark_of_prepare(tmp_path):
    from benchmarks.prepare import run_prepare, write_trajectories

    write_trajectories(tmp_path / "agents.jsonl", 3)
    run = run_prepare(tmp_path / "agents.jsonl", tmp_path / "out", "--adapter", "swe_smith", "--streaming")
    assert run.rows == 3 * 27  # of an agent, the last action is a target too
    assert run.cpu > 0
    assert 50 < run.peak < 2000
