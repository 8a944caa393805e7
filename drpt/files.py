"""Writing files that are either whole or not there, and reading what is appended line by line."""

import errno
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PART = ".part"  # how the name of an unfinished file ends; it begins with a dot
_FORGOTTEN_SECONDS = 3600.0  # an unfinished file of this age belongs to no living process
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_IN_THE_WAY = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY}


class StorageError(ValueError):
    """A file or folder cannot be written; the message names it, the reason and the way out."""


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Tell failures to write in a line that a user can act on.

    Args:
        path: The file or folder that is written.

    Yields:
        Nothing.

    Raises:
        StorageError: The disk is full, the place may not be written to, or something else stands there.
        RuntimeError: Raised inside, and nothing of torch's writer.
    """
    failure = None
    try:
        yield
    except OSError as error:
        failure = error
    except RuntimeError as error:
        # torch hides the cause: its writer stumbles over what was not written before it hands the error on.
        if isinstance(error.__context__, OSError):
            failure = error.__context__
        elif "PytorchStreamWriter" in str(error) or "inline_container" in str(error):
            failure = OSError(_likely_cause(path), "it could not be written")
        else:
            raise
    if failure is not None:
        raise StorageError(explain_failure(path, failure)) from failure


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside the place and rename: a crash leaves the old file, or none, never half of the new one.

    Content and name are on the disk when this returns, so that neither is lost with the machine's power.

    Args:
        path: Destination; its folder is made if needed.
        content: Text (written as UTF-8) or bytes.

    Raises:
        StorageError: It cannot be written; what was there before is still there.
    """
    half = path.with_name(f".{path.name}.{_host()}.{os.getpid()}{PART}")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with half.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
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


def explain_failure(path: Path, error: OSError) -> str:
    """What an operating system's error means for whoever wanted to write, and the way out.

    Args:
        path: The file or folder that could not be written.
        error: What was raised.

    Returns:
        Path, reason and way out in a line.
    """
    number = error.errno
    if number in _FULL:
        free = _free_bytes(path)
        left = "" if free is None else f" ({free / 2**20:.0f} MiB free)"
        text = (
            f"{path}: the disk or your quota is full{left}. Make room and give the command again, or take another runs_folder=…"
        )
    elif number == errno.EFBIG:
        text = f"{path}: larger than a file may be here (`ulimit -f`). Raise the limit and give the command again."
    elif number in _FORBIDDEN:
        text = (
            f"{path}: may not be written ({_reason(error)}). Give yourself the right to write to {_existing(path)}, or take "
            "another runs_folder=…"
        )
    elif number in _IN_THE_WAY:
        blocking = _in_the_way(path)
        kinds = ("a folder", "a file") if blocking.is_dir() else ("a file", "a folder")
        text = (
            f"{blocking}: {kinds[0]} stands where {kinds[1]} should be. Move it away, or take another sweep=… or runs_folder=…"
        )
    else:
        text = (
            f"{path}: cannot be written ({_reason(error)}). Mend that and give the command again, or take another runs_folder=…"
        )
    return text


def require_folder(path: Path) -> None:
    """Refuse a place where a folder is to be written to, and cannot be.

    Args:
        path: Folder's path; need not exist.

    Raises:
        StorageError: It, or a folder above it, is a file, or the first of them that exists may not be written to.
    """
    blocking = _in_the_way(path)
    if blocking.exists() and not blocking.is_dir():
        raise StorageError(explain_failure(path, NotADirectoryError(errno.ENOTDIR, "Not a directory")))
    existing = _existing(path / "file")
    if not os.access(existing, os.W_OK | os.X_OK):
        is_fixed = bool(os.statvfs(existing).f_flag & os.ST_RDONLY)
        number = errno.EROFS if is_fixed else errno.EACCES
        raise StorageError(explain_failure(path, OSError(number, os.strerror(number))))


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _existing(path: Path) -> Path:
    """The nearest folder above that exists."""
    return next((parent for parent in path.absolute().parents if parent.is_dir()), path)


def _in_the_way(path: Path) -> Path:
    """What is there and of the wrong kind: a file among the folders above, or the place itself."""
    return next((parent for parent in reversed(path.parents) if os.path.lexists(parent) and not parent.is_dir()), path)


def _free_bytes(path: Path) -> int | None:
    try:
        return shutil.disk_usage(_existing(path)).free
    except OSError:
        return None


def _likely_cause(path: Path) -> int:
    """The error of a writer that does not tell."""
    free = _free_bytes(path)
    return errno.ENOSPC if free is not None and free < 2**20 else errno.EIO
