"""How fast `trl-srl prepare` is, and what memory it needs, on agent trajectories and on whole solutions.

    python benchmarks/prepare.py                  # everything: two minutes, 1 GB of temporary files
    python benchmarks/prepare.py --trajectories 500 1000

1. Agents: files in SWE-smith's form (chat messages; 27 actions in `<function=…>` blocks, observations of 1,500
   characters on average) are made and prepared by the command itself, map-style with two processes and as a stream
   with one. Printed: wall time, CPU time of all processes, peak memory of all processes together (PSS, sampled every
   100 ms), and how time, memory and output grow from the first number of trajectories to the last.
2. Splitting: `split_steps` on 10,000 solutions of 4,000 characters, in megabytes of CPU time per second, each style.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from trl_srl import split_steps
from trl_srl.evaluation.results import processor_name
from trl_srl.trajectories import STYLES


ACTIONS = 27
WORDS = (
    "the test fails because parse returns None when value is empty so self.cache[key] = node def update(self, **kw): "
    "return super().update(kw) if not isinstance(path, Path) raise ValueError import os from typing for line in lines"
)


def make_text(rng: random.Random, length: int) -> str:
    text = " ".join(rng.choices(WORDS.split(), k=length // 5 + 8))
    return "\n".join(text[i : i + 80] for i in range(0, len(text), 80))[:length]


def make_trajectory(rng: random.Random, number: int, texts: list[str]) -> dict:
    """One row in the form of SWE-smith's trajectories: system, task, then actions and observations."""
    task = f"<uploaded_files>\n/testbed\n</uploaded_files>\nIssue {number}: {rng.choice(texts)}"
    messages = [
        {"role": "system", "content": "You are a programmer who interacts with a computer.\n" + texts[0]},
        {"role": "user", "content": task},
    ]
    for step in range(ACTIONS):
        command = f"cd /testbed && grep -rn 'name_{rng.randrange(10**6)}' src | head -{step + 5}"
        if step == ACTIONS - 1:
            action = "<function=submit>\n</function>"
        else:
            action = f"<function=bash>\n<parameter=command>{command}</parameter>\n</function>"
        messages.append({"role": "assistant", "content": f"I look at the next place.\n\n{action}"})
        observation = f"OBSERVATION:\n{number} {step}\n{rng.choice(texts)[: rng.randrange(100, 2900)]}"
        messages.append({"role": "user", "content": observation})
    return {"messages": messages, "instance_id": f"case-{number}", "resolved": True}


def write_trajectories(path: Path, count: int) -> None:
    rng = random.Random(0)
    texts = [make_text(rng, 3000) for _ in range(200)]
    with path.open("w") as file:
        for number in range(count):
            file.write(json.dumps(make_trajectory(rng, number, texts)) + "\n")


class Run(NamedTuple):
    """What one command took."""

    wall: float
    cpu: float
    peak: float  # megabytes, all processes together
    rows: int
    output: float  # megabytes


def _memory_of_group(group: int) -> int:
    """Proportional set size of all processes of a group, in kilobytes."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group:
                rollup = (folder / "smaps_rollup").read_text()
                total += int(rollup.partition("\nPss:")[2].split()[0])
        except (OSError, IndexError, ValueError):  # it has just ended
            continue
    return total


def run_prepare(source: Path, folder: Path, *options: str) -> Run:
    """The command in a process of its own."""
    command = [sys.executable, "-c", "from trl_srl.cli import main; main()", "prepare", str(source), "-o", str(folder)]
    environment = os.environ | {"HF_DATASETS_CACHE": str(folder.parent / "cache"), "HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, *options],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    peak = 0
    before = os.times()
    while process.poll() is None:
        peak = max(peak, _memory_of_group(process.pid))
        time.sleep(0.1)
    wall = time.perf_counter() - start
    after = os.times()
    if process.returncode:
        raise RuntimeError(process.stderr.read())
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    summary = json.loads((folder / "summary.json").read_text())
    size = sum(file.stat().st_size for file in folder.glob("*.parquet"))
    return Run(wall, cpu, peak / 1024, summary["step_rows"], size / 1e6)


def measure_agents(counts: list[int]) -> None:
    ways = {"two processes": ["--num_proc", "2"], "a stream, one process": ["--streaming"]}
    print(f"agents, {ACTIONS} actions each")
    print(f"{'':<24}{'trajectories':>13}{'step rows':>11}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'output MB':>11}")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        runs: dict[tuple[str, int], Run] = {}
        for count in [1, *counts]:
            source = root / f"{count}.jsonl"
            write_trajectories(source, count)
            for way, options in ways.items():
                run = run_prepare(source, root / f"{count} {way}", "--adapter", "swe_smith", *options)
                runs[way, count] = run
                numbers = f"{run.wall:>8.1f}{run.cpu:>8.1f}{run.peak:>9.0f}{run.output:>11.1f}"
                print(f"{way:<24}{count:>13,}{run.rows:>11,}{numbers}", flush=True)
            source.unlink()
    first, last = counts[0], counts[-1]
    print(
        f"\ngrowth from {first:,} to {last:,} trajectories ({last / first:.3g} times as many); time without the start,"
    )
    print("which is the run on one trajectory")
    for way in ways:
        start, small, large = (runs[way, count] for count in (1, first, last))
        print(
            f"{way:<24}CPU time x {(large.cpu - start.cpu) / (small.cpu - start.cpu):.2f}, "
            f"output x {large.output / small.output:.2f}, peak memory x {large.peak / small.peak:.2f} "
            f"({small.peak:.0f} to {large.peak:.0f} MB)"
        )


def make_solutions(count: int, length: int) -> Iterator[str]:
    """Solutions in numbered, titled steps with formulas and nested lists."""
    rng = random.Random(0)
    for _ in range(count):
        text, step = "", 1
        while len(text) < length:
            lines = "\n".join("   - " + " ".join(rng.choices(WORDS.split(), k=8)) for _ in range(3))
            sentence = " ".join(rng.choices(WORDS.split(), k=40))
            text += f"{step}. **Step title**: {sentence}\n{lines}\n\\[\nx = {step}.5\n\\]\n\n"
            step += 1
        yield text[:length]


def measure_splitting(count: int = 10_000, length: int = 4000) -> None:
    solutions = list(make_solutions(count, length))
    size = sum(map(len, solutions)) / 1e6
    print(f"\nsplit_steps on {count:,} solutions of {length:,} characters")
    for style in STYLES:
        start = time.process_time()
        steps = sum(len(split_steps(solution, style)) for solution in solutions)
        seconds = time.process_time() - start
        print(f"{style:<12}{size / seconds:>6.1f} MB/s  {steps:>9,} steps")


def machine() -> str:
    """What a table was measured on, and how many other processes wanted its cores."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("datasets", "pyarrow"))
    cores = f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
    return f"{processor_name()}, {cores}, Python {platform.python_version()}, {packages}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trajectories", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--skip", choices=["agents", "splitting"])
    args = parser.parse_args()
    print(machine())
    if args.skip != "agents":
        measure_agents(args.trajectories)
    if args.skip != "splitting":
        measure_splitting()


if __name__ == "__main__":
    main()
