"""What an evaluation leaves behind: `results.json`, Parquet files, a table for people, and the machine it ran on."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..step_rows import digest
from .statistics import Interval


if TYPE_CHECKING:
    from rich.console import Console

    from .backends import Backend

RESULTS_FILE, PROBLEMS_FILE = "results.json", "problems.parquet"

LABELS = {
    "greedy_accuracy": "greedy accuracy",
    "answered_rate": "gave a final answer",
    "malformed_rate": "ended malformed",
    "truncated_rate": "cut off at the length limit",
    "mean_steps": "steps of a solution",
    "mean_tokens": "tokens of a solution",
    "similarity": "step similarity",
    "similarity_by_problem": "step similarity, mean of problems",
    "format_rate": "well-formed completions",
    "exact_step_rate": "exact steps",
    "right_number_rate": "right numbers",
    "monologue_length": "monologue, characters",
    "action_length": "action, characters",
}


def describe_machine() -> dict[str, Any]:
    """Hardware and versions, as they stand in `results.json`."""
    import torch
    import transformers
    import trl

    return {
        "platform": platform.platform(),
        "processor": processor_name(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "trl": trl.__version__,
    }


def processor_name() -> str:
    """The processor's name where Linux tells it, or what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def about_this_run() -> dict[str, Any]:
    """The machine and our version, as they stand in every `results.json`."""
    from .. import __version__

    return {"machine": describe_machine(), "trl_srl": __version__}


def weights_digest(model: str) -> str:
    """
    Changes when a local model is trained again under its old name, of an adapter also when its base model is another
    one; empty for a model on the Hub.
    """
    files = sorted(path for path in Path(model).glob("*") if path.suffix in (".safetensors", ".bin")) if model else []
    if not files:
        return ""
    facts: list[Any] = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    adapter = Path(model, "adapter_config.json")
    if adapter.is_file() and not Path(model, "config.json").is_file():
        base = json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path") or ""
        facts.append([base, weights_digest(base)])
    return digest(facts)


def describe_evaluation(
    kind: str,
    backend: "Backend",
    settings: Mapping[str, Any],
    output_dir: str | Path | None,
    model: str,
    dataset: str,
    split: str,
) -> dict[str, Any]:
    """
    What two evaluations must share to have the same results, but for their problems; it stands in `results.json`.

    Raises:
        `ValueError`: when files are to be written for a model without a name.
    """
    if output_dir is not None and not model:
        raise ValueError(
            f"Name the model (model=…): without a name {output_dir} would give its results for any other model."
        )
    return {
        "kind": kind,
        "model": model,
        "weights": weights_digest(model),
        "dataset": dataset,
        "split": split,
        "settings": {**settings, "backend": backend.name, "batch_size": backend.batch_size, "dtype": backend.dtype},
    }


def finished_results(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """
    The results in a folder if they are those of the evaluation that `identity` describes, `None` if there are none.

    Raises:
        `ValueError`: when they are those of another one.
    """
    if not (folder / RESULTS_FILE).exists():
        return None
    results = read_results(folder)
    wanted = json.loads(json.dumps(identity))
    changed = sorted(name for name, value in wanted.items() if results.get(name) != value)
    if changed:
        raise ValueError(
            f"{folder} holds the results of an evaluation that differs in {', '.join(changed)}. Choose another output "
            "folder, or delete that one."
        )
    return results


def as_metric(value: Interval | float) -> dict[str, float]:
    """A metric as it stands in `results.json`."""
    return dict(value._asdict()) if isinstance(value, Interval) else {"value": value}


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as a Parquet file; lone surrogates, which byte-level models can produce, become question marks."""
    from pyarrow import Table, parquet

    table = Table.from_pylist([{name: _valid(value) for name, value in row.items()} for row in rows])
    parquet.write_table(table, path)


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return [_valid(part) for part in value] if isinstance(value, list) else value


def read_results(folder: str | Path) -> dict[str, Any]:
    """
    The `results.json` of an evaluation.

    Args:
        folder (`str` or `Path`):
            The output folder.

    Returns:
        `dict`.

    Raises:
        `FileNotFoundError`: when there is none.
    """
    path = Path(folder, RESULTS_FILE)
    if not path.exists():
        raise FileNotFoundError(
            f"There is no {RESULTS_FILE} in {folder}. Write one with `trl-srl evaluate … -o {folder}`."
        )
    return json.loads(path.read_text(encoding="utf-8"))


def print_results(results: Mapping[str, Any], console: "Console | None" = None) -> None:
    """Print the metrics of `results.json` as a table, without lines where the output is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = console or Console()
    solutions = results["kind"] == "solutions"
    count = f"{results['num_problems']:,} problems" if solutions else f"{results['num_rows']:,} step rows"
    console.print(f"{results['model']} on {results['dataset']}: {count}", soft_wrap=True, markup=False)
    table = Table(box=box.ROUNDED if console.is_terminal else None)
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for name, metric in results["metrics"].items():
        label, shown = LABELS.get(name, name), _show(name, metric["value"])
        interval = f"{_show(name, metric['low'])} to {_show(name, metric['high'])}" if "low" in metric else ""
        table.add_row(label, shown, interval)
    console.print(table)


def _show(name: str, value: float) -> str:
    if name.startswith("mean_") or name.endswith("_length"):
        return f"{value:.1f}"
    return f"{value:.3f}" if name.startswith("similarity") else f"{value:.1%}"
