"""What the plugin costs when dynamic sampling has nothing to refill.

    OMP_NUM_THREADS=1 MALLOC_ARENA_MAX=1 python -m benchmarks.overhead

1. A step of `SRLTrainer` against the same step of `GRPOTrainer` with equal rewards. Two trainers train in turns, one
   step each, in one process: same model, data and random state, so that both generate the same tokens and make the
   same update (compared at the end). The order within a pair alternates. A second reward makes all groups informative.
   CPU time leaves out what other processes of the machine take away, wall time is what a person waits. Two equal
   trainers differ by a few percent for a whole run, by where their memory lies; therefore several runs with new
   trainers, made and started in the other order every time, and a control: `GRPOTrainer` against another one.
2. `import trl_srl` and `trl-srl --help`, as whole processes, beside a Python that does nothing.
"""

import argparse
import contextlib
import io
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from typing import NamedTuple

import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback, set_seed
from trl import GRPOConfig, GRPOTrainer

from benchmarks.tiny_models import machine, make_model, make_tokenizer
from trl_srl import SRLConfig, SRLTrainer, format_trajectories, step_similarity_reward


MODELS = {
    "tiny": {"hidden_size": 32, "layers": 2, "heads": 2},
    "small": {"hidden_size": 256, "layers": 8, "heads": 4},
}
RUNS = {"tiny": (6, 30), "small": (6, 8)}  # how many runs, and pairs of steps in each


def spread_reward(completions: list, **kwargs: object) -> list[float]:
    """Different within every group of four."""
    return [i % 4 / 4 for i in range(len(completions))]


class Seconds(NamedTuple):
    wall: float
    cpu: float

    @classmethod
    def now(cls) -> "Seconds":
        return cls(time.perf_counter(), time.process_time())


class Turns:
    """Lets two threads run one step each, in a given order, and keeps what each step took."""

    def __init__(self, order: list[int]):
        self.order, self.at = order, 0
        self.changed = threading.Condition()
        self.seconds: list[list[Seconds]] = [[], []]
        self.failed = False

    def wait(self, me: int) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.failed or self.at >= len(self.order) or self.order[self.at] == me)
            if self.failed:
                raise RuntimeError("The other trainer failed.")

    def done(self, me: int, since: Seconds) -> None:
        now = Seconds.now()
        with self.changed:
            self.seconds[me].append(Seconds(now.wall - since.wall, now.cpu - since.cpu))
            self.at += 1
            self.changed.notify_all()

    def fail(self) -> None:
        with self.changed:
            self.failed = True
            self.changed.notify_all()


class OneStepAtATime(TrainerCallback):
    """From the end of a step, where its log is written, to the end of the next: everything a step does is counted."""

    def __init__(self, turns: Turns, me: int):
        self.turns, self.me, self.step = turns, me, 0

    def start(self) -> None:
        self.turns.wait(self.me)
        self.step += 1
        set_seed(self.step)
        self.since = Seconds.now()

    def on_train_begin(self, *args: object, **kwargs: object) -> None:
        self.start()

    def on_log(self, args: object, state: object, control: object, **kwargs: object) -> None:
        if self.step <= state.max_steps:
            self.turns.done(self.me, self.since)
            if self.step < state.max_steps:
                self.start()
            else:
                self.step += 1  # the summary after the last step is logged too


def make_trainers(size: str, steps: int, folder: str, control: bool, swapped: bool) -> list[GRPOTrainer]:
    solutions = Dataset.from_list(
        [
            {"problem": f"What is {a} + {b}?", "steps": [f"Add {a} and {b}.", f"It is {a + b}.", f"So {a + b}."]}
            for a in range(1, 9)
            for b in range(1, 9)
        ]
    )
    settings = {
        "output_dir": folder,
        "per_device_train_batch_size": 16,
        "num_generations": 4,
        "max_completion_length": 48,
        "max_steps": steps,
        "learning_rate": 5e-7,
        "loss_type": "grpo",
        "logging_steps": 1,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    rows, _ = format_trajectories(solutions, system_prompt="S")
    tokenizer = make_tokenizer()

    def make(srl: bool) -> GRPOTrainer:
        model = make_model(**MODELS[size])
        if srl:
            args = SRLConfig(**settings, system_prompt="S")
            return SRLTrainer(
                model, args, train_dataset=solutions, reward_funcs=spread_reward, processing_class=tokenizer
            )
        rewards = [step_similarity_reward, spread_reward]
        return GRPOTrainer(model, rewards, GRPOConfig(**settings), train_dataset=rows, processing_class=tokenizer)

    if swapped:
        ours = make(not control)
        return [make(False), ours]
    return [make(False), make(not control)]


def run_pairs(
    size: str, pairs: int, control: bool = False, swapped: bool = False, warmup: int = 2
) -> tuple[list[Seconds], list[Seconds], int]:
    """What each step of the two trainers took, GRPOTrainer's first, and the number of parameters."""
    steps = pairs + warmup
    turns = Turns([me for pair in range(steps) for me in ((0, 1) if pair % 2 else (1, 0))])
    with tempfile.TemporaryDirectory() as folder:
        trainers = make_trainers(size, steps, folder, control, swapped)
        failures: list[BaseException] = []

        def train(me: int) -> None:
            try:
                trainers[me].train()
            except BaseException as error:
                failures.append(error)
                turns.fail()

        threads = []
        for me in (1, 0) if swapped else (0, 1):
            trainers[me].remove_callback(PrinterCallback)
            trainers[me].add_callback(OneStepAtATime(turns, me))
            threads.append(threading.Thread(target=train, args=(me,)))
            threads[-1].start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
    weights = [torch.cat([p.detach().flatten() for p in trainer.model.parameters()]) for trainer in trainers]
    tokens = [[e["num_tokens"] for e in trainer.state.log_history if "num_tokens" in e] for trainer in trainers]
    if not torch.equal(*weights) or tokens[0] != tokens[1]:
        raise AssertionError("The two trainers did not do the same work.")
    refills = [e.get("dynamic_sampling/refill_rounds") for e in trainers[1].state.log_history[:steps]]
    if not control and refills != [0.0] * steps:
        raise AssertionError(f"There was something to refill: {refills}")
    theirs, ours = (seconds[warmup:] for seconds in turns.seconds)
    return theirs, ours, sum(p.numel() for p in trainers[0].model.parameters())


def median_interval(values: list[float]) -> tuple[float, float, float]:
    """The median and a 95 % interval for it (order statistics, no assumption on the distribution)."""
    ordered, n = sorted(values), len(values)
    reach = 0.98 * n**0.5
    low, high = max(int(n / 2 - reach), 0), min(int(n / 2 + reach), n - 1)
    return statistics.median(ordered), ordered[low], ordered[high]


def time_commands(repeats: int) -> dict[str, list[float]]:
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import trl_srl": [sys.executable, "-c", "import trl_srl"],
        "trl-srl --help": [sys.executable, "-c", "import sys; from trl_srl.cli import main; main(['--help'])"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats + 1):
        for name, command in commands.items():
            since = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - since)
    return {name: values[1:] for name, values in seconds.items()}  # the first compiles and fills caches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs=2, help=f"runs, and pairs of steps in each; as it stands {RUNS}")
    parser.add_argument("--repeats", type=int, default=21, help="runs of each command")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    options = parser.parse_args()

    print(
        "| step of | model | runs x pairs | GRPOTrainer's step, median "
        "| CPU time / GRPOTrainer's: median of pairs (95 %) | wall time, likewise |\n|---|---|---|---|---|---|"
    )
    for size in options.models:
        for name in ("GRPOTrainer", "SRLTrainer"):
            theirs, ours = [], []
            runs, pairs = options.runs or RUNS[size]
            for run in range(runs):
                with contextlib.redirect_stdout(io.StringIO()):  # what SRLTrainer says of the run
                    measured = run_pairs(size, pairs, control=name == "GRPOTrainer", swapped=bool(run % 2))
                theirs += measured[0]
                ours += measured[1]
                parameters = measured[2]
            step = 1000 * statistics.median(seconds.wall for seconds in theirs)
            cells = [name, f"{size}, {parameters / 1e6:.2f} M", f"{runs} x {pairs}", f"{step:.0f} ms"]
            for clock in ("cpu", "wall"):
                ratios = [getattr(b, clock) / getattr(a, clock) for a, b in zip(theirs, ours, strict=True)]
                cells.append("{:.4f} ({:.4f} - {:.4f})".format(*median_interval(ratios)))
            print(f"| {' | '.join(cells)} |", flush=True)
    print("\n| process | median | fastest |\n|---|---|---|")
    for name, values in time_commands(options.repeats).items():
        print(f"| `{name}` | {statistics.median(values):.3f} s | {min(values):.3f} s |")
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
