"""What a sweep varies: one axis a word, one word of a single value for each of its values."""

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

MAX_JOBS = 100_000  # of one sweep; more are a slip of the pen, such as a range to 1e9
_FIXED = {"sweep": "a sweep has one name", "runs_folder": "a sweep is in one folder"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One word of a sweep."""

    said: Said
    values: tuple[Said, ...]  # one of a sweep's; itself alone where it has one value

    @property
    def is_swept(self) -> bool:
        """Whether jobs differ in it."""
        return len(self.values) > 1


def read_axes(command: Sequence[Said]) -> list[Axis]:
    """Enumerate the values of every word.

    Args:
        command: See `drpt.app.command.read_command`; of several words with one option, the last counts.

    Returns:
        One axis an option, in the order in which the options come first.

    Raises:
        ConfigError: A word's values are none, too many, or cannot be enumerated; a line for each fault.
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
            faults.append(f"{said.typed.shown}: with it there are more than {MAX_JOBS:,} jobs, the most that a sweep may have.")
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
            f"{word.shown}: an interval is for sweepers that search; the jobs of this one are listed, as in {word.key}=0.1,0.2 "
            f"or {word.key}=range(0,1,0.25)."
        )
    try:
        values = list(islice(override.sweep_iterator(), MAX_JOBS + 1))
    except (HydraException, ValueError, ArithmeticError, AssertionError) as error:
        raise ConfigError(f"{word.shown}: {str(error) or 'cannot be enumerated'}.") from error
    if not values:
        raise ConfigError(f"{word.shown} gives no value.")
    if any(isinstance(value, Sweep | Glob) for value in values):
        raise ConfigError(f"{word.shown}: a range, an interval or a pattern stands by itself, not among other values.")
    return values


def _single(said: Said, value: Any) -> Said:  # Any: an element of Hydra's grammar
    is_text = isinstance(value, str) and takes_text(said.kind)  # functions of the grammar take quotes away
    text = in_quotes(value) if is_text else Transformer.str(value)
    whole = replace(said.spelled, value=text)
    shown = value.text if isinstance(value, QuotedString) else value if is_text else text
    return replace(said, typed=replace(said.typed, value=shown), spelled=whole, override=whole.parse())


def related(axes: Sequence[Axis]) -> set[int]:
    """Places of axes whose options are the same or within each other, so that the order in which they are set counts.

    Args:
        axes: All of a sweep.

    Returns:
        Places among them.
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
    """The words of one job.

    Args:
        values: The job's words: one value of each axis, in the axes' order.

    Returns:
        Words in Hydra's grammar.
    """
    return tuple(value.spelled.text for value in values if not chooses_nothing(value))


def is_simple(axis: Axis) -> bool:
    """Whether an axis sets one existing option to single values or lists, so that one can take the place of another."""
    return all(
        value.typed.prefix == "" and not value.is_base and not isinstance(value.override.value(), Mapping)
        for value in axis.values
    )
