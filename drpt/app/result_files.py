"""Writes the result files of a command; a file that cannot be written is reported, and the others are written."""

from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from drpt.files import write_atomically
from drpt.storage import StorageError, explain_failure


def write_results(files: Mapping[Path, Callable[[], str | bytes]], console: Console) -> int:
    """Write files and print their paths.

    Args:
        files: Functions that produce the contents, by path; each is called just before its file is written.
        console: Console for paths; errors go to standard error.

    Returns:
        The exit status: 0, or 1 if a file could not be written.

    Raises:
        ValueError: The contents of a file could not be produced.
        OSError: Never; failed writes are reported.
    """
    status = 0
    for path, make in files.items():
        try:
            write_atomically(path, make())
            console.print(f"{path.name}: {path}", markup=False, soft_wrap=True)
        except (StorageError, OSError) as error:
            status = 1
            fault = explain_failure(path, error) if isinstance(error, OSError) else str(error)
            Console(stderr=True, highlight=False).print(fault, style="yellow", markup=False, soft_wrap=True)
    return status
