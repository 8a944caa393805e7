"""Writing files that are either whole or not there, and reading what is appended line by line."""

import json
import os
from pathlib import Path
from typing import Any


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
    lines = path.read_text().splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(f"{path}:{number}: not a line of {content} ({error.msg}).") from error
    return records
