"""Prints the tables of docs/reward.md: how fast and how bounded the similarity is, and what `autojunk` does to it.

    python benchmarks/similarity.py

Text: the solution steps of CHAMP (the package `champ-dataset`, in the extra `demo`), and for the speeds also those of
the demo's word problems, because what difflib needs depends on the text. All times are CPU times, and all ratios come
from the same run.
"""

import platform
import random
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable
from difflib import SequenceMatcher
from itertools import count, cycle
from pathlib import Path
from time import process_time

from trl_srl import similarity
from trl_srl.evaluation.results import processor_name
from trl_srl.similarity import step_similarities, step_similarity


ROLLOUTS = 8
TARGETS = {100: (15, 1), 500: (40, 3), 2_000: (200, 10), 10_000: (1_000, 30)}
GROUPS = {100: 12, 500: 8, 2_000: 5, 10_000: 3}
LONGEST = 20_000


def champ_steps() -> list[str]:
    import champ_dataset

    return [step.text for problem in champ_dataset.load("v0").problems.values() for step in problem.solution.steps]


def word_problem_steps() -> list[str]:
    from trl_srl.demo.problems import gsm_symbolic_trajectories

    return [step for row in gsm_symbolic_trajectories(600) for step in row["steps"]]


def difflib_ratio(action: str, expert: str, autojunk: bool = False) -> float:
    return SequenceMatcher(None, action, expert, autojunk=autojunk).ratio()


def perturbed(text: str, words: list[str], rng: random.Random, share: float = 0.3) -> str:
    return " ".join(rng.choice(words) if rng.random() < share else word for word in text.split(" "))


def excerpt(steps: list[str], length: int, rng: random.Random) -> str:
    """A text of some characters, made of steps in their order: a step has 60 of them in the median."""
    text = ""
    start = rng.randrange(len(steps))
    for step in steps[start:] + steps:
        text += step + "\n"
        if len(text) > length:
            return text[:length]
    raise AssertionError


def group(steps: list[str], length: int, rng: random.Random) -> tuple[list[str], list[str]]:
    """Eight rollouts for one expert's step: five copies with 30 % of the words replaced, three unrelated texts."""
    words = " ".join(steps).split()
    expert = excerpt(steps, length, rng)
    actions = [perturbed(expert, words, rng)[:length] for _ in range(5)]
    actions += [excerpt(steps, length, rng) for _ in range(ROLLOUTS - len(actions))]
    return actions, [expert] * ROLLOUTS


def cpu_seconds(call: Callable[[], object], at_least: float = 0.1) -> float:
    """CPU time of one call: the median of five rounds that take `at_least` together, or of one slow call."""
    start = process_time()
    call()
    once = process_time() - start
    if once > at_least:
        return once
    calls = max(1, int(at_least / 5 / max(once, 1e-6)))
    rounds = []
    for _ in range(5):
        start = process_time()
        for _ in range(calls):
            call()
        rounds.append((process_time() - start) / calls)
    return statistics.median(rounds)


def in_python(call: Callable[[], object]) -> Callable[[], object]:
    """The call as it is where the package could not be compiled."""

    def run() -> object:
        saved, similarity.compiled = similarity.compiled, None
        try:
            return call()
        finally:
            similarity.compiled = saved

    return run


def speed_table(name: str, steps: list[str]) -> None:
    """
    Times faster than difflib: a group of eight as the reward sees it, and of the group one copy and one unrelated text
    on their own, each as a call of `step_similarity`.
    """
    rng = random.Random(0)
    print(f"\n| {name}: characters | difflib, one pair | × compiled | × in Python | target |")
    print("|---|---|---|---|---|")
    for length, targets in TARGETS.items():
        rows = []
        for _ in range(GROUPS[length]):
            actions, experts = group(steps, length, rng)
            numbers: dict[str, float] = {}
            naive = []
            for action in actions:
                naive.append(cpu_seconds(lambda: numbers.update({action: difflib_ratio(action, experts[0])}), 0.05))  # noqa: B023
            whole: Callable[[], object] = lambda: step_similarities(actions, experts)  # noqa: B023, E731
            assert whole() == in_python(whole)() == [numbers[action] for action in actions]
            calls: list[tuple[float, Callable[[], object]]] = [
                (sum(naive), whole),
                (naive[0], lambda: step_similarity(actions[0], experts[0])),  # noqa: B023
                (naive[-1], lambda: step_similarity(actions[-1], experts[0])),  # noqa: B023
            ]
            compiled = [seconds / cpu_seconds(call) for seconds, call in calls]
            pure = [seconds / cpu_seconds(in_python(call)) for seconds, call in calls]
            rows.append([1e3 * sum(naive) / ROLLOUTS, *compiled, *pure])
        milliseconds, *ratios = map(statistics.median, zip(*rows, strict=True))
        compiled_ratios, pure_ratios = (
            " / ".join(f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}" for ratio in part)
            for part in (ratios[:3], ratios[3:])
        )
        difflib = f"{milliseconds:.2f}" if milliseconds < 100 else f"{milliseconds:,.0f}"
        target = f"≥ {targets[0]:,}; in Python ≥ {targets[1]}"
        print(f"| {length:,} | {difflib} ms | {compiled_ratios} | {pure_ratios} | {target} |", flush=True)


def fibonacci_word(length: int) -> str:
    shorter, longer = "a", "ab"
    while len(longer) < length:
        shorter, longer = longer, longer + shorter
    return longer[:length]


def periodic_pieces(period: str, shortest: int, longest: int, breaks: str, rng: random.Random) -> str:
    text = ""
    for mark in cycle(breaks):
        text += (period * longest)[rng.randrange(len(period)) :][: rng.randint(shortest, longest)] + mark
        if len(text) > LONGEST:
            return text[:LONGEST]
    raise AssertionError


def searched_windows(rng: random.Random) -> list[str]:
    """Six windows of 2,300 characters that string search is slow in, each below 35 blocks inside each other."""
    texts = ["", ""]
    slow = ("a" * 2_300, ("a\xa1aaaaaa!" * 256)[:2_300])  # to CPython's search "a", "!" and "\xa1" look alike
    for _ in range(6):
        blocks = ["".join(rng.choices("cdefghij", k=length)) for length in range(8, 43)]
        mark = "".join(rng.choices("0123456789", k=100))
        for side, (between, end) in enumerate(("PR", "QS")):
            texts[side] += slow[side] + between.join(blocks) + end + mark
    return texts


def degenerate_pairs() -> dict[str, tuple[str, str]]:
    """Pairs of up to 20,000 characters that are slow or large for some way of counting."""
    n, rng = LONGEST, random.Random(0)
    two_letters, other = ("".join(rng.choices("ab", k=n)) for _ in range(2))
    code = (Path(similarity.__file__).read_text() * 10)[:n]
    ascii_text = "".join(rng.choices([chr(i) for i in range(1, 128)], k=n // 2))
    wide = [chr(0x20000 + i) for i in range(n)]
    blocks = ["".join(rng.choices("cdefghij", k=length)) for length in range(30, 130)]
    shuffled = rng.sample(wide, n)
    period = "".join(rng.choices("abcdefgh", k=100))
    nested = ["".join(rng.choices("cdefghij", k=length)) for length in range(1, 166)]
    pairs = {
        "one letter": ("a" * n, "a" * (n - 1)),
        "one letter, code": ("a" * n, code),
        "spaces, code": (" " * n, code),
        "spaces, indented lines": (" " * n, (" " * 40 + "x") * (n // 41)),
        "'ab' * n, 'a' * n": ("ab" * (n // 2), "a" * n),
        "'abc' * n, 'ab' * n": ("abc" * (n // 3), "ab" * (n // 2)),
        "one letter with a break": ("a" * (n // 2) + "b" + "a" * (n // 2 - 1), "a" * (n // 4) + "c" + "a" * (n // 2)),
        "random two letters": (two_letters, other),
        "half periodic, half random": ("ab" * (n // 4) + two_letters[: n // 2], "ab" * (n // 4 - 5) + other[: n // 2]),
        "letters with a dot after each": (two_letters[: n // 2], ".".join(two_letters[: n // 2])),
        "ASCII with a zero after each": (ascii_text, "\0".join(ascii_text)),
        "Fibonacci word, reversed": (fibonacci_word(n), fibonacci_word(n)[::-1]),
        "runs of growing length": (
            "".join("a" * i + "x" for i in range(1, 199)),
            "".join("a" * i + "y" for i in range(199)),
        ),
        "runs of 510": ("a" * n, "".join(wide[2 * i] + "a" * 510 + wide[2 * i + 1] for i in range(n // 512))),
        "long blocks inside each other": (two_letters[:12000] + "x".join(blocks), other[:12000] + "y".join(blocks)),
        "long blocks beside a searched window": (
            two_letters[:6000] + "x".join(nested),
            other[:750] + "y".join(nested),
        ),
        "searched windows beside each other": tuple(searched_windows(rng)),
        "pieces of 'ab…'": tuple(periodic_pieces("ab", 64, 200, marks, rng) for marks in ("xyz", "pqr")),
        "pieces of a period of 100": tuple(periodic_pieces(period, 64, 200, marks, rng) for marks in ("xyz", "pqr")),
        "20,000 different characters": ("".join(wide), "".join(wide[1:] + wide[:1])),
        "20,000 different characters, shuffled": ("".join(wide), "".join(shuffled)),
        "lone surrogates": ("\ud83d" * n, "\ud83d\ude00" * (n // 2)),
        "one letter, ten": ("a" * n, "a" * 10),
    }
    backwards = {f"{name} (swapped)": (expert, action) for name, (action, expert) in pairs.items()}
    return {name: (action[:n], expert[:n]) for name, (action, expert) in (pairs | backwards).items()}


def peak_memory() -> float:
    """Most MB that this process ever held. (Linux's `ru_maxrss` begins with what the parent held.)"""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 1024**2
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # bytes on macOS


def measure(name: str, path: str) -> None:
    """One pair in a process of its own: CPU seconds, and MB above those held before."""
    pair = degenerate_pairs()[name]
    call: Callable[[], object] = lambda: step_similarity(*pair)  # noqa: E731
    memory, start = peak_memory(), process_time()
    (in_python(call) if path == "in Python" else call)()
    print(process_time() - start, peak_memory() - memory)


def bounds_table() -> None:
    print("\n| at most 20,000 × 20,000 characters | slowest | most memory, beyond what the process held |")
    print("|---|---|---|")
    names = list(degenerate_pairs())
    for path in ("compiled", "in Python"):
        results = {}
        for name in names:
            command = [sys.executable, __file__, "--measure", name, path]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            seconds, megabytes = map(float, output.split())
            results[name] = seconds, megabytes
        slowest = max(names, key=lambda name: results[name][0])
        largest = max(names, key=lambda name: results[name][1])
        print(
            f"| {path}, {len(names)} degenerate pairs | {results[slowest][0]:.2f} s: {slowest} "
            f"| {results[largest][1]:.0f} MB: {largest} |"
        )


def mixed_batch(steps: list[str]) -> tuple[list[str], list[str]]:
    """512 steps of 60 to 2,000 characters × 8 rollouts, among them degenerate ones and some of 20,000 characters."""
    rng = random.Random(1)
    words = " ".join(steps).split()
    actions, experts = [], []
    for number in range(512):
        expert = excerpt(steps, rng.choice([60, 100, 200, 300, 500, 1_000, 2_000]), rng)
        rollouts = [perturbed(expert, words, rng) for _ in range(5)] + [expert, excerpt(steps, len(expert), rng)]
        if number % 8 == 0:
            rollouts.append(rng.choice(["a" * LONGEST, "ab" * (LONGEST // 2), " " * LONGEST, expert[:20] * 1_000]))
        elif number % 8 == 1:
            rollouts.append(excerpt(steps, LONGEST, rng))
        else:
            rollouts.append(rollouts[0])
        actions += rollouts
        experts += [expert] * ROLLOUTS
    long = list(degenerate_pairs().values())[:4]
    for place, (action, expert) in zip(count(0, ROLLOUTS), long, strict=False):
        actions[place], experts[place : place + ROLLOUTS] = action, [expert] * ROLLOUTS
    return actions, experts


def batch_table(steps: list[str]) -> None:
    actions, experts = mixed_batch(steps)
    compiled = cpu_seconds(lambda: step_similarities(actions, experts))
    pure = cpu_seconds(in_python(lambda: step_similarities(actions, experts)))
    print(f"\n| mixed batch of {len(actions):,} pairs, some degenerate, some of 20,000 characters | CPU |\n|---|---|")
    print(f"| compiled | {compiled:.2f} s |\n| in Python | {pure:.2f} s |")


def autojunk_table(steps: list[str]) -> None:
    """300 copies of a step of each length with 30 % of the words replaced."""
    rng = random.Random(2)
    words = " ".join(steps).split()
    print("\n| expert's text | SRL's number | difflib's default | swapped, SRL's moves by | difflib's default |")
    print("|---|---|---|---|---|")
    warnings.simplefilter("ignore")
    for length in (199, 200, 400, 1_000):
        pairs = []
        for _ in range(300):
            expert = excerpt(steps, length, rng)
            pairs.append((perturbed(expert, words, rng), expert))
        ratios = (step_similarity, lambda action, expert: step_similarity(action, expert, autojunk=True))
        means = [statistics.mean(ratio(*pair) for pair in pairs) for ratio in ratios]
        moves = [statistics.mean(abs(ratio(a, b) - ratio(b, a)) for a, b in pairs) for ratio in ratios]
        print(f"| {length:,} characters | {' | '.join(f'{number:.3f}' for number in means + moves)} |")


def difflib_lines(steps: list[str]) -> None:
    rng = random.Random(3)
    unrelated = sorted(step_similarity(*rng.sample(steps, 2)) for _ in range(1_000))
    print(f"\nTwo steps of CHAMP drawn at random: {unrelated[100]:.2f} to {unrelated[900]:.2f} (80 % of the pairs)")
    for n in (250, 500):
        seconds = cpu_seconds(lambda: difflib_ratio("ab" * (n // 2), "a" * n))  # noqa: B023
        print(f"difflib, 'ab' * n against 'a' * n, {n} characters each: {seconds:.2f} s")


def machine() -> str:
    assert similarity.compiled, "there is nothing to measure: install the package where there is a C compiler"
    return f"{processor_name()}, Python {platform.python_version()}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:])
    else:
        solution_steps = champ_steps()
        print(machine())
        speed_table("CHAMP", solution_steps)
        speed_table("word problems", word_problem_steps())
        bounds_table()
        batch_table(solution_steps)
        autojunk_table(solution_steps)
        difflib_lines(solution_steps)
