"""The axes of a sweep: one for each override, with one single-valued override for each of its values.

Used by `drpt.app.sweep`, which checks all combinations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from hydra.core.override_parser.types import Glob, QuotedString, Sweep, Transformer
from hydra.errors import HydraException

from drpt.app.command import Said, chooses_nothing
from drpt.app.words import in_quotes
from drpt.kinds import takes_text
from drpt.tasks.errors import ConfigError

MAX_JOBS = 100_000  # largest number of jobs in a sweep; more are taken for a mistake, such as a range to 1e9
_FIXED = {"sweep": "a sweep has one name", "runs_folder": "a sweep is in one folder"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One override of a sweep, and its values."""

    said: Said
    values: tuple[Said, ...]  # an override for each value; only ``said`` itself if it has a single value

    @property
    def is_swept(self) -> bool:
        """Whether the override has several values."""
        return len(self.values) > 1


def read_axes(command: Sequence[Said]) -> list[Axis]:
    """Enumerate the values of every override.

    Args:
        command: Overrides from `drpt.app.command.read_command`; the last override of an option counts.

    Returns:
        One axis for each option, in the order in which the options first occur.

    Raises:
        ConfigError: An override has no values, too many, or values that cannot be enumerated; one line for each fault.
    """
    faults: list[str] = []
    axes: list[Axis] = []
    num_jobs = 1
    for said in {said.override.get_key_element(): said for said in command}.values():
        try:
            values = _values(said)
        except ConfigError as error:
            faults.append(str(error))
            continue
        num_jobs *= len(values)
        if num_jobs > MAX_JOBS:
            faults.append(f"{said.typed.shown}: the sweep would have more than {MAX_JOBS:,} jobs, the largest number allowed.")
            break
        singles = [_single(said, value) for value in values] if said.is_sweep else [said]
        axes.append(Axis(said=said, values=tuple(singles)))
    if faults:
        raise ConfigError("\n".join(faults))
    return axes


def _values(said: Said) -> list[Any]:  # Any: elements of Hydra's grammar
    if not said.is_sweep:
        return [said.override.value()]
    word, override = said.typed, said.override
    if word.key in _FIXED:
        raise ConfigError(f"{word.shown}: {_FIXED[word.key]}.")
    if said.is_base and not said.is_group:
        raise ConfigError(f"{word.shown}: Hydra's own configuration is the same for all jobs.")
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"{word.shown}: only sweepers that search take an interval. List the values, as in {word.key}=0.1,0.2 "
            f"or {word.key}=range(0,1,0.25)."
        )
    try:
        values = list(islice(override.sweep_iterator(), MAX_JOBS + 1))
    except (HydraException, ValueError, ArithmeticError, AssertionError) as error:
        is_still = "range() arg 3" in str(error)  # Python's words
        reason = "the step of a range must not be 0" if is_still else str(error) or "cannot be enumerated"
        raise ConfigError(f"{word.shown}: {reason}.") from error
    if not values:
        raise ConfigError(f"{word.shown} gives no value.")
    if any(isinstance(value, Sweep | Glob) for value in values):
        raise ConfigError(f"{word.shown}: a range, an interval or a pattern cannot be combined with other values.")
    return values


def _single(said: Said, value: Any) -> Said:  # Any: an element of Hydra's grammar
    is_text = isinstance(value, str) and takes_text(said.kind)  # functions of the grammar remove quotes
    text = in_quotes(value) if is_text else Transformer.str(value)
    whole = replace(said.spelled, value=text)
    shown = value.text if isinstance(value, QuotedString) else value if is_text else text
    return replace(said, typed=replace(said.typed, value=shown), spelled=whole, override=whole.parse())


def related(axes: Sequence[Axis]) -> set[int]:
    """Find axes whose options are the same or nested in each other, so that the order in which they are set matters.

    Args:
        axes: All axes of a sweep.

    Returns:
        Indices of these axes.
    """
    keys = [axis.said.typed.key for axis in axes]
    parents: Mapping[str, list[int]] = {key: [i for i, other in enumerate(keys) if other == key] for key in keys}
    found: set[int] = set()
    for place, key in enumerate(keys):
        parts = key.split(".")
        above = [i for number in range(1, len(parts) + 1) for i in parents.get(".".join(parts[:number]), []) if i != place]
        if above:
            found |= {place, *above}
    return found


def job_words(values: Sequence[Said]) -> tuple[str, ...]:
    """The overrides of one job as texts.

    Args:
        values: Overrides of the job: one value of each axis, in the axes' order.

    Returns:
        Overrides in Hydra's grammar.
    """
    return tuple(value.spelled.text for value in values if not chooses_nothing(value))


def is_simple(axis: Axis) -> bool:
    """Whether an axis sets one existing option to scalars or lists, so that one value can replace another in place."""
    return all(
        value.typed.prefix == "" and not value.is_base and not isinstance(value.override.value(), Mapping)
        for value in axis.values
    )
