"""The demo: expert solutions → step rows → SRLTrainer → evaluation on held-out problems, before and after."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset, DatasetDict
from rich.console import Console
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
)

from ..config import SRLConfig
from ..evaluation import StepEvaluation, evaluate_steps
from ..evaluation.results import describe_machine
from ..formatting import format_trajectories
from ..plots import plot_runs
from ..preparing.progress import without_dataset_bars
from ..prompts import count_prompt_tokens
from ..splitting import split_by_problem
from ..trainer import SRLTrainer
from .problems import champ_trajectories, gsm_symbolic_trajectories
from .results import DECODING, results_table
from .smollm2 import smollm2_folder
from .tiny_model import TINY_SYSTEM_PROMPT, TinyModelSettings, tiny_model_folder, warm_start_problems


NUM_GENERATIONS = 8


@dataclass(frozen=True)
class DemoSettings:
    """What the demo does, all of it; it is written into `results.json`."""

    problems: str = "gsm_symbolic"
    seed: int = 0
    max_steps: int = 60
    num_problems: int = 600
    num_held_out: int = 150
    prompts_per_step: int = 16
    prompts_per_pass: int = 16
    learning_rate: float = 3e-4
    max_prompt_length: int = 512
    max_completion_length: int = 64


# What differs from the settings for gsm_symbolic and the tiny model; the keys of PROBLEMS are the choices.
PROBLEMS: dict[str, dict[str, Any]] = {
    "gsm_symbolic": {},
    # Longer texts, which the tiny tokenizer cuts into more tokens besides: fewer of them for each step.
    "champ": {
        "num_held_out": 70,
        "prompts_per_step": 4,
        "prompts_per_pass": 4,
        "max_prompt_length": 384,
        "max_completion_length": 96,
    },
}
LARGER_MODEL: dict[str, Any] = {
    "num_held_out": 10,
    "prompts_per_step": 4,
    "prompts_per_pass": 1,  # logits over a large vocabulary fill the memory
    "learning_rate": 1e-5,
    "max_prompt_length": 1024,
    "max_completion_length": 192,
}

TINY_NOTE = (
    "The tiny model is built on this machine, for about a minute the first time, with a short format warm start on "
    "other problems of the same templates. It shows that SRL runs and what it optimises; it is too weak to solve "
    "problems."
)
OTHER_NOTE = (
    "This model gets no format warm start: SRL has nothing to learn from if it never writes <think>. "
    "The first batch is diagnosed below."
)


class _Progress(TrainerCallback):
    """One line every ten steps instead of a dictionary for each."""

    def __init__(self, console: Console):
        self.console = console

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        # Of all groups sampled: a batch without an informative group has no other reward.
        if logs and "reward_all_groups" in logs and (state.global_step % 10 == 0 or state.global_step == 1):
            self.console.print(
                f"step {state.global_step:3d} of {state.max_steps}: reward {logs['reward_all_groups']:.2f}, "
                f"similarity {logs['srl/similarity']:.2f}, well-formed {logs['srl/format_rate']:.0%}"
            )


class _Clock:
    """Announces phases and remembers how many seconds each took."""

    def __init__(self, console: Console):
        self.console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.console.print(f"[bold]{name}[/bold]")
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 1)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    were_enabled = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        with without_dataset_bars():
            yield
    finally:
        if were_enabled:
            transformers.utils.logging.enable_progress_bar()


def _load_model(
    name: str | None, tiny: TinyModelSettings | None, cache_dir: str | Path | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if tiny is not None:
        source = str(tiny_model_folder(tiny, cache_dir))
    elif name == "smollm2":
        source = str(smollm2_folder(cache_dir))
    else:
        source = str(name)
    return AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32), AutoTokenizer.from_pretrained(source)


def _trajectories(settings: DemoSettings, tiny: TinyModelSettings | None) -> Dataset:
    """Expert solutions that the tiny model, if it is the one to train, has not seen in its warm start."""
    if settings.problems == "champ":
        return champ_trajectories()
    if tiny is None:
        return gsm_symbolic_trajectories(settings.num_problems, settings.seed)
    seen = set(warm_start_problems(tiny)["problem"][:])
    return gsm_symbolic_trajectories(
        settings.num_problems, settings.seed, max_characters=tiny.max_characters, exclude=seen
    )


def make_step_rows(
    settings: DemoSettings, tokenizer: PreTrainedTokenizerBase, tiny: TinyModelSettings | None = None
) -> DatasetDict:
    """Step rows of `settings`, split by problem into `train` and `validation`."""
    rows, _ = format_trajectories(
        _trajectories(settings, tiny),
        system_prompt=None if tiny is None else TINY_SYSTEM_PROMPT,
        max_prompt_length=settings.max_prompt_length,
        count_tokens=partial(count_prompt_tokens, tokenizer=tokenizer),
    )
    return split_by_problem(rows, settings.num_held_out, seed=settings.seed)


def _evaluate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Dataset, settings: DemoSettings
) -> dict[str, StepEvaluation]:
    return {
        name: evaluate_steps(
            model,
            tokenizer,
            rows,
            max_completion_length=settings.max_completion_length,
            temperature=temperature,
            batch_size=64,
            seed=settings.seed,
        )
        for name, temperature in DECODING.items()
    }


def _make_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Dataset,
    settings: DemoSettings,
    output_dir: Path,
    console: Console,
) -> SRLTrainer:
    on_gpu = torch.cuda.is_available()
    config = SRLConfig(
        output_dir=str(output_dir / "model"),
        seed=settings.seed,
        max_steps=settings.max_steps,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=settings.prompts_per_pass * NUM_GENERATIONS,
        gradient_accumulation_steps=settings.prompts_per_step // settings.prompts_per_pass,
        num_generations=NUM_GENERATIONS,
        max_completion_length=settings.max_completion_length,
        use_cpu=not on_gpu,
        bf16=on_gpu and torch.cuda.is_bf16_supported(including_emulation=False),
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SRLTrainer(model, config, rows, processing_class=tokenizer, callbacks=[_Progress(console)])
    trainer.remove_callback(PrinterCallback)
    return trainer


def run_demo(
    output_dir: str | Path,
    *,
    model: str | None = None,
    problems: str = "gsm_symbolic",
    max_steps: int = 60,
    seed: int = 0,
    cache_dir: str | Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """
    Train a small model on real expert solutions and say what became better on held-out problems, and what did not.

    Args:
        output_dir (`str` or `Path`):
            Where `model/`, `rows/` (step rows, as of `trl-srl prepare`), `results.json` and `reward_curve.png` are
            written.
        model (`str`, *optional*):
            Path or Hub id of a chat model, or `"smollm2"` for the packaged SmolLM2-135M-Instruct. By default a tiny
            model is built on the CPU and cached; no other model gets a format warm start.
        problems (`str`, *optional*, defaults to `"gsm_symbolic"`):
            `"gsm_symbolic"` or `"champ"`.
        max_steps (`int`, *optional*, defaults to `60`):
            Training steps.
        seed (`int`, *optional*, defaults to `0`):
            Decides problems, split and training; not the tiny model, which is built once.
        cache_dir (`str` or `Path`, *optional*):
            Where built models are kept, by default `~/.cache/trl-srl`.
        console ([`~rich.console.Console`], *optional*):
            Where to print.

    Returns:
        `dict[str, Any]`: what `results.json` holds: `before` and `after` (greedy and sampled), `settings`, `seconds`
        of each phase, `machine`, `log_history`.
    """
    if problems not in PROBLEMS:
        raise ValueError(f"problems={problems!r} is unknown. Write one of {', '.join(PROBLEMS)}.")
    if max_steps < 1:
        raise ValueError(f"max_steps={max_steps} is too small. Write 1 or more.")
    console, output_dir = console or Console(), Path(output_dir)
    (output_dir / "rows").mkdir(parents=True, exist_ok=True)
    tiny = TinyModelSettings() if model is None else None
    sizes = PROBLEMS[problems] | ({} if tiny else LARGER_MODEL)
    settings = DemoSettings(problems=problems, max_steps=max_steps, seed=seed, **sizes)
    clock = _Clock(console)
    console.print(TINY_NOTE if tiny else OTHER_NOTE, style="dim")
    with _no_progress_bars():
        with clock.phase("model"):
            policy, tokenizer = _load_model(model, tiny, cache_dir)
        with clock.phase("problems"):
            rows = make_step_rows(settings, tokenizer, tiny)
            for split, split_rows in rows.items():
                split_rows.to_parquet(output_dir / "rows" / f"{split}.parquet")
        trainer = _make_trainer(policy, tokenizer, rows["train"], settings, output_dir, console)
        # Training leaves the model under autocast on a GPU; so it is measured before as after.
        with clock.phase("evaluation before"), trainer.accelerator.autocast():
            before = _evaluate(trainer.model, tokenizer, rows["validation"], settings)
        with clock.phase("training"):
            trainer.train()
        with clock.phase("evaluation after"), trainer.accelerator.autocast():
            after = _evaluate(trainer.model, tokenizer, rows["validation"], settings)
        trainer.save_model()
    curves = ("reward", "srl/similarity", "srl/format_rate")
    logs = {"SRL demo": [trainer.state.log_history]}
    plot_runs(logs, output_dir / "reward_curve.png", metrics=curves, title="SRL demo")
    results: dict[str, Any] = {
        "model": model or "tiny",
        "settings": asdict(settings),
        "tiny_model": asdict(tiny) if tiny else None,
        "before": {name: evaluation._asdict() for name, evaluation in before.items()},
        "after": {name: evaluation._asdict() for name, evaluation in after.items()},
        "seconds": clock.seconds | {"total": round(sum(clock.seconds.values()), 1)},
        "machine": describe_machine(),
        "log_history": trainer.state.log_history,
    }
    (output_dir / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    console.print(results_table(before, after, len(rows["validation"])))
    total = results["seconds"]["total"]
    console.print(
        f"{total:.0f} seconds. model/, rows/, results.json and reward_curve.png are in {output_dir}\n"
        f"trl-srl report {output_dir / 'model'} shows every rollout beside the expert's step.",
        soft_wrap=True,
    )
    return results
