"""Markdown of what benchmarks/gpu.py measured."""

from typing import Any


def _gib(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**30:.2f}"


def _with_deviation(measured: int | None, estimated: int | None) -> str:
    if measured is None or estimated is None:
        return f"{_gib(measured)} / {_gib(estimated)}"
    return f"{_gib(measured)} / {_gib(estimated)} ({estimated / measured - 1:+.0%})"


def _name(configuration: dict[str, Any]) -> str:
    weights = {"qlora": "NF4", "lora": "16 bit"}[configuration["adapters"]]
    return f"{configuration['shape']}, {weights}, {configuration['precision']}"


def tables(lines: list[dict[str, Any]]) -> str:
    """
    Two tables, of memory and of time, the machine, and what is missing.

    Args:
        lines (`list[dict]`):
            Results as they stand in `results.jsonl`.
    """
    ok = [line for line in lines if line["status"] == "ok" and line["steps"]]
    text = ["| shape | generation | completions at once / trained at once | tokens | load | generate | train |"]
    text += ["|---|---|---|---|---|---|---|"]
    for line in ok:
        one, estimate = line["configuration"], line["estimate"] or {}
        cells = [_name(one), one["generation"], f"{one['generated']} / {one['rows']}"]
        cells.append(f"{one['prompt_length']} + {one['completion_length']}")
        cells.append(_with_deviation(line["load"].get("reserved"), estimate.get("load")))
        for phase in ("generate", "train"):
            peaks = [step[phase].get("reserved") for step in line["steps"]]
            # The allocator keeps what it has: the first step's generation is not yet that of a trained step.
            peak = peaks[0] if phase == "generate" else max((p for p in peaks if p is not None), default=None)
            cells.append(_with_deviation(peak, estimate.get(phase)))
        text.append(f"| {' | '.join(cells)} |")
    text += [
        "",
        "Peaks in GiB that PyTorch reserved, measured / estimated by `trl_srl.memory`; the CUDA context comes on top.",
    ]
    text += [
        "",
        "| shape | generation | completions at once | tokens/s | gap | step | generation | reward | training |",
    ]
    text += ["|---|---|---|---|---|---|---|---|---|"]
    for line in ok:
        one, step = line["configuration"], line["steps"][-1]
        seconds = {phase: step[phase]["seconds"] for phase in ("generate", "reward", "train")}
        total = sum(seconds.values())
        cells = [_name(one), one["generation"], str(one["generated"]), f"{step['tokens'] / seconds['generate']:,.0f}"]
        cells += [
            f"{line['gap']:.3f}",
            f"{total:.2f} s",
            *(f"{seconds[phase] / total:.2%}" for phase in ("generate", "reward", "train")),
        ]
        text.append(f"| {' | '.join(cells)} |")
    text += [
        "",
        "gap: nats by which greedily generated tokens are less likely than the likeliest in a plain forward pass; "
        "0 but for rounding if generation is right.",
    ]
    for machine in sorted({f"{line['card']}; {line['machine']}" for line in ok}):
        text += ["", f"Measured on: {machine}."]
    last = {str(line["configuration"]): line for line in lines}  # what failed may have been measured later
    missing = [line for line in last.values() if line["status"] != "ok"]
    text += ["", *(f"Not measured ({line['status']}): {line['configuration']}" for line in missing)]
    return "\n".join(text).rstrip() + "\n"
