"""Atomic writing of files, and appending to and reading JSON Lines files; used by everything that stores results."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from drpt.storage import storing

PART = ".part"  # suffix of an unfinished file's name, which begins with a dot
_FORGOTTEN_SECONDS = 3600.0  # unfinished files older than this are taken to belong to no living process


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a temporary file and rename it, so that a crash leaves the old file or none, never a partial one.

    Content and name are synced to disk before this returns, so that a power failure loses neither.

    Args:
        path: Destination; its folder is created if needed.
        content: Text (written as UTF-8) or bytes.

    Raises:
        StorageError: The file cannot be written; a previous file is unchanged.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, *, before: Callable[[], None] = lambda: None) -> Iterator[BinaryIO]:
    """Open a temporary file for writing; at the end of the block, sync it to disk and rename it to ``path``.

    Args:
        path: Destination; its folder is created if needed.
        before: Function called after the temporary file is synced and before it is renamed.

    Yields:
        The temporary file, open for writing.

    Raises:
        StorageError: The file cannot be written; a previous file is unchanged.
    """
    half = path.with_name(f".{path.name}.{_host()}.{os.getpid()}{PART}")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with half.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            before()
            os.replace(half, path)
        except BaseException:
            with suppress(OSError):
                half.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to disk; without this, a renamed file may have its old name after a power failure.

    Args:
        folder: Existing folder.
    """
    # Some network file systems can neither open nor sync folders; renames there are as safe as the file system makes them.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_parts(folder: Path, *, is_ours: bool) -> None:
    """Remove temporary files that killed processes left behind.

    Args:
        folder: Folder to clean; it need not exist, and its subfolders are left alone.
        is_ours: Whether no other process can be writing there now. If False, files that a living process of this machine may
            be writing are kept, and files of other machines that are younger than an hour.
    """
    for path in folder.glob(f".*{PART}"):
        with suppress(OSError):
            is_old = time.time() - path.stat().st_mtime > _FORGOTTEN_SECONDS
            if is_ours or is_old or _is_of_a_dead_process(path):
                path.unlink()


def _is_of_a_dead_process(path: Path) -> bool:
    host, _, number = path.name.removesuffix(PART).rpartition(".")
    if not (host.endswith(f".{_host()}") and number.isdigit()):
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:  # the process is alive and belongs to another user
        return False
    return False


def _host() -> str:
    return socket.gethostname().replace("/", "_")


def append_line(path: Path, line: str) -> None:
    """Append a line to a file and sync it to disk; a partial last line left by a crash remains a separate line.

    Args:
        path: Destination; the file and its folder are created if needed.
        line: Text without a line break.

    Raises:
        StorageError: The line cannot be written.
    """
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            begin = ""
            if file.tell():
                file.seek(-1, os.SEEK_END)
                begin = "" if file.read(1) == b"\n" else "\n"
            file.write(f"{begin}{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())


def read_json_lines(path: Path, content: str) -> list[dict[str, Any]]:  # Any: JSON values
    """Read a JSON Lines file; a last line that an interruption truncated is left out.

    Args:
        path: File to read; a missing file counts as empty.
        content: Name of the records, for the error message.

    Returns:
        The objects in the order of writing.

    Raises:
        ValueError: A line other than the last is malformed.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                reason = error.msg if isinstance(error, json.JSONDecodeError) else "no UTF-8"
                raise ValueError(f"{path}:{number}: not a line of {content} ({reason}).") from error
    return records
