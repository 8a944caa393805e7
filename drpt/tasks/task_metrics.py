"""What counts in a task's runs: the columns of tables, what charts show, and which figures of a run are kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {"median": median, "max": max, "sum": sum, "mean": fmean}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: a metric's name and how it is shown."""

    title: str  # {k} stands for evaluation.pass_k
    short: str  # title in a narrow terminal
    key: str  # name of the figure in the CSV
    metric: str
    section: str  # of the run's summary: final or best
    digits: int
    scale: float = 1.0
    best: Literal["lowest", "highest"] | None = None  # which trained point is marked; None where better has no one meaning
    has_error: bool = True  # whether tables show the standard error; the CSV always has it
    spare: int = 0  # in a narrow terminal, columns with the highest number are left out first, and those with 0 never


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """What an axis of a chart shows."""

    metric: str
    name: str  # as in "held-out loss"
    short: str  # as in "loss"
    axis: str  # title of its axis, with the unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """A figure of the whole run: one number of all lines of a training metric."""

    metric: str  # without its statistic, as in train/step_seconds
    statistic: str  # a key of STATISTICS; it ends the figure's name


def nothing_derived(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """No derived figures: for tasks whose figures are reductions alone."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMetrics:
    """What counts in the runs of one task.

    The first column is the primary metric's final value. Charts show the primary quantity over steps and its final value;
    with ``training`` and ``second`` given they show these over steps, too.
    """

    task: str  # short name of the task, for titles
    columns: tuple[Column, ...]
    primary: Quantity
    is_lower_better: bool  # of the primary quantity
    training: Quantity | None = None  # measured while training, on general prompts
    second: Quantity | None = None  # measured on held-out examples, beside the primary one
    shows_start: bool  # whether charts show the untrained model; its loss is often too far above all others
    untrained_settings: tuple[str, ...]  # beginnings of the settings that the untrained model's figures depend on
    is_drawn: bool  # whether held-out figures are of drawn responses, so that the untrained model's depend on the seed
    reductions: tuple[Reduction, ...]
    late: tuple[str, ...] = ()  # training metrics kept as the mean over the last tenth of the steps, named …/late
    derive: Callable[[Mapping[str, Sequence[float]]], dict[str, float]] = nothing_derived  # from values by metric
    progress: tuple[tuple[str, str], ...]  # words and metrics that are shown while a run trains; a narrow bar shows the first
    wide: int  # characters that the full titles need beside a usual label
    note: str  # HTML under the table: what the columns mean

    @property
    def final(self) -> Column:
        """The column of the primary metric's final value."""
        return self.columns[0]

    @property
    def has_companions(self) -> bool:
        """Whether charts show more over steps than the primary quantity."""
        return self.training is not None or self.second is not None
