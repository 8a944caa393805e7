"""Writing what a command has worked out: a file that cannot be written is named, and the others are written."""

from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from drpt.files import write_atomically
from drpt.write_faults import os_error_of, write_fault


def write_results(files: Mapping[Path, Callable[[], str | bytes]], console: Console) -> int:
    """Write files, and tell where they are.

    Args:
        files: The contents of each, made when it is its turn.
        console: Where paths are printed; faults go to the standard error.

    Returns:
        0; 1 when a file could not be written.

    Raises:
        ValueError: Contents could not be made, for another reason than the disk.
        OSError: Never; whatever the disk refuses is told.
    """
    status = 0
    for path, make in files.items():
        try:
            write_atomically(path, make())
            console.print(f"{path.name}: {path}", markup=False, soft_wrap=True)
        except (OSError, ValueError) as error:
            if (cause := os_error_of(error)) is None:
                raise
            status = 1
            Console(stderr=True, highlight=False).print(write_fault(cause, path), style="yellow", markup=False, soft_wrap=True)
    return status
