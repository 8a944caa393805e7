"""Writing files that are either whole or not there, and reading what is appended line by line."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from drpt.storage import storing

PART = ".part"  # how the name of an unfinished file ends; it begins with a dot
_FORGOTTEN_SECONDS = 3600.0  # an unfinished file of this age belongs to no living process


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside the place and rename: a crash leaves the old file, or none, never half of the new one.

    Content and name are on the disk when this returns, so that neither is lost with the machine's power.

    Args:
        path: Destination; its folder is made if needed.
        content: Text (written as UTF-8) or bytes.

    Raises:
        StorageError: It cannot be written; what was there before is still there.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, *, before: Callable[[], None] = lambda: None) -> Iterator[BinaryIO]:
    """Write a file beside its place, bring it to the disk, and rename it.

    Args:
        path: Destination; its folder is made if needed.
        before: Called when the new file is on the disk and has not its name yet.

    Yields:
        The file beside, open to be written.

    Raises:
        StorageError: It cannot be written; what was there before is still there.
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
    """Bring a folder's names to the disk; a renamed file may otherwise have its old name after a loss of power.

    Args:
        folder: Existing folder.
    """
    # Some network file systems open no folders, or sync none: there a rename is as safe as they make it.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_parts(folder: Path, *, is_ours: bool) -> None:
    """Remove unfinished files that processes left which were killed.

    Args:
        folder: Need not exist; folders below it are left alone.
        is_ours: Whether no other process can be writing there now; if not, files stay that a living process of this machine,
            or any process of another machine within the last hour, may be writing.
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
    except OSError:  # it is alive, and somebody else's
        return False
    return False


def _host() -> str:
    return socket.gethostname().replace("/", "_")


def append_line(path: Path, line: str) -> None:
    """Add a line at a file's end and bring it to the disk; a half line that a crash left stays a line of its own.

    Args:
        path: Destination; made if needed, with its folder.
        line: Text without a line's end.

    Raises:
        StorageError: It cannot be written.
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
    """All objects of a file with one a line; a last line that an interruption cut is left out.

    Args:
        path: Need not exist.
        content: What a line is, for the message.

    Returns:
        In the order of writing.

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
