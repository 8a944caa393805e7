"""Writing what a command has worked out: a file that cannot be written is named, and the others are written."""

from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from drpt.files import write_atomically
from drpt.storage import StorageError, explain_failure


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
        except (StorageError, OSError) as error:
            status = 1
            fault = explain_failure(path, error) if isinstance(error, OSError) else str(error)
            Console(stderr=True, highlight=False).print(fault, style="yellow", markup=False, soft_wrap=True)
    return status
