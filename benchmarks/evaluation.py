"""The output in docs/evaluation.md: the demo's tiny model before and after SRL, evaluated as a user would.

`OMP_NUM_THREADS=1 python -m benchmarks.evaluation -o runs/evaluation`
"""

import argparse
from pathlib import Path

from transformers import AutoTokenizer

from trl_srl.cli import main
from trl_srl.demo.run import DemoSettings, make_step_rows, run_demo
from trl_srl.demo.tiny_model import TINY_SYSTEM_PROMPT, TinyModelSettings, tiny_model_folder


def command(*arguments: object) -> None:
    words = [str(argument) for argument in arguments]
    print("$ trl-srl " + " ".join(word if " " not in word else f'"{word}"' for word in words))
    main(words)
    print()


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output_dir", "-o", type=Path, required=True)
    parser.add_argument("--max_steps", type=int, default=60, help="training steps of the demo")
    parser.add_argument("--max_rows", type=int, default=60, help="problems to solve")
    args = parser.parse_args()
    out = args.output_dir
    tiny = TinyModelSettings()
    before, after = out / "before", out / "demo" / "model"
    if not after.exists():
        run_demo(out / "demo", max_steps=args.max_steps)
    if not before.exists():
        before.symlink_to(tiny_model_folder(tiny))
    rows = make_step_rows(DemoSettings(), AutoTokenizer.from_pretrained(before), tiny)
    (out / "rows").mkdir(exist_ok=True)
    rows["validation"].to_parquet(out / "rows" / "validation.parquet")
    for name, model in (("before", before), ("after", after)):
        common = ["--model", model, "--dataset", out / "rows", "--max_completion_length", 64, "--batch_size", 64]
        command("evaluate", "--steps", *common, "-o", out / f"{name}-steps")
        command(
            *("evaluate", "--step_by_step", *common, "--system_prompt", TINY_SYSTEM_PROMPT, "--max_steps", 8),
            *("--num_samples", 4, "--max_rows", args.max_rows, "-o", out / f"{name}-solutions"),
        )
    for kind in ("steps", "solutions"):
        command("compare", out / f"before-{kind}", out / f"after-{kind}")


if __name__ == "__main__":
    run()
