"""Weights & Biases: names, groups and tags chosen so that a dashboard groups by regularizer and strength by itself."""

import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger

from drpt.app.schema import RunSpec


def build_wandb_logger(spec: RunSpec, config: dict[str, Any], folder: Path) -> WandbLogger | None:
    """A Lightning logger for the run, or None when tracking is off.

    The run's group is the regularizer with its dials, so that seeds of one point are averaged; its name adds the seed; tags
    name sweep, task, model, data, set and partition; the whole configuration is there to filter and group by, and
    ``regularizer.strength`` can be put on an axis.

    Args:
        spec: The run's configuration.
        config: The same in plain values.
        folder: The run's; W&B writes its files below it.

    Returns:
        The logger; ``logger.experiment`` starts the run.

    Raises:
        ValueError: ``logger.mode=online`` without a login.
    """
    if spec.logger.name == "off":
        return None
    is_online = _is_online(spec.logger.mode)
    regularizer = spec.regularizer
    import wandb

    return WandbLogger(
        name=f"{regularizer.label} seed={spec.seed}",
        project=spec.logger.project,
        entity=spec.logger.entity,
        save_dir=str(folder),
        id=f"{spec.sweep}-{folder.name}".replace("/", "_")[-120:],
        mode="online" if is_online else "offline",
        group=regularizer.label,
        settings=wandb.Settings(silent=True),
        job_type=spec.task.name,
        tags=[
            f"sweep:{spec.sweep}"[:64],
            f"task:{spec.task.name}",
            f"model:{spec.model.label}"[:64],
            f"data:{spec.data.name}"[:64],
            f"set:{regularizer.set}"[:64],
            f"partition:{regularizer.partition}",
        ],
        config=config | {"regularizer_label": regularizer.label},
    )


def _is_online(mode: str) -> bool:
    environment = os.environ.get("WANDB_MODE", "")  # W&B's own switch has the last word in mode auto
    if mode == "offline" or (mode == "auto" and environment in {"offline", "disabled", "dryrun"}):
        return False
    import wandb

    is_logged_in = bool(wandb.login(prompt=False))
    if mode == "online" and not is_logged_in:
        raise ValueError("logger.mode=online: no W&B login. Run `wandb login`, or choose logger.mode=offline or logger=off.")
    return is_logged_in
