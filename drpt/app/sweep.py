"""Plans a sweep: lists its jobs and checks every one before the first starts."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from drpt.app.axes import Axis, job_words, read_axes
from drpt.app.build_plugins import build_plugins
from drpt.app.build_spec import build_spec
from drpt.app.command import Said, base_words, read_command
from drpt.app.config import drop_unused_strength
from drpt.app.groups import compose_groups
from drpt.app.job_values import JobValues
from drpt.run_identity import job_name, point_of
from drpt.tasks.errors import ConfigError, NotForTaskError
from drpt.tasks.run_spec import RunSpec

_SHOWN_FAULTS = 20  # largest number of faults in a report

Job = tuple[Said, ...]
Watch = Callable[[Iterable[Job], int], Iterable[Job]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """The jobs of a sweep."""

    num_jobs: int  # number of combinations, without those left out
    specs: Mapping[str, RunSpec]  # specifications of the distinct jobs, by name
    words: Mapping[str, tuple[str, ...]]  # overrides of the distinct jobs, by name
    left_out: tuple[str, ...]  # a message for each choice of a pattern that the task cannot use
    points: Mapping[str, str]  # checksum of the settings that replicates share, by job name (`drpt.run_identity.point_of`)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the distinct jobs, in order."""
        return tuple(self.specs)

    @property
    def num_duplicates(self) -> int:
        """Number of combinations that repeat another one, such as strengths of a set that has none."""
        return self.num_jobs - len(self.specs)


def read_sweep(texts: Sequence[str]) -> tuple[Said, ...]:
    """Read the overrides of a sweep, with those that the chosen experiment defines for sweeps.

    Args:
        texts: Overrides as typed, without flags.

    Returns:
        Overrides as from `drpt.app.command.read_command`; the command takes precedence over the experiment.

    Raises:
        ConfigError: An override is faulty; one line for each fault.
    """
    command = read_command(texts, is_sweep=True)
    params = compose_groups(base_words(command)).hydra.sweeper.get("params") or {}
    typed = {said.typed.key for said in command}
    given = [f"{key}={value}" for key, value in params.items() if str(key).lstrip("+~") not in typed]
    return read_command([*given, *texts], is_sweep=True) if given else command


def plan_sweep(command: Sequence[Said], *, watch: Watch = lambda jobs, _: jobs) -> SweepPlan:
    """Check every job of a sweep.

    Every value is checked once first, so that a faulty one is found before all combinations are checked.

    Args:
        command: Overrides from `read_sweep`.
        watch: Function that receives the jobs and their number and passes the jobs on, to show progress.

    Returns:
        The plan.

    Raises:
        ConfigError: Overrides cannot be combined or a job's configuration is faulty; every distinct fault is listed once.
    """
    axes = read_axes(command)
    planner = _Planner(axes)
    planner.try_values()
    specs: dict[str, RunSpec] = {}
    words: dict[str, tuple[str, ...]] = {}
    points: dict[str, str] = {}
    num_jobs = 0
    for job in watch(product(*(axis.values for axis in axes)), math.prod(len(axis.values) for axis in axes)):
        if (planned := planner.look(job)) is not None:
            num_jobs += 1
            name, point, spec = planned
            if name not in specs:
                specs[name], words[name], points[name] = spec, job_words(job), point
        planner.stop_at_many_faults()
    planner.stop_at_faults()
    if not specs:
        raise ConfigError("\n".join([*planner.left_out, "No job is left."]))
    return SweepPlan(num_jobs=num_jobs, specs=specs, points=points, words=words, left_out=tuple(planner.left_out))


class _Planner:
    """Checks jobs and collects their faults.

    Args:
        axes: Axes of the sweep.
    """

    def __init__(self, axes: Sequence[Axis]) -> None:
        self._axes = axes
        self._values = JobValues(axes)
        self._faults: dict[str, None] = {}  # messages in order; a dictionary as an ordered set
        self.left_out: dict[str, None] = {}  # messages about choices left out, in order
        self._built: dict[str, ConfigError | None] = {}

    def look(self, job: Job, *, builds: bool = True) -> tuple[str, str, RunSpec] | None:
        """Check a job.

        Args:
            job: Overrides of the job: one value of each axis, in the axes' order.
            builds: Whether to build the classes that the configuration names, which imports them.

        Returns:
            Name, point and specification; None if the job is left out or faulty, which is noted.
        """
        try:
            values, faults = self._values.of(job)
            if faults:
                self._faults |= dict.fromkeys(faults)
                return None
            spec = build_spec(drop_unused_strength(values))
            if builds:
                self._build(spec)
        except NotForTaskError as error:
            group = f"{error.group}/"  # prefix of groups nested in it
            of_pattern = [value for value in job if value.is_glob and f"{value.typed.key}/".startswith(group)]
            if of_pattern:
                self.left_out[f"{of_pattern[0].typed.shown} is left out: {error}"] = None
            else:
                self._add(str(error))
            return None
        except ConfigError as error:
            self._add(str(error))
            return None
        return job_name(values), point_of(values), spec

    def try_values(self) -> None:
        """Check every value once, with the first value of all other axes.

        Raises:
            ConfigError: A value is faulty.
        """
        swept = [place for place, axis in enumerate(self._axes) if axis.is_swept]
        if len(swept) < 2:  # without combinations, every value is checked anyway
            return
        swept.sort(key=lambda place: not self._axes[place].said.is_group)  # groups first: other values depend on them
        for builds in (False, True):  # find faulty overrides before anything is imported
            first = [axis.values[0] for axis in self._axes]
            for place in swept:
                values, rest = self._axes[place].values, first[place + 1 :]
                fit = [value for value in values if self.look((*first[:place], value, *rest), builds=builds) is not None]
                first[place] = (fit or values)[0]
            self.stop_at_faults()

    def stop_at_faults(self) -> None:
        """Raise if there are faults.

        Raises:
            ConfigError: There are faults.
        """
        if self._faults:
            lines = list(self._faults)
            more = len(lines) - _SHOWN_FAULTS
            raise ConfigError("\n".join([*lines[:_SHOWN_FAULTS], *([f"… and {more} more"] if more > 0 else [])]))

    def stop_at_many_faults(self) -> None:
        """Raise if there are as many faults as a report shows.

        Raises:
            ConfigError: There are that many faults.
        """
        if len(self._faults) >= _SHOWN_FAULTS:
            self.stop_at_faults()

    def _add(self, report: str) -> None:
        self._faults |= dict.fromkeys(report.splitlines())

    def _build(self, spec: RunSpec) -> None:
        """Build the classes that a job names and check its folders, once for all jobs with the same ones."""
        reward = None if spec.reward is None else vars(spec.reward)
        parts = [vars(spec.task), vars(spec.model), vars(spec.finetune), spec.data.label, spec.data.node, reward]
        key = json.dumps(parts, sort_keys=True, default=str)
        if key not in self._built:
            try:
                build_plugins(spec)
            except NotForTaskError as error:
                self._built[key] = error
            except ValueError as error:
                self._built[key] = ConfigError(str(error))
            else:
                self._built[key] = None
        if (fault := self._built[key]) is not None:
            raise fault
