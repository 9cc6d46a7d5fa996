"""`trl-srl memory`: does a run fit the card? An estimate from the model's config, before anything is loaded."""

import argparse
import sys
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from ..memory import MemoryEstimate

TITLES = {"srl": "SRL, the first stage", "rlvr": "RLVR, the second stage"}


def add_parser(subparsers: "argparse._SubParsersAction", name: str) -> None:
    parser = subparsers.add_parser(
        name,
        allow_abbrev=False,  # a shortened name may mean an option of TRL's
        help="estimate the GPU memory of a training run",
        description="Estimate from the model's config how much GPU memory `trl-srl train` will take, and the card it "
        "fits. No weights are loaded, no GPU is needed.",
        epilog="Every option of `trl-srl train` is taken too, and overrides the preset: --max_completion_length 512, "
        "--load_in_4bit true, --per_device_train_batch_size 2, … The formulas: docs/hardware.md.",
    )
    parser.add_argument("--model", help="path or Hub id of the model; only its config is read")
    parser.add_argument("--preset", help="YAML file with options of `trl-srl train`, such as examples/configs/t4.yaml")
    parser.add_argument("--max_prompt_length", type=int, help="tokens of the longest prompt, if not in the preset")


def run(args: argparse.Namespace) -> None:
    from .stage_options import read_command

    options = list(args.train_options)
    if args.model is not None:
        options += ["--model_name_or_path", args.model]
    if args.preset is not None:
        options += ["--config", args.preset]
    stages = read_command(options).stages
    for stage, settings in stages.items():
        # The second stage starts from a model of the first one's size, and knows no limit for prompts.
        first = stages.get("srl", settings)
        model = args.model or first.get("model_name_or_path")
        length = first.get("max_prompt_length") if args.max_prompt_length is None else args.max_prompt_length
        text = _estimate(stage, model, length, settings)
        sys.stdout.write(f"{TITLES[stage]}\n{text}\n\n" if len(stages) > 1 else f"{text}\n")


def _format(model: str, completions: int, rows: int, lengths: tuple[int, int], estimate: "MemoryEstimate") -> str:
    from ..memory import ALLOCATOR, CARDS, GIB

    phases = {
        "generate": {
            "weights": estimate.weights,
            "adapters": estimate.adapters,
            "optimizer": estimate.optimizer,
            "cast": estimate.cast,
            "KV cache": estimate.kv_cache,
            "prompts" if estimate.prompts > estimate.sampling else "sampling": max(
                estimate.prompts, estimate.sampling
            ),
        },
        "train": {
            "weights": estimate.weights,
            "adapters": estimate.adapters,
            "gradients": estimate.gradients,
            "optimizer": estimate.optimizer,
            "cast": estimate.cast,
            "activations kept": estimate.checkpoints,
            "one layer" if estimate.layer > estimate.logits else "logits": max(estimate.layer, estimate.logits),
        },
    }
    lines = [
        f"{model}: {estimate.parameters / 1e9:.2f} B parameters, {estimate.trained / 1e6:.1f} M trained",
        f"{completions} completions generated at once, trained on {rows} at a time; prompts of {lengths[0]}, "
        f"completions of {lengths[1]} tokens",
        "",
        f"load      {estimate.load / GIB:6.2f} GiB",
    ]
    for phase, terms in phases.items():
        allocated = " + ".join(f"{name} {size / GIB:.2f}" for name, size in terms.items() if round(size / GIB, 2))
        lines.append(f"{phase:8}  {getattr(estimate, phase) / GIB:6.2f} GiB  = {ALLOCATOR} x ({allocated})")
    if estimate.train == estimate.generate:
        lines[-1] = f"{'train':8}  {estimate.train / GIB:6.2f} GiB  (takes less than generation, which stays reserved)"
    card = estimate.card
    lines += [
        f"in all    {estimate.peak / GIB:6.2f} GiB  with {estimate.context / GIB:.1f} for the CUDA context",
        "",
        f"Fits a card of {card} GB. " if card else f"Fits no card of {CARDS[-1]} GB. ",
    ]
    lines[-1] += "Estimated, not measured: docs/hardware.md says how well it agrees with measurements."
    return "\n".join(lines)


def _estimate(stage: str, model: str | None, max_prompt_length: int | None, settings: dict[str, Any]) -> str:
    from transformers import AutoConfig

    from ..memory import estimate_memory
    from .stage_options import as_dataclasses

    if model is None:
        raise ValueError("Which model? Name it with --model.")
    # Whatever this machine has: a preset in bfloat16 is read on a laptop too.
    _, args, model_args, *_ = as_dataclasses(stage, settings | {"model_name_or_path": model, "use_cpu": True})
    args.max_prompt_length = max_prompt_length
    try:
        config = AutoConfig.from_pretrained(model, revision=model_args.model_revision)
    except OSError as error:
        raise OSError(f"There is no config of {model!r} to read: {str(error).splitlines()[0]}") from error
    estimate = estimate_memory(config, args, model_args)
    completions, rows = args.generation_batch_size // args.world_size, args.per_device_train_batch_size
    return _format(model, completions, rows, (args.max_prompt_length, args.max_completion_length), estimate)
