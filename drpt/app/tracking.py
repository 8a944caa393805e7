"""Weights & Biases: names, groups and tags chosen so that a dashboard groups by regularizer and strength by itself."""

import logging
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from lightning.pytorch.loggers import WandbLogger

from drpt.app.schema import RunSpec
from drpt.files import write_atomically

_log = logging.getLogger(__name__)
_ID_FILE = "wandb_id.txt"
_LONGEST_TAG = 64
_INIT_SECONDS = 30.0  # a server that has not answered by then is out of reach
_STEP = "trainer/global_step"  # what Lightning's logger calls the x-axis


def start_tracking(spec: RunSpec, config: dict[str, Any], folder: Path, *, is_resumed: bool) -> WandbLogger | None:
    """A Lightning logger around a started W&B run, or None when tracking is off.

    The run's group is the regularizer with its dials, so that seeds of one point are averaged; its name adds the seed; tags
    name sweep, task, model, data, set and partition; the whole configuration is there to filter and group by, and
    ``regularizer.strength`` can be put on an axis.

    Args:
        spec: The run's configuration.
        config: The same in plain values.
        folder: The run's; W&B writes its files below it.
        is_resumed: Whether to go on with the W&B run that the folder knows of.

    Returns:
        The logger; whoever asked for it calls ``wandb.finish``.

    Raises:
        ValueError: ``logger.mode=online`` without a login.
        wandb.Error: ``logger.mode=online`` and W&B cannot be reached.
    """
    if spec.logger.name == "off" or os.environ.get("WANDB_MODE") == "disabled":
        return None
    is_online = _is_online(spec.logger.mode)
    import wandb

    id_file = folder / _ID_FILE
    if not (is_resumed and id_file.exists()):
        write_atomically(id_file, _new_id())
    regularizer = spec.regularizer
    tags = {
        "sweep": spec.sweep,
        "task": spec.task.name,
        "model": spec.model.label,
        "data": spec.data.name,
        "set": regularizer.set,
        "partition": regularizer.partition,
    }

    def start(*, online: bool) -> wandb.Run:
        return wandb.init(
            project=spec.logger.project,
            entity=spec.logger.entity,
            dir=folder,
            id=id_file.read_text(),
            resume="allow" if is_resumed and online else None,
            mode="online" if online else "offline",
            name=f"{regularizer.label} seed={spec.seed}",
            group=regularizer.label,
            job_type=spec.task.name,
            tags=[f"{name}:{value}"[:_LONGEST_TAG] for name, value in tags.items()],
            config=config | {"regularizer_label": regularizer.label},
            settings=wandb.Settings(silent=True, init_timeout=_INIT_SECONDS),
        )

    try:
        run = start(online=is_online)
    except wandb.Error as error:
        if spec.logger.mode != "auto" or not is_online:
            raise
        _log.warning("W&B cannot be reached (%s); this run is kept offline: send it later with `wandb sync`", error)
        write_atomically(id_file, _new_id())  # the other one is taken by the attempt
        run = start(online=False)
    run.define_metric(_STEP)
    run.define_metric("*", step_metric=_STEP, step_sync=True)
    return WandbLogger(experiment=run)


def _new_id() -> str:
    return uuid4().hex[:12]


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


def finish_dashboard(
    logger: WandbLogger, figures: dict[str, dict[str, float]], tables: dict[str, list[dict[str, Any]]]
) -> None:
    """Put a run's final figures into its summary, and its tables beside them.

    Args:
        logger: Of the run.
        figures: See `drpt.analysis.run.summarize`.
        tables: Rows of plain values by the table's name; empty ones are left out.
    """
    import wandb

    run = logger.experiment
    run.summary.update({f"final/{name}": value for name, value in figures["final"].items()})
    for name, rows in tables.items():
        if rows:
            columns = list(rows[0])
            run.log({name: wandb.Table(columns=columns, data=[[row[key] for key in columns] for row in rows])})
