"""Weights & Biases: names, groups and tags chosen so that a dashboard groups by regularizer and strength by itself."""

import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from lightning.pytorch.loggers import WandbLogger

from drpt.app.schema import RunSpec
from drpt.files import write_atomically

_ID_FILE = "wandb_id.txt"
_LONGEST_TAG = 64
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
    """
    if spec.logger.name == "off":
        return None
    is_online = _is_online(spec.logger.mode)
    import wandb

    id_file = folder / _ID_FILE
    if not (is_resumed and id_file.exists()):
        write_atomically(id_file, uuid4().hex[:12])
    regularizer = spec.regularizer
    tags = {
        "sweep": spec.sweep,
        "task": spec.task.name,
        "model": spec.model.label,
        "data": spec.data.name,
        "set": regularizer.set,
        "partition": regularizer.partition,
    }
    run = wandb.init(
        project=spec.logger.project,
        entity=spec.logger.entity,
        dir=folder,
        id=id_file.read_text(),
        resume="allow" if is_resumed and is_online else None,
        mode="online" if is_online else "offline",
        name=f"{regularizer.label} seed={spec.seed}",
        group=regularizer.label,
        job_type=spec.task.name,
        tags=[f"{name}:{value}"[:_LONGEST_TAG] for name, value in tags.items()],
        config=config | {"regularizer_label": regularizer.label},
        settings=wandb.Settings(silent=True),
    )
    run.define_metric(_STEP)
    run.define_metric("*", step_metric=_STEP, step_sync=True)
    return WandbLogger(experiment=run)


def _is_online(mode: str) -> bool:
    environment = os.environ.get("WANDB_MODE", "")  # W&B's own switch has the last word in mode auto
    if mode == "offline" or (mode == "auto" and environment in {"offline", "disabled", "dryrun"}):
        return False
    import wandb

    is_logged_in = bool(wandb.login(prompt=False))
    if mode == "online" and not is_logged_in:
        raise ValueError("logger.mode=online: no W&B login. Run `wandb login`, or choose logger.mode=offline or logger=off.")
    return is_logged_in
