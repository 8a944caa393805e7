"""Handing a training command to Hydra, after the parts that can be checked at once have been checked."""

import json
import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hydra import main as hydra_main
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from rich.console import Console

from drpt.analysis.run import COMMANDS_FILE, ResultsError
from drpt.app.build_plugins import build_plugins
from drpt.app.compose import compose_run
from drpt.app.config import ConfigError, check_config, plain_config, register
from drpt.app.job import check_finished, is_finished, run_job
from drpt.app.paths import config_folder
from drpt.app.run_data import DataChangedError, DrawnBefore
from drpt.app.schema import RunSpec
from drpt.app.sweep import plan_sweep, without_sweeps
from drpt.files import append_line, remove_parts, require_folder
from drpt.interruption import Interrupted
from drpt.run_identity import job_name

_log = logging.getLogger(__name__)
_MULTIRUN = {"-m", "--multirun"}
# Hydra's options that ask about the configuration and train nothing.
_QUESTIONS = {"--cfg", "-c", "--info", "-i", "--hydra-help", "--version", "--shell-completion", "-sc"}


def launch(words: Sequence[str], *, record: bool = True) -> Path | None:
    """Run or sweep.

    Args:
        words: Hydra's flags and overrides, as typed after `drpt train`.
        record: Whether to write the command into the sweep's folder, for `resume`.

    Returns:
        The sweep's folder, or None when the configuration was only looked at (``--cfg job`` and the like).

    Raises:
        ConfigError: The command cannot be right.
        Interrupted: The process was told to end.
    """
    if not _QUESTIONS.isdisjoint(words):
        _run_hydra(list(words))
        return None
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            f"WORLD_SIZE={os.environ['WORLD_SIZE']}: drpt train is one process, and several would write the same folders. "
            "Start it without torchrun; several processes are for training loops of your own (drpt.GradientCapture)."
        )
    flags = [word for word in words if word.startswith("-")]
    if unknown := set(flags) - _MULTIRUN:
        raise ConfigError(f"{sorted(unknown)[0]} is not an option of drpt train. Options: -m, {', '.join(sorted(_QUESTIONS))}.")
    overrides = [word for word in words if not word.startswith("-")]
    is_sweep = bool(flags)
    config = compose_run(without_sweeps(overrides) if is_sweep else overrides, with_hydra=True)
    if OmegaConf.is_missing(config, "sweep"):
        overrides.append(f"sweep={datetime.now():%Y-%m-%d_%H-%M-%S}")
        config.sweep = overrides[-1].partition("=")[2]
    is_sketching = any("sketch" in word for word in overrides if word.startswith("regularizer.products="))
    if not is_sketching and (named := [word for word in overrides if word.startswith(("sketch=", "sketch."))]):
        raise ConfigError(f"{named[0]} counts with regularizer.products=sketch alone: add that, or leave it out.")
    if config.task.name != "sft" and (named := [word for word in overrides if word.startswith("regularizer.base_weights=")]):
        how = (
            "all pairs count alike"
            if config.task.name == "reward"
            else "algorithm.normalisation says how responses are weighted"
        )
        raise ConfigError(f"{named[0]}: with task={config.task.name} {how}.")
    folder = Path(config.runs_folder) / config.sweep
    jobs: Mapping[str, RunSpec] = {}
    if not is_sweep:
        spec = check_config(config)
        build_plugins(spec)
        jobs = {job_name(plain_config(config)): spec}
    elif (plan := plan_sweep(overrides, config)) is not None:
        duplicates = f"; {plan.num_duplicates} more would be the same and are skipped" if plan.num_duplicates else ""
        Console(stderr=True, highlight=False).print(f"{len(plan.names)} jobs{duplicates}")
        jobs = plan.specs
    for name in jobs:
        require_folder(folder / name)  # Hydra makes them, and stumbles
    _check_finished_jobs(folder, jobs)
    if record:
        _record(folder, [*flags, *overrides])
    try:
        _run_hydra([*flags, *overrides])
    except Interrupted as stop:  # between two jobs
        stop.words = stop.words or f"`drpt resume {shlex.quote(str(folder))}` goes on with what is left"
        raise
    return folder


def _check_finished_jobs(folder: Path, specs: Mapping[str, RunSpec]) -> None:
    """Before anything is trained beside them: are the finished jobs of a sweep made from what is there now?"""
    faults, drawn = [], DrawnBefore()
    for name, spec in specs.items():
        if is_finished(folder / name):
            try:
                check_finished(folder / name, spec, drawn)
            except DataChangedError as error:
                faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))


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
    remove_parts(folder, is_ours=False)
    append_line(folder / COMMANDS_FILE, json.dumps({"folder": str(Path.cwd()), "words": words}))


def resume(folder: Path) -> None:
    """Give a sweep's commands again: finished jobs are skipped, the others go on.

    Args:
        folder: The sweep's; it may have been moved or renamed since.

    Raises:
        ConfigError: A command does not fit any more, or files that it names by relative paths are out of reach.
        ResultsError: There is no record of commands.
    """
    folder = folder.resolve()
    for command in recorded_commands(folder):
        if Path(command.folder) != Path.cwd() and Path(command.folder).is_dir():
            os.chdir(command.folder)  # where the paths of its data are meant
        launch([*command.words, f"runs_folder={folder.parent}", f"sweep={folder.name}"], record=False)


@dataclass(frozen=True, slots=True)
class Command:
    """One `drpt train …` as it was typed."""

    folder: str  # where
    words: tuple[str, ...]  # after `drpt train`


def recorded_commands(folder: Path) -> list[Command]:
    """The distinct commands that a sweep's folder was made with, in order.

    Args:
        folder: The sweep's.

    Returns:
        At least one command.

    Raises:
        ResultsError: There is no record.
    """
    path = folder / COMMANDS_FILE
    if not path.exists():
        raise ResultsError(
            f"{folder}: no {COMMANDS_FILE} here, so it is not known what made this sweep. Give the folder of a sweep, "
            "not of one of its runs."
        )
    commands = [_command(line) for line in dict.fromkeys(path.read_bytes().splitlines()) if line.strip()]
    good = [command for command in commands if command is not None]
    if len(good) < len(commands):
        _log.warning("%s: %d of its lines are damaged, and left out", path, len(commands) - len(good))
    if not good:
        raise ResultsError(
            f"{path}: no whole line, so that it is not known what made this sweep. Give its command again with "
            f"sweep={folder.name}: jobs that are finished are skipped, the others go on."
        )
    return good


def _command(line: bytes) -> Command | None:
    """A line of the record; None where an interruption or damage left something else."""
    try:
        record = json.loads(line)
        return Command(folder=str(record["folder"]), words=tuple(map(str, record["words"])))
    except (ValueError, KeyError, TypeError):
        return None
