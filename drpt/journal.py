"""A file of JSON lines that grows with a run, and of which a checkpoint knows what it must hold."""

import hashlib
import json
import os
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from drpt.files import write_atomically
from drpt.storage import storing

State = Mapping[str, Any]  # Any: JSON values; of `Journal.state`


class Journal:
    """Appends JSON lines, and counts and sums them up.

    Args:
        path: The file; its folder is made if needed.
        state: What the file holds of a run that goes on (see `state`; `fault` has said that it does): what follows is from
            work that was lost, and is cut off. None begins an empty file.

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
        """A journal with these lines alone, for runs whose checkpoints do not know of it.

        Args:
            path: The file.
            lines: JSON objects.

        Returns:
            The journal, open for more.
        """
        write_atomically(path, _encoded(lines))
        return cls(path, {"bytes": path.stat().st_size})

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write lines; the system has them when this returns, the disk after `sync`.

        Args:
            lines: JSON objects.

        Raises:
            StorageError: They cannot be written; the journal's state is as it was before.
        """
        content = _encoded(lines)
        with storing(self._path):
            rest = memoryview(content)
            while rest:
                rest = rest[self._file.write(rest) :]
        self._count(content)

    def state(self) -> dict[str, Any]:
        """What the file holds: ``lines``, ``bytes`` and their ``sha256``; plain values for a checkpoint."""
        return {"lines": self._num_lines, "bytes": self._num_bytes, "sha256": self._digest.hexdigest()}

    def sync(self) -> None:
        """Bring it to the disk.

        Raises:
            StorageError: It cannot be brought there.
        """
        with storing(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """No more lines will come."""
        self._file.close()

    def _count(self, content: bytes) -> None:
        self._num_lines += content.count(b"\n")
        self._num_bytes += len(content)
        self._digest.update(content)


def fault(path: Path, state: State) -> str | None:
    """What is wrong with a file that should begin with what a journal once held.

    Args:
        path: The file; may be missing.
        state: See `Journal.state`.

    Returns:
        A part of a sentence with the file's name, or None where all is there.
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
