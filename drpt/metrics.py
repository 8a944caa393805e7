"""A run's metrics on disk: one JSON line a figure."""

from pathlib import Path
from typing import Any

from drpt.files import read_json_lines

METRICS_FILE = "metrics.jsonl"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines of a metrics file; a last line that an interruption cut is left out.

    Args:
        path: ``metrics.jsonl``; need not exist.

    Returns:
        ``{"step": int, "name": str, "value": float}`` in the order of writing.

    Raises:
        ValueError: A line other than the last is malformed.
    """
    return read_json_lines(path, "metrics")
