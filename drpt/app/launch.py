"""Handing a training command to Hydra, after the parts that can be checked at once have been checked."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from hydra import main as hydra_main
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from rich.console import Console

from drpt.analysis.run import COMMANDS_FILE, ResultsError
from drpt.app.compose import compose_run
from drpt.app.config import check_config, register
from drpt.app.job import run_job
from drpt.app.paths import config_folder
from drpt.app.sweep import plan_sweep, without_sweeps

_MULTIRUN = {"-m", "--multirun"}


def launch(words: Sequence[str]) -> Path | None:
    """Run or sweep.

    Args:
        words: Hydra's flags and overrides, as typed after `drpt train`.

    Returns:
        The sweep's folder, or None when nothing was trained (``--cfg``, ``--info`` and the like).

    Raises:
        ConfigError: The command cannot be right.
    """
    flags = [word for word in words if word.startswith("-")]
    if set(flags) - _MULTIRUN:  # Hydra's questions about the configuration, such as --cfg job
        _run_hydra(list(words))
        return None
    overrides = [word for word in words if not word.startswith("-")]
    is_sweep = not _MULTIRUN.isdisjoint(flags)
    config = compose_run(without_sweeps(overrides) if is_sweep else overrides, with_hydra=True)
    if OmegaConf.is_missing(config, "sweep"):
        overrides.append(f"sweep={datetime.now():%Y-%m-%d_%H-%M-%S}")
        config.sweep = overrides[-1].partition("=")[2]
    if not is_sweep:
        check_config(config)
    elif (plan := plan_sweep(overrides, config)) is not None:
        duplicates = f"; {plan.num_duplicates} more would be the same and are skipped" if plan.num_duplicates else ""
        Console(stderr=True, highlight=False).print(f"{len(plan.names)} jobs{duplicates}")
    folder = Path(config.runs_folder) / config.sweep
    _record(folder, [*flags, *overrides])
    _run_hydra([*flags, *overrides])
    return folder


def _run_hydra(words: list[str]) -> None:
    register()
    GlobalHydra.instance().clear()
    typed = sys.argv
    sys.argv = ["drpt train", *words]
    try:
        hydra_main(version_base="1.3", config_path=str(config_folder()), config_name="train")(run_job)()
    finally:
        sys.argv = typed


def _record(folder: Path, words: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / COMMANDS_FILE).open("a") as file:
        file.write(json.dumps(words) + "\n")


def recorded_commands(folder: Path) -> list[list[str]]:
    """The distinct commands that a sweep's folder was made with, in order.

    Args:
        folder: The sweep's.

    Returns:
        Words after `drpt train`, each list with its ``sweep=…``.

    Raises:
        ResultsError: There is no record.
    """
    path = folder / COMMANDS_FILE
    if not path.exists():
        raise ResultsError(f"{folder}: no {COMMANDS_FILE} here, so it is not known what made this sweep.")
    return [json.loads(line) for line in dict.fromkeys(path.read_text().splitlines())]
