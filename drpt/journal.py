"""Append-only JSON Lines files of a run (metrics, rollouts) whose length and checksum are stored in every checkpoint.

Loggers write through `Journal`; resuming checks a file with `fault` and truncates it to the checkpoint.
"""

import hashlib
import json
import os
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from drpt.files import write_atomically
from drpt.storage import storing

State = Mapping[str, Any]  # what `Journal.state` returns. Any: JSON values


class Journal:
    """Appends JSON lines to a file, and keeps their number, size and checksum.

    Args:
        path: File to write; its folder is created if needed.
        state: State from the checkpoint of a resumed run (see `state`), checked with `fault` before. Lines after it belong to
            steps that will be repeated and are cut off. None begins an empty file.

    Raises:
        StorageError: The file cannot be written.
    """

    def __init__(self, path: Path, state: State | None = None) -> None:
        self._path = path
        self._num_lines = 0
        self._num_bytes = 0
        self._digest = hashlib.sha256()
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            weakref.finalize(self, self._file.close)
            if state is not None:
                self._count(path.read_bytes()[: state["bytes"]])
            self._file.truncate(self._num_bytes)

    @classmethod
    def of(cls, path: Path, lines: Iterable[Mapping[str, Any]]) -> "Journal":
        """A new journal that begins with the given lines, for runs whose checkpoints have no state of it.

        Args:
            path: File to write.
            lines: First lines, as JSON objects.

        Returns:
            The journal, open for more.
        """
        write_atomically(path, _encoded(lines))
        return cls(path, {"bytes": path.stat().st_size})

    @property
    def path(self) -> Path:
        """The journal's file."""
        return self._path

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write lines to the operating system; only `sync` brings them to disk.

        Args:
            lines: Lines to append, as JSON objects.

        Raises:
            StorageError: The lines cannot be written; the journal's state is unchanged.
        """
        content = _encoded(lines)
        with storing(self._path):
            rest = memoryview(content)
            while rest:
                rest = rest[self._file.write(rest) :]
        self._count(content)

    def state(self) -> dict[str, Any]:
        """Number of ``lines``, number of ``bytes`` and their ``sha256``, as plain values for a checkpoint."""
        return {"lines": self._num_lines, "bytes": self._num_bytes, "sha256": self._digest.hexdigest()}

    def sync(self) -> None:
        """Sync the file to disk.

        Raises:
            StorageError: The file cannot be synced.
        """
        with storing(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; no more lines can be appended."""
        self._file.close()

    def _count(self, content: bytes) -> None:
        self._num_lines += content.count(b"\n")
        self._num_bytes += len(content)
        self._digest.update(content)


def fault(path: Path, state: State) -> str | None:
    """Check that a file begins with the lines that a journal held at a checkpoint.

    Args:
        path: File to check; it may be missing.
        state: State of the journal at the checkpoint, from `Journal.state`.

    Returns:
        Description of the fault that begins with the file's name, or None if there is none.
    """
    wanted = f"the {state['lines']} lines that were written before the checkpoint"
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"{path.name} lacks {wanted} ({(error.strerror or 'it cannot be read').lower()})"
    if len(content) < state["bytes"]:
        return f"{path.name} has {content.count(bytes([10]))} of {wanted}"
    if hashlib.sha256(content[: state["bytes"]]).hexdigest() != state["sha256"]:
        return f"{path.name} begins with other lines than {wanted}"
    return None


def _encoded(lines: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()
