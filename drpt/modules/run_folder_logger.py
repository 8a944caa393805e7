"""A Lightning logger that writes a run's metrics to its folder: what tables and charts read."""

import json
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from drpt.files import write_atomically
from drpt.metrics import METRICS_FILE, read_metrics


class RunFolderLogger(Logger):
    """Appends ``{"step": …, "name": …, "value": …}`` lines to ``metrics.jsonl``, each flushed at once.

    Args:
        folder: The run's.
        resume_step: Lines of later steps are from work that was lost with an interruption; they are removed. The step
            itself stays, with what was measured after it.
    """

    def __init__(self, folder: Path, *, resume_step: int) -> None:
        super().__init__()
        self._folder = folder
        path = folder / METRICS_FILE
        kept = [line for line in read_metrics(path) if line["step"] <= resume_step] if resume_step else []
        write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a")

    @property
    def name(self) -> str:
        """The folder's name."""
        return self._folder.name

    @property
    def version(self) -> str:
        """None: a folder holds one run."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: object, **kwargs: object) -> None:
        """Nothing to do: ``config.yaml`` has them."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write one line a metric."""
        for name, value in metrics.items():
            self._file.write(json.dumps({"step": step, "name": name, "value": float(value)}) + "\n")
        self._file.flush()

    def finalize(self, status: str) -> None:
        """Make sure that it is on the disk."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """No more metrics will come."""
        self._file.close()
