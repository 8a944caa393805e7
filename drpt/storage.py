"""What becomes of a failure to write: a line that names the path, the reason and the way out."""

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
        RuntimeError: Raised in the body by anything but torch's writer.
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


def explain_failure(path: Path, error: OSError) -> str:
    """What an operating system's error means for whoever wanted to write, and the way out.

    Args:
        path: The file or folder that could not be written.
        error: What was raised.

    Returns:
        Path, reason and way out in a line.
    """
    number = error.errno
    reason = _reason(error)
    if number in _FULL:
        free = _free_bytes(path)
        left = "" if free is None else f" (without this file, {free / 2**20:.0f} MiB are free)"
        return f"{path}: the disk or your quota is full{left}. Make room and give the command again, {_ELSEWHERE}"
    if number == errno.EFBIG:
        return f"{path}: larger than a file may be here (`ulimit -f`). Raise the limit and give the command again."
    if number in _FORBIDDEN:
        right = f"Give yourself the right to write to {_existing(path)}"
        return f"{path}: may not be written ({reason}). {right}, {_ELSEWHERE}"
    if number in _IN_THE_WAY:
        blocking = _in_the_way(path)
        stands, wanted = ("a folder", "a file") if blocking.is_dir() else ("a file", "a folder")
        return f"{blocking}: {stands} stands where {wanted} should be. Move it away, {_ELSEWHERE}"
    return f"{path}: cannot be written ({reason}). Mend that and give the command again, {_ELSEWHERE}"


def require_folder(path: Path) -> None:
    """Refuse a place where a folder is to be written to, and cannot be, as far as can be told without making it.

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


def require_file(path: Path) -> None:
    """Refuse a place where a file is to be written, and a folder stands.

    Args:
        path: File's path; need not exist.

    Raises:
        StorageError: It is a folder.
    """
    if path.is_dir():
        raise StorageError(explain_failure(path, IsADirectoryError(errno.EISDIR, "Is a directory")))


def explain_os_error(error: OSError) -> str:
    """What any error of the operating system means, in a line: of the path that it names, if it names one.

    Args:
        error: What was raised.

    Returns:
        Path, reason and way out.
    """
    if error.filename is None:  # as of what is printed
        if error.errno == errno.ENOENT:
            return "The folder that this command was given in is not there any more: change to one that is."
        return f"the output cannot be written ({_reason(error)}): see where it goes to."
    path = Path(os.fsdecode(error.filename))
    return f"{path} is not there." if error.errno == errno.ENOENT else explain_failure(path, error)


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
