"""Checks a `drpt train` command and plans its jobs, before anything is trained or written."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from drpt.app.build_plugins import build_plugins
from drpt.app.command import Said, base_words, read_command
from drpt.app.compose import check_composition, compose
from drpt.app.config import plain_config, resolve
from drpt.app.groups import compose_groups
from drpt.app.hydra_run import BASIC_LAUNCHER
from drpt.app.machine import check_accelerator
from drpt.app.planning_progress import watched
from drpt.app.sweep import SweepPlan, plan_sweep, read_sweep
from drpt.run_identity import job_name, point_of
from drpt.tasks.errors import ConfigError
from drpt.tasks.find import find_task
from drpt.tasks.run_spec import RunSpec

MULTIRUN = {"-m", "--multirun"}
# Hydra's options that print the configuration and train nothing.
QUESTIONS = {"--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc"}
_BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A command whose jobs have been checked."""

    typed: tuple[str, ...]  # flags and overrides, including the sweep's name
    command: tuple[Said, ...]
    is_sweep: bool
    folder: Path  # folder of the sweep
    plan: SweepPlan | None  # jobs of the sweep; None for a sweeper that searches, whose jobs are not known in advance


def check_command(words: Sequence[str]) -> Mapping[str, RunSpec]:
    """Check a command as `drpt train` does before it trains.

    Args:
        words: Flags and overrides as typed.

    Returns:
        Specifications by job name; empty for a sweeper that searches.

    Raises:
        ConfigError: The command is faulty.
    """
    plan = prepare(words, Console(stderr=True)).plan
    return {} if plan is None else plan.specs


def prepare(words: Sequence[str], console: Console) -> Prepared:
    """Read and check a command.

    Args:
        words: Flags and overrides as typed after `drpt train`.
        console: Console for progress, shown if checking takes long.

    Returns:
        The command, ready to run.

    Raises:
        ConfigError: The command is faulty; one line for each fault.
    """
    _check_alone()
    flags = [text for text in words if text.startswith("-")]
    if unknown := set(flags) - MULTIRUN:
        raise ConfigError(f"{sorted(unknown)[0]} is not an option of drpt train. Options: -m, {', '.join(sorted(QUESTIONS))}.")
    texts = [text for text in words if not text.startswith("-")]
    is_sweep = bool(flags)
    command = read_command(texts, is_sweep=is_sweep)
    base = compose_groups(base_words(command))
    _check_hydra(base)
    if OmegaConf.is_missing(base, "sweep") and not any(said.typed.key == "sweep" for said in command):
        texts.append(f"sweep={datetime.now():%Y-%m-%d_%H-%M-%S}")
        command = read_command(texts, is_sweep=is_sweep)
    plan = None
    if not is_sweep:
        plan = _plan_one(command)
    elif base.hydra.sweeper["_target_"] == _BASIC_SWEEPER:
        command = read_sweep(texts)
        plan = plan_sweep(command, watch=partial(watched, console=console))
    if plan is not None:
        specs = list(plan.specs.values())
        _check_words_count(command, specs)
        _check_machine(base, specs)
        folder = Path(specs[0].runs_folder).expanduser() / specs[0].sweep
    else:
        values, _ = resolve(compose([said for said in command if not said.is_sweep]).config)
        folder = Path(values["runs_folder"]).expanduser() / values["sweep"]
    return Prepared(typed=(*flags, *texts), command=command, is_sweep=is_sweep, folder=folder, plan=plan)


def _plan_one(command: Sequence[Said]) -> SweepPlan:
    composition = compose(command)
    spec = check_composition(composition)
    build_plugins(spec)
    plain = plain_config(composition.config)
    name = job_name(plain)
    return SweepPlan(
        num_jobs=1,
        specs={name: spec},
        points={name: point_of(plain)},
        words={name: tuple(said.spelled.text for said in command)},
        left_out=(),
    )


def _check_words_count(command: Sequence[Said], specs: Sequence[RunSpec]) -> None:
    """Refuse overrides that would have no effect.

    Raises:
        ConfigError: An override has no effect.
    """
    typed = [said.typed for said in command]
    if not any(spec.regularizer.products == "sketch" for spec in specs):
        for one in typed:
            if one.key.split(".")[0] == "sketch":
                raise ConfigError(
                    f"{one.shown} has an effect with regularizer.products=sketch only: add that, or leave it out."
                )
    if all(spec.data.general is not None and spec.data.target is not None for spec in specs):
        for one in typed:
            if one.key.startswith("data.source."):
                role = "target" if one.key.startswith(("data.source.target", "data.source.evaluation")) else "general"
                raise ConfigError(
                    f"{one.shown}: data/general=… and data/target=… choose both sources, so data.source is not used: set "
                    f"data.{role}.source instead, or leave one of the two choices out."
                )
    fixed = {spec.task.name: reason for spec in specs if (reason := find_task(spec.task.name).fixed_weights) is not None}
    for one in typed:
        for task, reason in fixed.items():
            if one.key == "regularizer.base_weights":
                raise ConfigError(f"{one.shown}: with task={task} {reason}.")


def _check_hydra(base: DictConfig) -> None:
    """Check what Hydra needs in its own configuration, and would otherwise fail on with a traceback.

    Raises:
        ConfigError: A value is missing or has the wrong type.
    """
    for section in ("launcher", "sweeper"):
        node = base.hydra.get(section)
        if not isinstance(node, DictConfig) or node.get("_target_") is None:
            raise ConfigError(f"hydra.{section} names no class: choose one by hydra/{section}=…, or leave the override out.")


def _check_alone() -> None:
    size = os.environ.get("WORLD_SIZE", "1")
    if size != "1":
        raise ConfigError(
            f"WORLD_SIZE={size}: drpt train runs in one process, and several would write to the same folders. "
            "Start it without torchrun; for several processes, write a training loop with drpt.GradientCapture."
        )


def _check_machine(base: DictConfig, specs: Iterable[RunSpec]) -> None:
    if base.hydra.launcher["_target_"] == BASIC_LAUNCHER:  # other launchers may use other machines
        for spec in specs:
            check_accelerator(spec)
