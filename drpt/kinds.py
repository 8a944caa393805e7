"""Which values a type annotation admits, and how to say so: for schema options and for arguments of configured classes.

Used by `drpt.app` to read command lines and by `drpt.plugins` to check the keys of a class.
"""

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
    """The types that a value may have."""

    members: tuple[Any, ...] = ()  # classes and aliases such as list[int]; empty = anything. Any: annotations have no type
    is_optional: bool = False  # whether null is admitted

    @property
    def words(self) -> str:
        """The types in words, such as ``a whole number or null``."""
        names = [_name(member) for member in self.members]
        return " or ".join([*names, *(["null"] if self.is_optional else [])])

    def admits(self, value: object) -> bool:
        """Whether a value has one of the types.

        Args:
            value: Plain value: number, text, truth value, list, mapping or None.

        Returns:
            True if the value is admitted, or if the types are unknown.
        """
        if not self.members:
            return True
        if value is None:
            return self.is_optional
        return any(_is_of(value, member) for member in self.members)


@cache
def kind_of(annotation: Any) -> Kind:  # Any: an annotation
    """Translate an annotation.

    Args:
        annotation: Type annotation of a field or an argument. ``Any``, and classes that no configuration can hold, admit
            every value.

    Returns:
        The admissible types.
    """
    parts = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    members = tuple(part for part in parts if part is not type(None))
    if not all(member in _NAMES or _is_list(member) or _is_mapping(member) for member in members):
        return Kind()
    return Kind(members=members, is_optional=len(members) < len(parts))


def kinds_of_arguments(cls: Callable[..., Any]) -> dict[str, Kind]:
    """Admissible types of a constructor's arguments.

    Args:
        cls: Class whose constructor is read.

    Returns:
        Kinds by argument name, for annotated arguments; empty if the annotations cannot be resolved.
    """
    try:
        hints = typing.get_type_hints(cls.__init__)
    except (NameError, TypeError, AttributeError):
        return {}
    return {name: kind_of(hint) for name, hint in hints.items() if name != "return"}


def takes_text(kind: Kind) -> bool:
    """Whether a scalar of this kind is always a text."""
    return str in kind.members and not {int, float, bool}.intersection(kind.members)


def item_kind(kind: Kind) -> Kind | None:
    """The kind of a list's items, or None if lists are not admitted."""
    for member in kind.members:
        if _is_list(member):
            arguments = typing.get_args(member)
            return kind_of(arguments[0]) if arguments else Kind()
    return None


def value_kind(kind: Kind) -> Kind | None:
    """The kind of a mapping's values, or None if mappings are not admitted."""
    for member in kind.members:
        if _is_mapping(member):
            arguments = typing.get_args(member)
            return kind_of(arguments[1]) if len(arguments) == 2 else Kind()
    return None


def takes_mapping(kind: Kind) -> bool:
    """Whether mappings are admitted."""
    return any(_is_mapping(member) for member in kind.members)


def shown_value(value: object) -> str:
    """A plain value as it is typed on the command line: ``null``, ``true``, ``[1,2]``, ``{a:1}``; texts are quoted."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(shown_value(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{shown_value(item)}' for key, item in value.items())}}}"
    return repr(value)


def check_kind(option: str, value: object, kind: Kind) -> None:
    """Require that a value has one of the admissible types.

    Args:
        option: Full name of the option, as typed on the command line.
        value: Value of the option.
        kind: Admissible types.

    Raises:
        ValueError: The value has another type.
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
