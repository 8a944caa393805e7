"""What to say, in one line, of a file that cannot be written."""

import errno
import os
from pathlib import Path

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LEAVE = {errno.EACCES, errno.EPERM, errno.EROFS}


def write_fault(error: OSError, path: Path) -> str:
    """The path, the cause and the remedy.

    Args:
        error: What writing raised.
        path: The file or folder that was to be written.

    Returns:
        One line without a full stop at its end.
    """
    in_the_way = next((parent for parent in path.parents if parent.exists() and not parent.is_dir()), None)
    if in_the_way is not None:
        return f"{path} cannot be written: {in_the_way} is a file where a folder should be; move it away"
    if path.is_dir() and error.errno in {errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EPERM, errno.EACCES}:
        return f"{path} cannot be written: it is a folder where a file should be; move it away"
    reason = error.strerror or str(error)
    if error.errno in _NO_ROOM:
        return f"{path} cannot be written ({reason}): make room on that disk"
    if error.errno in _NO_LEAVE:
        return f"{path} cannot be written ({reason}): make the folder writable, or copy it to a place that is"
    if error.errno == errno.ENAMETOOLONG:
        return f"{path} cannot be written ({reason}): take a shorter name"
    return f"{path} cannot be written ({reason}): see to the disk"


def os_error_of(error: BaseException) -> OSError | None:
    """The operating system's error that another one is, or was raised from; None where there is none."""
    if isinstance(error, OSError):
        return error
    return error.__cause__ if isinstance(error.__cause__, OSError) else None


def place_fault(folder: Path) -> str | None:
    """Whether files can be made in a folder, as far as can be told without making one.

    Args:
        folder: The folder; need not exist.

    Returns:
        The path, the cause and the remedy; None where nothing speaks against it.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        return f"{folder} cannot be made: {there} is a file where a folder should be; move it away"
    if not os.access(there, os.W_OK | os.X_OK):
        return write_fault(PermissionError(errno.EACCES, os.strerror(errno.EACCES)), folder)
    return None


def os_fault(error: OSError) -> str:
    """One line about any error of the operating system: the path that it names, if it names one, and the cause."""
    if error.filename is None:  # as of what is printed
        return f"the output cannot be written ({error.strerror or error}): see where it goes to"
    if error.errno == errno.ENOENT:
        return f"{error.filename} is not there"
    return write_fault(error, Path(os.fsdecode(error.filename)))
