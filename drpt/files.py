"""Writing files that are either whole or not there."""

import os
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside the place and rename: a crash leaves the old file, or none, never half of the new one.

    Args:
        path: Its folder is made if needed.
        content: Text (written as UTF-8) or bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}.part")
    half.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(half, path)
