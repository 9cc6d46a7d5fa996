"""How many tokens dynamic sampling generates for each group it trains on, against two rivals and the optimum.

    python -m benchmarks.dynamic_sampling --plot docs/images/dynamic_sampling.png

A simulation that calls the package's own decisions (`refill_size`, `select_groups`), many batches for each acceptance
rate (the probability that a sampled group is informative), every rollout taken to be equally long; then the real
trainer on a tiny model, whose tokens are counted and which must generate in every round what the simulation says.

- ours: as documented in docs/training.md, with the default of 3 refill rounds and without a limit on them
- whole batches: another whole batch is generated until enough groups are kept, and the surplus is dropped
- throw away: a batch with one uninformative group is thrown away whole; no simulation, on average p^-batch batches
- optimum: the first batch, then what is missing / the true acceptance, rounded up to what the processes need
"""

import argparse
import math
import random
import tempfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

from trl_srl.selection import refill_size, select_groups


ACCEPTANCES = [i / 10 for i in range(1, 10)]
GENERATIONS, LENGTH = 8, 512  # for the column in tokens: 8 rollouts of 512 tokens for each group
UNLIMITED = 10_000


class Batch(NamedTuple):
    """One batch: groups generated in each round, and how many groups are trained on."""

    rounds: list[int]
    trained: int


def ours(
    draw: Callable[[], bool], batch: int, generations: int = GENERATIONS, processes: int = 1, max_rounds: int = 3
) -> Batch:
    """Decide as `DynamicSamplingTrainer` does; `draw` says whether the next group is informative."""
    std_P = [float(draw()) for _ in range(batch)]
    rounds = [batch]
    while (kept := int(sum(std_P))) < batch and len(rounds) <= max_rounds:
        rounds.append(refill_size(batch - kept, kept, len(std_P), batch, generations, processes))
        std_P += [float(draw()) for _ in range(rounds[-1])]
    return Batch(rounds, batch - select_groups(std_P, 0.01, batch).num_masked)


def whole_batches(draw: Callable[[], bool], batch: int) -> Batch:
    """Generate whole batches until enough groups are kept."""
    rounds, kept = [], 0
    while kept < batch:
        rounds.append(batch)
        kept += sum(draw() for _ in range(batch))
    return Batch(rounds, batch)


def optimum(draw: Callable[[], bool], acceptance: float, batch: int, unit: int = 1) -> Batch:
    """What one would ask for who knew the acceptance."""
    missing = batch - sum(draw() for _ in range(batch))
    needed = math.ceil(missing / acceptance - 1e-9)
    return Batch([batch, -(-needed // unit) * unit], batch)


def cost(batches: list[Batch]) -> float:
    """Groups generated for each group trained on."""
    return sum(sum(batch.rounds) for batch in batches) / max(sum(batch.trained for batch in batches), 1)


def coin(acceptance: float, seed: int) -> Callable[[], bool]:
    rng = random.Random(seed)
    return lambda: rng.random() < acceptance


class Row(NamedTuple):
    acceptance: float
    ours: float
    filled: float
    refill_rounds: float
    unlimited: float
    whole: float
    thrown: float
    optimum: float


def measure(acceptance: float, batch: int, batches: int) -> Row:
    draw = coin(acceptance, seed=1)
    limited = [ours(draw, batch) for _ in range(batches)]
    return Row(
        acceptance=acceptance,
        ours=cost(limited),
        filled=sum(b.trained for b in limited) / (batch * batches),
        refill_rounds=sum(len(b.rounds) - 1 for b in limited) / batches,
        unlimited=cost([ours(draw, batch, max_rounds=UNLIMITED) for _ in range(batches)]),
        whole=cost([whole_batches(draw, batch) for _ in range(batches)]),
        thrown=acceptance**-batch,
        optimum=cost([optimum(draw, acceptance, batch) for _ in range(batches)]),
    )


def worst(batch: int, generations: int, processes: int, max_rounds: int, batches: int) -> tuple[float, float]:
    """The largest cost over the optimum, and the acceptance rate it is found at."""
    unit = processes // math.gcd(processes, generations)
    ratios = []
    for acceptance in ACCEPTANCES:
        draw = coin(acceptance, seed=2)
        mine = cost([ours(draw, batch, generations, processes, max_rounds) for _ in range(batches)])
        ratios.append((mine / cost([optimum(draw, acceptance, batch, unit) for _ in range(batches)]), acceptance))
    return max(ratios)


class TrainerRun(NamedTuple):
    """What the real trainer generated in each round, and what the simulation says for the same draws."""

    tokens: int
    trained: int
    rounds: list[int]
    simulated: list[int]


def run_trainer(acceptance: float, steps: int = 8, batch: int = 4, max_rounds: int = 3) -> TrainerRun:
    """Train a tiny model on rows of which `acceptance` are scripted to be informative; count what it generates."""
    from datasets import Dataset
    from transformers import PrinterCallback

    from benchmarks.tiny_models import make_model, make_tokenizer
    from trl_srl import DynamicSamplingConfig, DynamicSamplingTrainer

    generations = 4
    scored: list[list[bool]] = []  # for every round, whether each group is informative
    tokens = 0

    def scripted_reward(completion_ids: list, informative: list[bool], **kwargs: object) -> list[float]:
        nonlocal tokens
        tokens += sum(len(ids) for ids in completion_ids)
        scored.append(informative[::generations])
        return [i % generations / generations if good else 0.5 for i, good in enumerate(informative)]

    draw = coin(acceptance, seed=3)
    rows = [{"prompt": [{"role": "user", "content": f"{i}"}], "informative": draw()} for i in range(200)]
    with tempfile.TemporaryDirectory() as folder:
        args = DynamicSamplingConfig(
            output_dir=folder,
            per_device_train_batch_size=batch * generations,
            num_generations=generations,
            max_completion_length=8,
            max_steps=steps,
            max_refill_rounds=max_rounds,
            refill_patience=steps + 1,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            logging_steps=1,
        )
        trainer = DynamicSamplingTrainer(
            make_model(),
            scripted_reward,
            args,
            train_dataset=Dataset.from_list(rows),
            processing_class=make_tokenizer(),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    drawn: Iterator[bool] = (informative for groups in scored for informative in groups)
    try:
        batches = [ours(lambda: next(drawn), batch, generations, max_rounds=max_rounds) for _ in range(steps)]
    except StopIteration:
        raise AssertionError("The trainer generated fewer groups than the simulation says.") from None
    filled = [entry["dynamic_sampling/filled"] for entry in trainer.state.log_history[:steps]]
    return TrainerRun(
        tokens=tokens,
        trained=int(batch * steps - sum(filled)),
        rounds=[len(groups) for groups in scored],
        simulated=[groups for simulated in batches for groups in simulated.rounds],
    )


def plot(table: list[Row], batch: int, path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), dpi=130)
    x = [100 * row.acceptance for row in table]
    axes.plot(x, [row.thrown for row in table], "^:", color="tab:red", label="throw a short batch away")
    axes.plot(x, [row.whole for row in table], "s--", color="tab:orange", label="whole batches until enough")
    axes.plot(x, [row.ours for row in table], "o-", color="tab:blue", label="trl-srl")
    axes.plot(x, [row.optimum for row in table], "k_", markersize=14, label="optimum")
    axes.set(
        yscale="log",
        ylim=(1, 100),
        xlabel="acceptance: informative groups, %",
        ylabel="groups generated per trained group",
        title=f"Generation cost of dynamic sampling (batch of {batch} groups)",
    )
    ticks = [1, 2, 3, 5, 10, 20, 50, 100]
    axes.set_yticks(ticks, [f"{tick}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16, help="groups in a batch")
    parser.add_argument("--batches", type=int, default=4000, help="batches simulated for each number")
    parser.add_argument("--plot", help="where to write the curve (PNG; needs matplotlib)")
    options = parser.parse_args()

    table = [measure(acceptance, options.batch, options.batches) for acceptance in ACCEPTANCES]
    print(
        f"Thousand tokens generated per trained group ({GENERATIONS} rollouts of {LENGTH} tokens for each group, "
        f"batches of {options.batch} groups, one process, {options.batches} batches for each number):\n"
    )
    print(
        "| acceptance | ours | ours / optimum | batch filled | refill rounds | ours, no limit of rounds "
        "| whole batches | throw away | optimum |\n" + "|---" * 9 + "|"
    )
    k = GENERATIONS * LENGTH / 1000
    for row in table:
        thrown = f"{k * row.thrown:{'.1f' if row.thrown < 1000 else '.0e'}}"
        print(
            f"| {row.acceptance:.0%} | {k * row.ours:.1f} | {row.ours / row.optimum:.3f} | {row.filled:.1%} "
            f"| {row.refill_rounds:.2f} | {k * row.unlimited:.1f} | {k * row.whole:.1f} | {thrown} "
            f"| {k * row.optimum:.1f} |"
        )

    print("\nThe worst of the acceptance rates 10-90 %, as cost / optimum (at the rate in brackets):\n")
    print("| groups in a batch | G | processes | 3 refill rounds | no limit of rounds |\n|---|---|---|---|---|")
    for batch, generations, processes in [
        (1, 8, 1),
        (2, 8, 1),
        (3, 8, 1),
        (4, 8, 1),
        (8, 8, 1),
        (16, 8, 1),
        (64, 8, 1),
        (256, 8, 8),
        (8, 6, 4),
        (16, 4, 8),
        (64, 2, 16),
    ]:
        batches = max(options.batches * 4 // batch, 200)
        cells = [worst(batch, generations, processes, limit, batches) for limit in (3, UNLIMITED)]
        print(f"| {batch} | {generations} | {processes} | ", end="")
        print(" | ".join(f"{ratio:.3f} ({at:.0%})" for ratio, at in cells) + " |")

    if options.plot:
        plot(table, options.batch, options.plot)

    from benchmarks.tiny_models import machine

    runs = [(acceptance, run_trainer(acceptance)) for acceptance in (0.2, 0.5, 0.8)]
    print("\nThe real trainer on a tiny model (8 steps, batches of 4 groups of 4 rollouts, at most 8 tokens each):\n")
    print(
        "| scripted acceptance | groups generated | simulation | every round as simulated | trained | tokens counted "
        "| tokens per trained group |\n" + "|---" * 7 + "|"
    )
    for acceptance, run in runs:
        print(
            f"| {acceptance:.0%} | {sum(run.rounds)} | {sum(run.simulated)} | {run.rounds == run.simulated} "
            f"| {run.trained} | {run.tokens} | {run.tokens / run.trained:.1f} |"
        )
    print(f"\n{machine()}. The simulation does not depend on the machine.")


if __name__ == "__main__":
    main()
