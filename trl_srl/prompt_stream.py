"""Where the prompts of refill rounds come from."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from datasets import Dataset, IterableDataset


class PromptStream:
    """
    Rows for refill rounds: shuffled, without replacement within a pass, in the same order on every process.

    A stream of its own, so that epochs, `max_steps` and the schedule of the batches stay TRL's. A map-style dataset is
    read through a permutation of its own seed, an iterable one is streamed a second time. `epoch` and `position` say
    where it stands; set before the first `take`, they say where it starts.
    """

    def __init__(self, dataset: Dataset | IterableDataset, seed: int):
        self.dataset, self.seed = dataset, seed
        self.epoch = self.position = 0
        self._rows: Iterator[Mapping[str, Any]] | None = None

    def _open(self) -> Iterator[Mapping[str, Any]]:
        if isinstance(self.dataset, Dataset):
            generator = torch.Generator().manual_seed(self.seed + self.epoch)
            order = torch.randperm(len(self.dataset), generator=generator)[self.position :]
            return (self.dataset[index] for index in order.tolist())
        return iter(self.dataset.shuffle(seed=self.seed + self.epoch).skip(self.position))

    def take(self, count: int) -> list[dict[str, Any]]:
        """The next `count` rows, beginning another pass when the data ends."""
        rows: list[dict[str, Any]] = []
        while len(rows) < count:
            self._rows = self._rows or self._open()
            row = next(self._rows, None)
            if row is not None:
                rows.append(dict(row))
                self.position += 1
            elif self.position:
                self.epoch, self.position, self._rows = self.epoch + 1, 0, None
            else:
                raise RuntimeError("The training data has no row to refill a batch with.")
        return rows
