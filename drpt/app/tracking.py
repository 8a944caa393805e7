"""Weights & Biases: names, groups and tags chosen so that a dashboard groups by regularizer and strength by itself.

A job is one W&B run, whose id belongs to the job's folder. Each optimizer step is one row of its history, with the step's
number, and is sent when it is whole; a job that goes on sends again what the server does not have, from ``metrics.jsonl``, and
nothing twice. Offline, W&B's file is written anew from there, and replaces those of earlier attempts. W&B mirrors a run: once
it has begun, what fails about it is a warning, and the run goes on without.
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
_INIT_SECONDS = 30.0  # a server that has not answered by then is out of reach
_TRIES = 10  # a second each, to have the id of a run again that could not be started online
_STEP = "trainer/global_step"  # the x-axis


class WandbMirror(Logger):
    """A Lightning logger whose rows are whole steps.

    Args:
        run: W&B's, started.
    """

    def __init__(self, run: "wandb.Run") -> None:
        super().__init__()
        self._run: wandb.Run | None = run  # None: given up
        self._id, self._project = str(run.id), str(run.project)
        # What the server has: the last step, and by how much W&B's count of rows is ahead (once, a row was less than a step).
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
        """Nothing to do: the run has the configuration."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add figures to the row of their step; it is sent once a later step has begun."""
        assert step is not None
        if step != self._row_step:
            self._send()
            self._row, self._row_step = {}, step
        self._row |= metrics

    def replay(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Bring the run to where the job is.

        Args:
            lines: Lines of ``metrics.jsonl``, in the order of writing.
        """
        for line in lines:
            self.log_metrics({line["name"]: line["value"]}, step=line["step"])

    def conclude(self, figures: Mapping[str, Mapping[str, float]], tables: Mapping[str, list[dict[str, Any]]]) -> None:
        """Put a run's final figures into its summary, and its tables beside them.

        Args:
            figures: See `drpt.analysis.run.summarize`.
            tables: Rows of plain values by the table's name; empty ones are left out.
        """
        self._send()
        self._try(lambda run: run.summary.update({f"final/{name}": value for name, value in figures["final"].items()}))
        found = {name: rows for name, rows in tables.items() if rows}
        self._try(
            lambda run: run.log({name: _table(rows) for name, rows in found.items()}, step=self._row_step + self._ahead + 1)
        )

    def close(self, *, exit_code: int, is_preempted: bool = False) -> None:
        """Finish the run: the next one of a sweep must not land in this one's.

        Args:
            exit_code: 0 for a run that has taken all its steps. A row that may not be whole is not sent.
            is_preempted: Whether it was told to stop.
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
        except Exception as error:  # whatever it is, the run's own files have all of it
            self._run = None
            _log.warning("W&B: %s; the run goes on without it, and metrics.jsonl has everything", error or type(error).__name__)


def _table(rows: list[dict[str, Any]]) -> "wandb.Table":
    import wandb

    columns = list(rows[0])
    return wandb.Table(columns=columns, data=[[row[key] for key in columns] for row in rows])


def start_tracking(
    spec: RunSpec, config: dict[str, Any], folder: Path, lines: Iterable[Mapping[str, Any]]
) -> WandbMirror | None:
    """A Lightning logger around a started W&B run, or None when tracking is off.

    The run's group is its point (see `group_name`), so that seeds of one point are averaged, and nothing else; its name is the
    regularizer with its dials and the seed; tags name sweep, task, model, data, set and partition; the whole configuration is
    there to filter and group by, and ``regularizer.strength`` can be put on an axis.

    Args:
        spec: The run's configuration.
        config: The same in plain values.
        folder: The run's; W&B writes its files below it.
        lines: What was measured before, of a job that goes on (see `WandbMirror.replay`).

    Returns:
        The logger; whoever asked for it closes it.

    Raises:
        ValueError: ``logger.mode=online`` without a login.
        wandb.Error: ``logger.mode=online`` and W&B cannot be reached.
    """
    if spec.logger.name == "off" or os.environ.get("WANDB_MODE") == "disabled":
        return None
    is_online = _is_online(spec.logger.mode)
    import wandb

    run_id = _id_of(folder)
    regularizer = spec.regularizer
    tags = {
        "sweep": spec.sweep,
        "task": spec.task.name,
        "model": spec.model.label,
        "data": spec.data.label,
        "set": regularizer.set,
        "partition": regularizer.partition,
    }

    def start(*, online: bool) -> wandb.Run:
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

    try:
        run = start(online=is_online)
    except wandb.Error as error:
        if spec.logger.mode != "auto" or not is_online:
            raise
        _log.warning("W&B cannot be reached (%s); this run is kept offline: send it later with `wandb sync`", error)
        try:
            run = _once_the_attempt_has_ended(lambda: start(online=False))
        except Exception as held:  # W&B's own kinds differ
            if not _is_held(held):
                raise
            _log.warning("W&B's own process still holds the run's id; this piece of it is kept as a run of its own")
            _remove_pieces(folder, run_id, None)
            run_id = uuid4().hex[:12]
            write_atomically(folder / _ID_FILE, run_id)
            run = start(online=False)
    run.define_metric(_STEP)
    run.define_metric("*", step_metric=_STEP, step_sync=True)
    mirror = WandbMirror(run)
    mirror.replay(lines)
    _remove_pieces(folder, run_id, Path(run.dir).parent)
    return mirror


def group_name(label: str, config: Mapping[str, Any]) -> str:
    """The group of a W&B run: that of the runs which differ from it in the seed alone, as in tables.

    Args:
        label: The regularizer with its dials.
        config: The run's configuration in plain values.

    Returns:
        The label, and the beginning of `drpt.run_identity.point_of`, which tells points of one label apart.
    """
    return f"{label} {point_of(config)[:6]}"


def _once_the_attempt_has_ended(start: "Callable[[], wandb.Run]") -> "wandb.Run":
    """The attempt to go online holds the run's id until W&B's own process has ended, which on a busy machine takes a while."""
    import wandb

    for _ in range(_TRIES):
        wandb.teardown()
        try:
            return start()
        except Exception as error:  # W&B's own kinds differ
            if not _is_held(error):
                raise
            time.sleep(1.0)
    wandb.teardown()
    return start()


def _is_held(error: Exception) -> bool:
    return "in use" in str(error)


def _id_of(folder: Path) -> str:
    """The id of the folder's W&B run: the same whenever the job is met."""
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
    """Remove what earlier attempts have left to be sent: the new file, or the server, has all of it."""
    for piece in (folder / "wandb").glob(f"offline-run-*-{run_id}"):
        if own is None or piece.resolve() != own.resolve():
            shutil.rmtree(piece, ignore_errors=True)


def is_logged_in() -> bool:
    """Whether W&B has credentials; whether they are still good is not asked of its server."""
    import wandb

    return bool(wandb.login(prompt=False, verify=False))


def _is_online(mode: str) -> bool:
    environment = os.environ.get("WANDB_MODE", "")  # W&B's own switch has the last word in mode auto
    if mode == "offline" or (mode == "auto" and environment in {"offline", "dryrun"}):
        return False
    has_login = is_logged_in()
    if mode == "online" and not has_login:
        raise ValueError("logger.mode=online: no W&B login. Run `wandb login`, or choose logger.mode=offline or logger=off.")
    return has_login
