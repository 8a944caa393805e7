"""From the name in a configuration to a set's or score's entry and class; torch is imported only with a class.

A name is a key of the catalogue, or the dotted path of a class from outside the package, which may carry an entry of its own.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from drpt.geometry.catalogue import SCORES, SETS
from drpt.geometry.entry import ScoreEntry, SetEntry
from drpt.plugins import import_named

if TYPE_CHECKING:
    from drpt.geometry.feasible_set import FeasibleSet
    from drpt.geometry.score import Score


def is_dotted_path(name: str) -> bool:
    """Whether ``name`` is the import path of a class rather than a name of the catalogue."""
    return "." in name


@cache
def set_entry(name: str) -> SetEntry | None:
    """What is known of a set.

    Args:
        name: A key of `SETS`, or a dotted path, which is imported.

    Returns:
        The entry; None for a class without one, and for a name that is not known.

    Raises:
        ValueError: The path leads to no feasible set, or the class contradicts its entry.
    """
    if not is_dotted_path(name):
        return SETS.get(name)
    known = [entry for entry in SETS.values() if entry.target == name]
    if known:
        return known[0]
    cls = set_class(name)
    for fact in ("takes_score", "uses_general"):
        if cls.entry is not None and (said := getattr(cls.entry, fact)) != (own := getattr(cls, fact)):
            raise ValueError(
                f"regularizer.set={name}: its entry says {fact}={said} and the class {fact}={own}; make them the same."
            )
    return cls.entry


@cache
def score_entry(name: str) -> ScoreEntry | None:
    """What is known of a score.

    Args:
        name: A key of `SCORES`, or a dotted path, which is imported.

    Returns:
        The entry; None for a class without one, and for a name that is not known.

    Raises:
        ValueError: The path leads to no score.
    """
    if not is_dotted_path(name):
        return SCORES.get(name)
    known = [entry for entry in SCORES.values() if entry.target == name]
    return known[0] if known else score_class(name).entry


def set_class(name: str) -> "type[FeasibleSet]":
    """The class of a set.

    Args:
        name: A key of `SETS`, or a dotted path.

    Returns:
        The class.

    Raises:
        ValueError: The path leads to no feasible set.
    """
    from drpt.geometry.feasible_set import FeasibleSet

    found: type[FeasibleSet] = _class("set", SETS[name].target if name in SETS else name, FeasibleSet)
    return found


def score_class(name: str) -> "type[Score]":
    """The class of a score.

    Args:
        name: A key of `SCORES`, or a dotted path.

    Returns:
        The class.

    Raises:
        ValueError: The path leads to no score.
    """
    from drpt.geometry.score import Score

    found: type[Score] = _class("score", SCORES[name].target if name in SCORES else name, Score)
    return found


def _class(key: str, path: str, base: type) -> Any:  # Any: a subclass of base
    cls = import_named(f"regularizer.{key}", path)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise ValueError(f"regularizer.{key}={path}: {cls!r} is no subclass of {base.__module__}.{base.__name__}.")
    return cls
