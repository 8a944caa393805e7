"""Checking every job of a sweep before the first one starts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException
from omegaconf import DictConfig

from drpt.app.build_plugins import build_plugins, check_model_folders
from drpt.app.compose import compose_run, explain
from drpt.app.config import ConfigError, check_config, drop_unused_strength, plain_config
from drpt.app.schema import RunSpec
from drpt.run_identity import job_name, point_of

_BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """The jobs of a sweep."""

    num_jobs: int  # combinations
    specs: Mapping[str, RunSpec]  # of the distinct ones, by their names
    points: Mapping[str, str]  # what the replicates of each have in common, by their names; see `drpt.run_identity.point_of`

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the distinct jobs, in order."""
        return tuple(self.specs)

    @property
    def num_duplicates(self) -> int:
        """Combinations that equal another: such as strengths of a set that has none."""
        return self.num_jobs - len(self.names)


def without_sweeps(overrides: Sequence[str]) -> list[str]:
    """The overrides that are the same for all jobs.

    Args:
        overrides: As typed.

    Returns:
        Those with one value.

    Raises:
        ConfigError: One of them does not parse.
    """
    return [text for text, override in zip(overrides, _parse(overrides), strict=True) if not override.is_sweep_override()]


def plan_sweep(overrides: Sequence[str], base: DictConfig) -> SweepPlan | None:
    """Compose and check every job.

    Args:
        overrides: As typed, sweeps included.
        base: Composed of the overrides without sweeps, with Hydra's own node.

    Returns:
        The plan; None for another sweeper than Hydra's basic one, whose jobs are not known beforehand.

    Raises:
        ConfigError: A job's configuration is bad; every distinct fault is listed once.
    """
    if base.hydra.sweeper["_target_"] != _BASIC_SWEEPER:
        return None
    params = [f"{key}={value}" for key, value in (base.hydra.sweeper.params or {}).items()]
    parsed = _parse([*params, *overrides])
    _try_names(parsed)
    (jobs,) = BasicSweeper.split_arguments(parsed, None)
    specs: dict[str, RunSpec] = {}
    points: dict[str, str] = {}
    faults: list[str] = []
    sources: set[str] = set()  # those that were built, with their rewards: reading data once is enough
    for job in jobs:
        try:
            config = drop_unused_strength(compose_run(job))
            spec = check_config(config)
            check_model_folders(spec)
            plain = plain_config(config)
            name = job_name(plain)
            specs.setdefault(name, spec)
            points.setdefault(name, point_of(plain))
            parts = [spec.reward.terms, spec.reward.judges] if spec.reward else []
            source = json.dumps([spec.data.source, *parts], sort_keys=True)
            if source not in sources:
                sources.add(source)
                build_plugins(spec)
        except ValueError as error:
            faults += str(error).splitlines()
    if faults:
        raise ConfigError("\n".join(dict.fromkeys(faults)))
    return SweepPlan(num_jobs=len(jobs), specs=specs, points=points)


def _try_names(overrides: Sequence[Override]) -> None:
    """Compose every swept value once by itself: a misspelt one is found before hundreds of combinations are composed."""
    fixed = [override.input_line for override in overrides if not override.is_sweep_override()]
    faults: list[str] = []
    for override in overrides:
        if override.is_sweep_override() and override.is_discrete_sweep():
            for value in override.sweep_string_iterator():
                try:
                    compose_run([*fixed, f"{override.get_key_element()}={value}"])
                except ConfigError as error:
                    faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(dict.fromkeys(faults)))


def _parse(overrides: Sequence[str]) -> list[Override]:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path

    from drpt.app.paths import config_folder

    # A loader is needed for glob(*), which is a question about the configuration folder.
    loader = ConfigLoaderImpl(create_config_search_path(str(config_folder())))
    try:
        return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise ConfigError(explain(error)) from error
