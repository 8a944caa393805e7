"""A run's metrics on disk: one JSON line a figure."""

import json
from pathlib import Path
from typing import Any

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
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(f"{path}:{number}: not a line of metrics ({error.msg}).") from error
    return records
