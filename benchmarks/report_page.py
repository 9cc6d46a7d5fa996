"""A real run made to be looked at, its report, the pictures of docs/report.md, and how large reports are.

    OMP_NUM_THREADS=1 python -m benchmarks.report_page runs/report docs/images

The demo's tiny model and expert solutions, but few problems for several epochs, with evaluations on the way, so that
the page has rows to compare; a higher `min_reward_std`, so that dynamic sampling has groups to drop. A run that is
there already is not made again. Pictures need the package playwright and a Chromium.
"""

import argparse
import random
import shutil
import statistics
import time
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.tiny_models import machine
from trl_srl import SRLConfig, SRLTrainer
from trl_srl.demo.run import DemoSettings, make_step_rows
from trl_srl.demo.tiny_model import TinyModelSettings, tiny_model_folder
from trl_srl.report import write_report
from trl_srl.rollouts import FOLDER, RolloutLog, rollout_row


def train(run_dir: Path, max_steps: int) -> None:
    settings = DemoSettings(num_problems=80, num_held_out=20)
    tiny = TinyModelSettings()
    folder = tiny_model_folder(tiny)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = make_step_rows(settings, tokenizer, tiny)
    args = SRLConfig(
        output_dir=str(run_dir),
        max_steps=max_steps,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=128,
        per_device_eval_batch_size=64,
        num_generations=8,
        max_completion_length=settings.max_completion_length,
        min_reward_std=0.07,
        eval_strategy="steps",
        eval_steps=10,
        eval_on_start=True,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    SRLTrainer(model, args, rows["train"], rows["validation"], processing_class=tokenizer).train()


PICTURED_ROW = 4  # of the list, from the best: a step that is nearly the expert's
PICTURES = {"light": ("overview", "rollouts"), "dark": ("overview", "honest", "compare")}


def take_pictures(report: Path, images: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme, names in PICTURES.items():
            page = browser.new_page(viewport={"width": 1320, "height": 860}, color_scheme=scheme)
            page.goto(report.resolve().as_uri())
            page.wait_for_selector("body[data-ready]")
            page.emulate_media(reduced_motion="reduce", color_scheme=scheme)
            for name, place in (("overview", "#main"), ("honest", "#honest"), ("rollouts", "#rollouts")):
                if place == "#rollouts":
                    page.locator(".filters").get_by_label("Data").select_option("train")
                    page.get_by_label("Order").select_option("like")
                    page.get_by_role("button", name="seen again").click()
                    page.keyboard.press("Escape")
                    for _ in range(PICTURED_ROW):
                        page.keyboard.press("j")
                page.evaluate("place => document.querySelector(place).scrollIntoView()", place)
                page.wait_for_timeout(400)
                if name in names:
                    save(page.screenshot(), images / f"report_{name}_{scheme}.png")
            page.keyboard.press("c")
            page.evaluate("document.querySelector('#history').scrollIntoView({block: 'end'})")
            page.wait_for_timeout(400)
            if "compare" in names:
                save(page.screenshot(), images / f"report_compare_{scheme}.png")
        browser.close()


def save(png: bytes, path: Path) -> None:
    """With a palette of 256 colours, which is a third of the size and looks the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png)
    Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def made_up_run(run_dir: Path, steps: int, characters: int) -> float:
    """
    256 rollouts for each step, of random words: a monologue of so many characters and steps of 200. Returns the median
    of what a step's file took, in seconds of CPU time: parsing, packing, writing.
    """
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(3000)]

    def text(length: int) -> str:
        return " ".join(rng.choices(words, k=length // 6))[:length].strip()

    scored = {"split": "train", "truncated": False, "think_prefilled": False, "refill_round": 0, "sampling": "trained"}
    scored |= {"reward": 0.5, "similarity": 0.5, "advantage": 0.1}
    log, seconds = RolloutLog(run_dir / FOLDER, 0), []
    for step in range(1, steps + 1):
        rollouts = []
        for group in range(32):
            expert = text(200)
            prompt = [{"role": "user", "content": f"Problem:\n{text(300)}\n\nSolution so far:\n{text(400)}"}]
            row = {"prompt": prompt, "expert_action": expert, "problem_id": text(16), "step_index": 0, "num_steps": 2}
            for _ in range(8):
                action = expert[: rng.randrange(200)] + text(rng.randint(10, 100))
                completion = f"<think>{text(characters)}</think>{action}"
                rollouts.append({"row": row, "text": completion, "group": group} | scored)
        since = time.process_time()
        log.add("train", [rollout_row(step=step, **rollout) for rollout in rollouts])
        log.save("train")
        seconds.append(time.process_time() - since)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--max_steps", type=int, default=40)
    parser.add_argument("--only_train", action="store_true")
    options = parser.parse_args()

    if not (options.run_dir / FOLDER).exists():
        train(options.run_dir, options.max_steps)
    if options.only_train:
        return
    made = write_report(options.run_dir, options.run_dir / "report.html")
    print(f"{made.path}: {made.shown:,} rollouts, {made.size / 1e6:.2f} MB")
    take_pictures(made.path, options.images)
    names = (
        "rollouts",
        "of them to browse",
        "monologue, characters",
        "files",
        "writing 256 rollouts",
        "page",
        "making it",
    )
    print(f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for steps, characters in ((40, 300), (40, 2000), (400, 300)):
        folder = options.run_dir / f"made-up-{steps}-{characters}"
        writing = made_up_run(folder, steps, characters)
        files = sum(path.stat().st_size for path in (folder / FOLDER).iterdir())
        since = time.perf_counter()
        made = write_report(folder, folder / "report.html")
        seconds = time.perf_counter() - since
        cells = [f"{made.total:,}", f"{made.shown:,}", f"{characters:,}", f"{files / 1e6:.1f} MB"]
        cells += [f"{1000 * writing:.0f} ms", f"{made.size / 1e6:.1f} MB", f"{seconds:.0f} s"]
        print(f"| {' | '.join(cells)} |", flush=True)
        shutil.rmtree(folder)
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
