"""Mirrors a run to Weights & Biases, with names, groups and tags that make dashboards group by regularizer and strength.

A job is one W&B run, whose id is stored in the job's folder. Each optimizer step is one row of the history and is sent when it
is complete. A resumed job sends the rows of ``metrics.jsonl`` that the server lacks, and none twice. Offline, W&B's file is
rewritten from ``metrics.jsonl`` and replaces those of earlier attempts. After the start, failures of W&B are only warnings.
"""

import logging
import os
import re
import shutil
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lightning.pytorch.loggers import Logger

from drpt.files import write_atomically
from drpt.run_identity import point_of
from drpt.tasks.run_spec import RunSpec

if TYPE_CHECKING:
    import wandb

_log = logging.getLogger(__name__)
_ID_FILE = "wandb_id.txt"
_ID = re.compile(r"[0-9a-z]{8,64}")
_LONGEST_TAG = 64
_INIT_SECONDS = 30.0  # time after which a server that has not answered counts as unreachable
_TRIES = 10  # attempts, one a second, to reuse the id of a run that could not be started online
_STEP = "trainer/global_step"  # metric of the x-axis


class WandbMirror(Logger):
    """A Lightning logger that sends one row for each optimizer step.

    Args:
        run: Started W&B run.
    """

    def __init__(self, run: "wandb.Run") -> None:
        super().__init__()
        self._run: wandb.Run | None = run  # None after a failure
        self._id, self._project = str(run.id), str(run.project)
        # State of the server: its last step, and how many rows more than steps it has (an earlier version sent partial rows).
        self._last_sent = int(run.summary.get(_STEP, -1)) if run.resumed else -1
        self._ahead = max(0, int(run.starting_step) - self._last_sent - 1) if run.resumed else 0
        self._row: dict[str, float] = {}
        self._row_step = -1

    @property
    def name(self) -> str:
        """The project."""
        return self._project

    @property
    def version(self) -> str:
        """The run's id."""
        return self._id

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: object, **kwargs: object) -> None:
        """Do nothing: the W&B run already has the configuration."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add values to the row of their step, which is sent when the next step begins."""
        assert step is not None
        if step != self._row_step:
            self._send()
            self._row, self._row_step = {}, step
        self._row |= metrics

    def replay(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Send the metrics of earlier steps that the run lacks.

        Args:
            lines: Records of ``metrics.jsonl`` in the order of writing.
        """
        for line in lines:
            self.log_metrics({line["name"]: line["value"]}, step=line["step"])

    def conclude(self, figures: Mapping[str, Mapping[str, float]], tables: Mapping[str, list[dict[str, Any]]]) -> None:
        """Write final figures and tables to the run's summary.

        Args:
            figures: Final figures from `drpt.analysis.run.summarize`.
            tables: Rows of plain values by name of the table; empty tables are left out.
        """
        self._send()
        self._try(lambda run: run.summary.update({f"final/{name}": value for name, value in figures["final"].items()}))
        found = {name: rows for name, rows in tables.items() if rows}
        self._try(
            lambda run: run.log({name: _table(rows) for name, rows in found.items()}, step=self._row_step + self._ahead + 1)
        )

    def close(self, *, exit_code: int, is_preempted: bool = False) -> None:
        """Finish the run, so that the next job of a sweep does not continue it.

        Args:
            exit_code: Exit code; 0 if the run took all its steps. Otherwise the last row may be incomplete and is not sent.
            is_preempted: Whether the run was stopped by a signal.
        """
        import wandb

        if is_preempted:
            self._try(lambda run: run.mark_preempting())
        self._try(lambda run: wandb.finish(exit_code=exit_code))
        self._run = None

    def _send(self) -> None:
        if self._row_step > self._last_sent:
            self._try(lambda run: run.log({_STEP: self._row_step, **self._row}, step=self._row_step + self._ahead))

    def _try(self, action: Callable[["wandb.Run"], object]) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except Exception as error:  # the run's own files have everything, so no failure of W&B may end the run
            self._run = None
            _log.warning(
                "W&B: %s; the run continues without it, and metrics.jsonl has everything", error or type(error).__name__
            )


def _table(rows: list[dict[str, Any]]) -> "wandb.Table":
    import wandb

    columns = list(rows[0])
    return wandb.Table(columns=columns, data=[[row[key] for key in columns] for row in rows])


def start_tracking(
    spec: RunSpec, config: dict[str, Any], folder: Path, lines: Iterable[Mapping[str, Any]]
) -> WandbMirror | None:
    """Start a W&B run, unless tracking is off.

    The run's group is its point (see `group_name`), so that dashboards average over the seeds of one point. Its name is the
    regularizer with its dials and the seed. Tags name sweep, task, model, data, set and partition. The whole configuration is
    available for filters, groups and axes.

    Args:
        spec: Configuration of the run.
        config: Configuration of the run in plain values, which W&B shows.
        folder: Folder of the run, below which W&B writes its files.
        lines: Metrics of earlier steps of a resumed job (see `WandbMirror.replay`).

    Returns:
        A Lightning logger, which the caller must close; None if tracking is off.

    Raises:
        ValueError: ``logger.mode=online`` without a login.
        wandb.Error: ``logger.mode=online`` and W&B cannot be reached.
    """
    if spec.logger.name == "off" or os.environ.get("WANDB_MODE") == "disabled":
        return None
    is_online = _is_online(spec.logger.mode)
    import wandb

    run_id = _id_of(folder)
    try:
        run = _start(spec, config, folder, run_id, online=is_online)
    except wandb.Error as error:
        if spec.logger.mode != "auto" or not is_online:
            raise
        _log.warning("W&B cannot be reached (%s); this run is kept offline: send it later with `wandb sync`", error)
        run, run_id = _start_offline(spec, config, folder, run_id)
    run.define_metric(_STEP)
    run.define_metric("*", step_metric=_STEP, step_sync=True)
    mirror = WandbMirror(run)
    mirror.replay(lines)
    _remove_pieces(folder, run_id, Path(run.dir).parent)
    return mirror


def _start(spec: RunSpec, config: dict[str, Any], folder: Path, run_id: str, *, online: bool) -> "wandb.Run":
    import wandb

    regularizer = spec.regularizer
    tags = {
        "sweep": spec.sweep,
        "task": spec.task.name,
        "model": spec.model.label,
        "data": spec.data.label,
        "set": regularizer.set,
        "partition": regularizer.partition,
    }
    return wandb.init(
        project=spec.logger.project,
        entity=spec.logger.entity,
        dir=folder,
        id=run_id,
        resume="allow" if online else None,
        mode="online" if online else "offline",
        name=f"{regularizer.label} seed={spec.seed}",
        group=group_name(regularizer.label, config),
        job_type=spec.task.name,
        tags=[f"{name}:{value}"[:_LONGEST_TAG] for name, value in tags.items()],
        config=config | {"regularizer_label": regularizer.label, "point": point_of(config)},
        settings=wandb.Settings(silent=True, init_timeout=_INIT_SECONDS),
    )


def _start_offline(spec: RunSpec, config: dict[str, Any], folder: Path, run_id: str) -> tuple["wandb.Run", str]:
    """Start a run offline after a failed online attempt, under a new id if the attempt does not release the old one."""
    try:
        return _once_the_attempt_has_ended(lambda: _start(spec, config, folder, run_id, online=False)), run_id
    except Exception as held:  # W&B raises errors of several classes
        if not _is_held(held):
            raise
    _log.warning("W&B's own process still holds the run's id; this part of the run is kept as a separate run")
    _remove_pieces(folder, run_id, None)
    run_id = uuid4().hex[:12]
    write_atomically(folder / _ID_FILE, run_id)
    return _start(spec, config, folder, run_id, online=False), run_id


def group_name(label: str, config: Mapping[str, Any]) -> str:
    """The group of a W&B run, which it shares with runs that differ in the seed alone.

    Args:
        label: Label of the regularizer with its dials.
        config: Configuration of the run in plain values.

    Returns:
        The label and the beginning of `drpt.run_identity.point_of`, which distinguishes points with the same label.
    """
    return f"{label} {point_of(config)[:6]}"


def _once_the_attempt_has_ended(start: "Callable[[], wandb.Run]") -> "wandb.Run":
    """Start a run, waiting until W&B's process has released the id of the failed online attempt."""
    import wandb

    for _ in range(_TRIES):
        wandb.teardown()
        try:
            return start()
        except Exception as error:  # W&B raises errors of several classes
            if not _is_held(error):
                raise
            time.sleep(1.0)
    wandb.teardown()
    return start()


def _is_held(error: Exception) -> bool:
    return "in use" in str(error)


def _id_of(folder: Path) -> str:
    """The id of the folder's W&B run, the same for every attempt at the job."""
    path = folder / _ID_FILE
    try:
        known = path.read_text().strip()
    except (OSError, ValueError):
        known = ""
    if _ID.fullmatch(known):
        return known
    folders = sorted((folder / "wandb").glob("*run-*-*"), key=lambda piece: piece.stat().st_mtime)
    run_id = folders[-1].name.rpartition("-")[2] if folders else uuid4().hex[:12]
    write_atomically(path, run_id)
    return run_id


def _remove_pieces(folder: Path, run_id: str, own: Path | None) -> None:
    """Remove offline files of earlier attempts, whose contents the new file or the server has."""
    for piece in (folder / "wandb").glob(f"offline-run-*-{run_id}"):
        if own is None or piece.resolve() != own.resolve():
            shutil.rmtree(piece, ignore_errors=True)


def is_logged_in() -> bool:
    """Whether W&B has credentials; they are not checked with its server."""
    import wandb

    return bool(wandb.login(prompt=False, verify=False))


def _is_online(mode: str) -> bool:
    environment = os.environ.get("WANDB_MODE", "")  # W&B's own switch takes precedence in mode auto
    if mode == "offline" or (mode == "auto" and environment in {"offline", "dryrun"}):
        return False
    has_login = is_logged_in()
    if mode == "online" and not has_login:
        raise ValueError(
            "logger.mode=online needs a W&B login. Run `wandb login`, or choose logger.mode=offline or logger=off."
        )
    return has_login
