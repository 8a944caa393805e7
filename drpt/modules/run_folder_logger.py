"""A Lightning logger that writes a run's metrics to its folder: what tables and charts read."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import Logger

from drpt.journal import Journal


class RunFolderLogger(Logger):
    """Appends ``{"step": …, "name": …, "value": …}`` lines to ``metrics.jsonl``.

    Args:
        journal: File of metrics; see `drpt.metrics`.
    """

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return self._journal.path.parent.name

    @property
    def version(self) -> str:
        """No version: a folder holds one run."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: object, **kwargs: object) -> None:
        """Nothing to do: ``config.yaml`` has them."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write one line for each metric, all of them at once."""
        self._journal.append({"step": step, "name": name, "value": float(value)} for name, value in metrics.items())

    def finalize(self, status: str) -> None:
        """Make sure that the metrics are on the disk."""
        self._journal.sync()
