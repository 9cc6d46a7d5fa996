"""What an interrupted evaluation has done: a line of JSON for each finished chunk, written whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any


class Journal:
    """
    A file of finished chunks of work.

    The first line holds what the work is; every further line is a chunk, numbered from zero. A line that was not
    written to its end (power, SIGKILL) is dropped when the journal is opened again.

    Args:
        path (`Path`):
            The file.
        identity (`dict`):
            Everything the results depend on. A journal of other work is refused.

    Attributes:
        chunks (`list`): What was finished when the journal was opened.

    Raises:
        `ValueError`: when the file belongs to other work.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        identity = json.loads(json.dumps(identity))  # as it comes back from the file
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        if len(whole) < len(lines):
            with path.open("r+b") as file:
                file.truncate(sum(map(len, whole)))
        found = json.loads(whole[0]) if whole else identity
        changed = sorted(name for name in {*found, *identity} if found.get(name) != identity.get(name))
        if changed:
            raise ValueError(
                f"{self.path.parent} holds an unfinished evaluation that differs in {', '.join(changed)}. Choose "
                f"another output folder, or delete {self.path} to begin anew."
            )
        if not whole:
            self.append(identity)
        self.chunks = [json.loads(line) for line in whole[1:]]

    def append(self, chunk: Any) -> None:
        """Add a finished chunk; it is on the disk when this returns."""
        with self.path.open("ab") as file:
            file.write(json.dumps(chunk).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
