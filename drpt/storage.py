"""Error messages for failed writes: one line with the path, the reason and the remedy. Used by everything that writes files."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_IN_THE_WAY = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY}
_ELSEWHERE = "or use another folder: a copy, another sweep=… or runs_folder=…"


class StorageError(ValueError):
    """A file or folder cannot be written; the message has its path, the reason and the remedy."""


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn a failed write in the body into a message that the user can act on.

    Args:
        path: File or folder that the body writes.

    Yields:
        Nothing.

    Raises:
        StorageError: The disk is full, writing is not permitted, or the path is blocked by a file or folder.
        RuntimeError: Raised in the body by something other than torch's writer.
    """
    failure = None
    try:
        yield
    except OSError as error:
        failure = error
    except RuntimeError as error:
        # torch's writer hides the cause: it raises an error of its own after the failed write.
        if isinstance(error.__context__, OSError):
            failure = error.__context__
        elif "PytorchStreamWriter" in str(error) or "inline_container" in str(error):
            failure = OSError(_likely_cause(path), "writing failed")
        else:
            raise
    if failure is not None:
        raise StorageError(explain_failure(path, failure)) from failure


def explain_failure(path: Path, error: OSError) -> str:
    """Explain why a path could not be written, and what to do.

    Args:
        path: File or folder that could not be written.
        error: Error of the operating system.

    Returns:
        Path, reason and remedy in one line.
    """
    number = error.errno
    reason = _reason(error)
    if number in _FULL:
        free = _free_bytes(path)
        left = "" if free is None else f" (without this file, {free / 2**20:.0f} MiB are free)"
        return f"{path}: the disk or your quota is full{left}. Make room and give the command again, {_ELSEWHERE}"
    if number == errno.EFBIG:
        return f"{path}: exceeds the largest permitted file size (`ulimit -f`). Raise the limit and give the command again."
    if number in _FORBIDDEN:
        return f"{path}: writing is not permitted ({reason}). Make {_existing(path)} writable, {_ELSEWHERE}"
    if number in _IN_THE_WAY:
        blocking = _in_the_way(path)
        found, wanted = ("a folder", "a file") if blocking.is_dir() else ("a file", "a folder")
        return f"{blocking}: this is {found}, but {wanted} is needed there. Move it away, {_ELSEWHERE}"
    return f"{path}: cannot be written ({reason}). Remove the cause and give the command again, {_ELSEWHERE}"


def require_folder(path: Path) -> None:
    """Check, without creating it, that a folder can be created and written to.

    Args:
        path: Path of the folder, which need not exist.

    Raises:
        StorageError: The path or one of its parents is a file, or the nearest existing parent is not writable.
    """
    blocking = _in_the_way(path)
    if blocking.exists() and not blocking.is_dir():
        raise StorageError(explain_failure(path, NotADirectoryError(errno.ENOTDIR, "Not a directory")))
    existing = _existing(path / "file")
    if not os.access(existing, os.W_OK | os.X_OK):
        is_fixed = bool(os.statvfs(existing).f_flag & os.ST_RDONLY)
        number = errno.EROFS if is_fixed else errno.EACCES
        raise StorageError(explain_failure(path, OSError(number, os.strerror(number))))


def require_file(path: Path) -> None:
    """Check that no folder is in the place of a file.

    Args:
        path: Path of the file, which need not exist.

    Raises:
        StorageError: The path is a folder.
    """
    if path.is_dir():
        raise StorageError(explain_failure(path, IsADirectoryError(errno.EISDIR, "Is a directory")))


def explain_os_error(error: OSError) -> str:
    """Explain any error of the operating system.

    Args:
        error: Error of the operating system, with or without a path.

    Returns:
        Path, reason and remedy in one line.
    """
    if error.filename is None:  # such as an error of the standard output
        if error.errno == errno.ENOENT:
            return "The current folder no longer exists: change to another one."
        return f"the output cannot be written ({_reason(error)}): check where it is redirected to."
    path = Path(os.fsdecode(error.filename))
    return f"{path} does not exist." if error.errno == errno.ENOENT else explain_failure(path, error)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _existing(path: Path) -> Path:
    """The nearest parent folder that exists."""
    return next((parent for parent in path.absolute().parents if parent.is_dir()), path)


def _in_the_way(path: Path) -> Path:
    """What blocks the path: a parent that is a file, or the path itself."""
    return next((parent for parent in reversed(path.parents) if os.path.lexists(parent) and not parent.is_dir()), path)


def _free_bytes(path: Path) -> int | None:
    try:
        return shutil.disk_usage(_existing(path)).free
    except OSError:
        return None


def _likely_cause(path: Path) -> int:
    """The likely error number of a write that failed without one."""
    free = _free_bytes(path)
    return errno.ENOSPC if free is not None and free < 2**20 else errno.EIO
