"""Named adapters: the data sets that people train on, by their real column names, → trajectory rows.

One file for each family. Every adapter is a pure function of one row, so that streams, several processes and millions
of rows are all alike. What cannot be used stays a row with a `drop_reason`, which `format_trajectories` counts.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..step_rows import column_names, map_rows
from . import agents, champ, gsm, solutions, stepwise
from .adapter import Adapter


if TYPE_CHECKING:
    from datasets import Dataset, Features, IterableDataset

    DatasetT = TypeVar("DatasetT", Dataset, IterableDataset)

__all__ = ["ADAPTERS", "Adapter", "adapt", "fitting_adapters"]

ADAPTERS: dict[str, Adapter] = {
    adapter.name: adapter for family in (solutions, stepwise, gsm, champ, agents) for adapter in family.ADAPTERS
}


def fitting_adapters(columns: Iterable[str]) -> list[str]:
    """
    Names of the adapters that could read a data set with these columns, those that need most of them first.

    ```python
    >>> from trl_srl.adapters import fitting_adapters
    >>> fitting_adapters(["question", "answer"])
    ['gsm8k']

    ```
    """
    columns = set(columns)
    fitting = [adapter for adapter in ADAPTERS.values() if adapter.fits(columns)]
    return [adapter.name for adapter in sorted(fitting, key=lambda adapter: -len(adapter.columns))]


def adapt(dataset: "DatasetT", name: str, *, num_proc: int | None = None, **options: Any) -> "DatasetT":
    """
    Turn the rows of a known data set into trajectory rows.

    Args:
        dataset ([`~datasets.Dataset`] or [`~datasets.IterableDataset`]):
            The data set as it is on the Hub, or rows with the same columns.
        name (`str`):
            Name of an adapter, a key of `ADAPTERS`.
        num_proc (`int`, *optional*):
            Processes for a map-style dataset.
        **options:
            The adapter's options: for solutions `style` ([`split_steps`]), for `s1k` also `only_correct`, for stepwise
            data `only_finished`, for agents `action_format` and `max_observation_length` ([`read_messages`]).

    Returns:
        The same kind of dataset with trajectory rows, one for each row, for [`format_trajectories`]: `problem` or
        `prompt`, `steps`, and `drop_reason`, which is not empty where the row cannot be used.

    Raises:
        `ValueError`: if there is no such adapter, or the columns do not fit it; `TypeError`: for an unknown option.

    Example:

    ```python
    >>> from datasets import Dataset
    >>> from trl_srl import adapt
    >>> row = {"question": "Two and two?", "answer": "Two and two are 2+2=<<2+2=4>>4.\\n#### 4"}
    >>> adapt(Dataset.from_list([row]), "gsm8k")[0]["steps"]
    [{'title': '', 'body': 'Two and two are 2+2=4.'}, {'title': '', 'body': 'The answer is 4.'}]

    ```
    """
    columns = column_names(dataset)
    fitting = fitting_adapters(columns)
    described = "; ".join(f"{fit} ({ADAPTERS[fit].description})" for fit in fitting)
    would_fit = f"These adapters would fit: {described}." if fitting else "No adapter fits."
    if name not in ADAPTERS:
        raise ValueError(f"There is no adapter {name!r}; write one of {', '.join(ADAPTERS)}. {would_fit}")
    adapter = ADAPTERS[name]
    if not adapter.fits(columns):
        missing = sorted(set(adapter.columns) - set(columns))
        raise ValueError(
            f"The adapter {name!r} needs the columns {list(adapter.columns)}, but {missing} are missing. Found: "
            f"{sorted(columns)}. {would_fit} Other names: dataset.rename_columns; a solution in one text: "
            "trl_srl.split_solutions, or `trl-srl prepare --solution_column`."
        )
    unknown = sorted(set(options) - set(adapter.options))
    if unknown:
        known = ", ".join(adapter.options) or "none"
        raise TypeError(f"The adapter {name!r} has no option {', '.join(unknown)}. Its options: {known}.")
    convert = partial(_convert, adapter=adapter, options=options)
    return map_rows(dataset, convert, _features(adapter.kind), f"Adapting {name}", num_proc)


def _convert(row: Mapping[str, Any], adapter: Adapter, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [adapter.convert(row, **options)]


def _features(kind: str) -> "Features":
    from datasets import Features, Value

    # Given explicitly: a first batch that is dropped, or has no answer, must not decide the types.
    text, count = Value("string"), Value("int32")
    if kind == "agent":
        return Features(
            {
                "prompt": [{"role": text, "content": text}],
                "steps": [{"action": text, "observation": text}],
                "action_format": text,
                "skipped_turns": count,
                "cut_observations": count,
                "drop_reason": text,
            }
        )
    columns = {"problem": text, "steps": [{"title": text, "body": text}], "answer": text}
    if kind == "stepwise":
        columns["labels"] = [Value("bool")]
    return Features({**columns, "drop_reason": text})
