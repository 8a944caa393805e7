"""Kinds of values that an annotation admits, in words: for options of the configuration and keys of classes that it names."""

import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
_PLURALS = {int: "whole numbers", float: "numbers", bool: "truth values", str: "texts"}
_EXAMPLES = {int: "[1,2]", float: "[0.5,1]", bool: "[true,false]", str: "[one,two]"}
_LISTS = (list, tuple, Sequence, Collection, Iterable)
_MAPPINGS = (dict, Mapping)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value may be."""

    members: tuple[Any, ...] = ()  # classes and aliases like list[int]; none = anything. Any: annotations have no type
    is_optional: bool = False  # whether null is admitted

    @property
    def words(self) -> str:
        """The kinds in words: ``a whole number or null``."""
        names = [_name(member) for member in self.members]
        return " or ".join([*names, *(["null"] if self.is_optional else [])])

    def admits(self, value: object) -> bool:
        """Whether a value is of one of the kinds.

        Args:
            value: Plain: a number, a text, a truth value, a list, a mapping or None.

        Returns:
            True also where nothing is known of the kinds.
        """
        if not self.members:
            return True
        if value is None:
            return self.is_optional
        return any(_is_of(value, member) for member in self.members)


@cache
def kind_of(annotation: Any) -> Kind:  # Any: an annotation
    """The kind that an annotation states.

    Args:
        annotation: Of a field or an argument; ``Any``, and classes that no configuration can hold, admit anything.

    Returns:
        The kind.
    """
    parts = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    members = tuple(part for part in parts if part is not type(None))
    if not all(member in _NAMES or _is_list(member) or _is_mapping(member) for member in members):
        return Kind()
    return Kind(members=members, is_optional=len(members) < len(parts))


def kinds_of_arguments(cls: Callable[..., Any]) -> dict[str, Kind]:
    """Kinds of a constructor's arguments, by name.

    Args:
        cls: A class.

    Returns:
        Those of arguments with annotations; none where the annotations cannot be read.
    """
    try:
        hints = typing.get_type_hints(cls.__init__)
    except (NameError, TypeError, AttributeError):
        return {}
    return {name: kind_of(hint) for name, hint in hints.items() if name != "return"}


def takes_text(kind: Kind) -> bool:
    """Whether a single value of this kind is always a text."""
    return str in kind.members and not {int, float, bool}.intersection(kind.members)


def item_kind(kind: Kind) -> Kind | None:
    """The kind of a list's items, or None where a list is not admitted."""
    for member in kind.members:
        if _is_list(member):
            arguments = typing.get_args(member)
            return kind_of(arguments[0]) if arguments else Kind()
    return None


def value_kind(kind: Kind) -> Kind | None:
    """The kind of a mapping's values, or None where a mapping is not admitted."""
    for member in kind.members:
        if _is_mapping(member):
            arguments = typing.get_args(member)
            return kind_of(arguments[1]) if len(arguments) == 2 else Kind()
    return None


def takes_mapping(kind: Kind) -> bool:
    """Whether a mapping is admitted."""
    return any(_is_mapping(member) for member in kind.members)


def shown_value(value: object) -> str:
    """A plain value as it is typed: ``null``, ``true``, ``[1,2]``, ``{a:1}``; texts in quotes."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(shown_value(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{shown_value(item)}' for key, item in value.items())}}}"
    return repr(value)


def check_kind(option: str, value: object, kind: Kind) -> None:
    """Require a value of a kind.

    Args:
        option: Full name of the option, as typed on the command line.
        value: What it was set to.
        kind: What is admitted.

    Raises:
        ValueError: The value is of another kind.
    """
    if not kind.admits(value):
        raise ValueError(f"{option}={shown_value(value)} must be {kind.words}.")


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in {typing.Union, types.UnionType}


def _is_list(member: Any) -> bool:
    return (typing.get_origin(member) or member) in _LISTS


def _is_mapping(member: Any) -> bool:
    return (typing.get_origin(member) or member) in _MAPPINGS


def _is_of(value: object, member: Any) -> bool:
    if _is_list(member):
        item = item_kind(Kind((member,)))
        return isinstance(value, list | tuple) and all(item is None or item.admits(one) for one in value)
    if _is_mapping(member):
        inner = value_kind(Kind((member,)))
        return isinstance(value, Mapping) and all(inner is None or inner.admits(one) for one in value.values())
    if isinstance(value, bool):
        return member is bool
    return isinstance(value, (int, float) if member is float else member)


def _name(member: Any) -> str:
    if _is_list(member):
        arguments = typing.get_args(member)
        item = arguments[0] if arguments else None
        return f"a list of {_PLURALS[item]}, such as {_EXAMPLES[item]}" if item in _PLURALS else "a list, [first,second]"
    return "a mapping, {key: value}" if _is_mapping(member) else _NAMES[member]
