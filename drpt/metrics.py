"""Reading a run's metrics file, which has one JSON object per value."""

from pathlib import Path
from typing import Any

from drpt.files import read_json_lines

METRICS_FILE = "metrics.jsonl"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read a metrics file; a last line that an interruption truncated is left out.

    Args:
        path: Path of ``metrics.jsonl``; a missing file counts as empty.

    Returns:
        Records ``{"step": int, "name": str, "value": float}`` in the order of writing.

    Raises:
        ValueError: A line other than the last is malformed.
    """
    return read_json_lines(path, "metrics")
