"""Run the demo with seeds 0, 1 and 2 and print its numbers as a Markdown table.

python benchmarks/demo_seeds.py [output_dir]    (writes output_dir/seed0, …; by default runs/demo_seeds)
"""

import sys
from pathlib import Path
from statistics import mean

from trl_srl.demo.results import DECODING, METRICS
from trl_srl.demo.run import run_demo


def main() -> None:
    output_dir = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo_seeds")
    runs = [run_demo(output_dir / f"seed{seed}", seed=seed) for seed in range(3)]
    machine, rows = runs[0]["machine"], runs[0]["before"]["greedy"]["num_rows"]
    print(f"\nMachine: {machine['cpus']} CPUs ({machine['torch_threads']} torch threads), {machine['device']}, ")
    print(f"{machine['platform']}; torch {machine['torch']}, trl {machine['trl']}. About {rows} held-out steps.\n")
    print("| decoding | held-out | seed 0 | seed 1 | seed 2 | mean |")
    print("|---|---|---|---|---|---|")
    for decoding in DECODING:
        for metric, label in METRICS.items():
            values = [[run[moment][decoding][metric] for run in runs] for moment in ("before", "after")]
            cells = [f"{before:.3f} → {after:.3f}" for before, after in zip(*values, strict=True)]
            cells.append(f"{mean(values[0]):.3f} → {mean(values[1]):.3f}")
            print(f"| {decoding} | {label} | {' | '.join(cells)} |")
    print("\n| seconds | seed 0 | seed 1 | seed 2 |\n|---|---|---|---|")
    for phase in runs[0]["seconds"]:
        print(f"| {phase} | {' | '.join(str(run['seconds'][phase]) for run in runs)} |")


if __name__ == "__main__":
    main()
