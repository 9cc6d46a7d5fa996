"""`write_report`: the run's files → one HTML page."""

import html
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from ..run_folder import RunFolder, find_run
from ..training_log import series
from .embedding import embed
from .findings import find
from .rows import PackedRollouts, choose_groups
from .statistics import RunStatistics, in_points


DEFAULT_MAX_ROLLOUTS = 10_000


class Report(NamedTuple):
    """
    What [`write_report`] wrote: where, how large (bytes), and how many of the rollouts can be browsed. A notebook
    shows the page itself.
    """

    path: Path
    size: int
    shown: int
    total: int

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"))
        # Scripts may run in the frame, but it has no part in the notebook around it.
        return f'<iframe srcdoc="{page}" sandbox="allow-scripts" width="100%" height="800" frameborder="0"></iframe>'


def write_report(
    run_dir: str | Path, path: str | Path = "report.html", *, max_rollouts: int = DEFAULT_MAX_ROLLOUTS
) -> Report:
    """
    Write one self-contained HTML page on a run: it opens from disk and loads nothing.

    Curves and tables are of all rollouts; those to browse are packed into the page. Everything that a model or a data
    set wrote is shown as text and never becomes markup.

    Args:
        run_dir (`str` or `Path`):
            The run's `output_dir`, with `_rollouts/` and, where there is one, the trainer's log.
        path (`str` or `Path`, *optional*, defaults to `"report.html"`):
            The file to write.
        max_rollouts (`int`, *optional*, defaults to `10000`):
            How many rollouts can be browsed at most. Of more, whole groups at equal distances are taken.

    Returns:
        [`Report`]: as the last expression of a notebook's cell it shows the page.

    Raises:
        `FileNotFoundError`: when the folder holds no run.

    Example:

    ```python
    # not run: needs a run
    from trl_srl import write_report

    write_report("runs/srl", "report.html")
    ```
    """
    if max_rollouts < 1:
        raise ValueError(f"max_rollouts={max_rollouts} leaves nothing to browse. Write 1 or more.")
    run = find_run(run_dir)
    asked = Path(run_dir).resolve()
    title = asked.name if run.path.resolve() == asked else f"{asked.name}/{run.path.name}"
    data = report_data(run, title, max_rollouts)
    page = embed(data)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(page)
    return Report(path, len(page), data["counts"]["shown"], data["counts"]["total"])


def report_data(run: RunFolder, title: str, max_rollouts: int) -> dict[str, Any]:
    """Everything the page shows, as JSON."""
    chosen, total = choose_groups(run.rollouts, max_rollouts)
    statistics, packed, shown = RunStatistics(), PackedRollouts(), 0
    for file in run.rollouts:
        rows = pq.read_table(file).to_pylist()
        statistics.add(rows)
        for row in rows:
            if (row["split"], row["step"], row["group"]) in chosen:
                packed.add(row)
                shown += 1
    curves = statistics.curves()
    splits = [
        {
            "name": split,
            "ends": (ends := statistics.ends(split)),
            "by_step_index": statistics.by_step_index(split),
            "verdicts": statistics.verdicts[split],
            "findings": [finding._asdict() for finding in find(ends, curves[split].get("acceptance"))],
        }
        for split in statistics.splits()
    ]
    return {
        "title": title,
        "counts": {"shown": shown, "total": total, "sampling": statistics.sampling},
        "splits": splits,
        "curves": curves,
        "log": _log_series(run.log),
        "rollouts": packed.as_json(),
    }


def _log_series(log: list[dict[str, Any]]) -> dict[str, list[list[float]]]:
    """Every number of the trainer's log: name → [steps, values]."""
    curves: dict[str, list[list[float]]] = {}
    for name in sorted({name for entry in log for name in entry} - {"step", "epoch"}):
        steps, values = series(log, name)
        if len(steps) > 1:
            curves[name] = [
                [points[-1] for points in in_points(steps)],
                [sum(points) / len(points) for points in in_points(values)],
            ]
    return curves
