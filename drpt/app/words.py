"""Overrides `option=value` in Hydra's grammar, quoted so that a text keeps its typed form.

Hydra reads ``1e10`` as a number, ``true`` as a truth value and an unquoted ``~`` or ``ä`` as an error, whatever the option is.
Here the type of the option decides: values of text options are quoted before Hydra parses them. Overrides that drpt composes
itself are built by `word`.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.overrides_visitor import HydraErrorListener
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from hydra.grammar.gen.OverrideLexer import CommonTokenStream, InputStream, OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser

from drpt.kinds import Kind, item_kind, takes_text, value_kind
from drpt.tasks.errors import ConfigError

_WORD = re.compile(r"(?P<prefix>\+{0,2}|~)(?P<key>[\w$./@:-]+)(?:=(?P<value>.*))?", re.DOTALL | re.ASCII)
_NAME = re.compile(r"(?:[A-Za-z_][\w-]*(?:/[A-Za-z_][\w-]*)*|[A-Za-z_$][\w$-]*(?:\.[\w$]+)*|)(?:@[\w.$:-]*)?", re.ASCII)
_ARGUMENTS_ARE_VALUES = {"choice", "shuffle", "sort", "tag"}  # functions whose arguments are the values
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One override of the configuration, as typed."""

    prefix: str  # empty, + (adds a key), ++ (adds or sets a key) or ~ (removes a key)
    key: str  # name of a group, or full name of an option
    value: str | None  # text after the first equals sign; None for a removal without a value

    @property
    def text(self) -> str:
        """The whole override."""
        return f"{self.prefix}{self.key}" if self.value is None else f"{self.prefix}{self.key}={self.value}"

    @property
    def shown(self) -> str:
        """The override as it is typed in a shell, for messages."""
        return in_shell(self.text)

    def parse(self) -> Override:
        """Parse the override with Hydra's grammar.

        Returns:
            Key, kind and value or values.

        Raises:
            ConfigError: The value does not follow Hydra's grammar.
        """
        try:
            return _parser().parse_override(self.text)
        except (HydraException, ValueError, TypeError, AssertionError) as error:
            raise ConfigError(f"{self.shown}: {_reason(error)}") from error


def read_word(text: str) -> Word:
    """Split an override into its parts.

    Args:
        text: Override as typed.

    Returns:
        Prefix, key and value; the value is not checked.

    Raises:
        ConfigError: The text does not have the form ``option=value``.
    """
    match = _WORD.fullmatch(text)
    if match is None or (match["value"] is None and match["prefix"] != "~"):
        raise ConfigError(f"{in_shell(text)}: {_what_is_no_word(text)}")
    if not _NAME.fullmatch(match["key"]) and "" not in match["key"].split("."):
        raise ConfigError(
            f"{in_shell(text)}: there is no option {match['key']!r}: names begin with a letter; options are written with dots "
            "(trainer.max_steps), groups with slashes (data/target)."
        )
    if "" in match["key"].split("."):
        whole = ".".join(filter(None, match["key"].split(".")))
        meant = f", as in {in_shell(f'{whole}=…')}" if whole else ""
        raise ConfigError(f"{in_shell(text)}: there must be a name before and after every dot{meant}.")
    return Word(prefix=match["prefix"], key=match["key"], value=match["value"])


def _what_is_no_word(text: str) -> str:
    name, equals, value = text.partition("=")
    bare = name.lstrip("+~")
    if not equals or not bare:
        return "write option=value."
    if bare != bare.strip():
        return f"no space around the equals sign: {in_shell(f'{name.strip()}={value.strip()}')}."
    return f"there is no option {bare!r}: names consist of letters (a-z), digits, underscores and dots."


def quoted(text: str) -> str:
    """A text quoted in Hydra's grammar, so that no part of it is read as a number, list or reference."""
    return in_quotes(literal(text))


def word(key: str, text: str) -> str:
    """An override that sets an option to a text: ``sweep='1e3'``."""
    return f"{key}={quoted(text)}"


def literal(text: str) -> str:
    r"""A text with escaped interpolations for OmegaConf: ``a${b}`` becomes ``a\${b}``."""
    return re.sub(r"(\\*)\$\{", lambda match: 2 * match[1] + r"\${", text)


def literal_values(value: Any) -> Any:  # Any: plain values of a configuration
    """Plain values with all texts escaped by `literal`."""
    if isinstance(value, str):
        return literal(value)
    if isinstance(value, Mapping):
        return {key: literal_values(inner) for key, inner in value.items()}
    return [literal_values(inner) for inner in value] if isinstance(value, list | tuple) else value


def in_shell(text: str) -> str:
    """A text as it is typed in a shell, quoted if a shell would interpret its characters."""
    if re.fullmatch(r"[\w@%+=:,./^-]+", text):
        return text
    return shlex.quote(text) if re.search(r'["$`\\!]', text) else f'"{text}"'


def spelled(word: Word, kind: Kind, *, is_sweep: bool) -> Word:
    """Quote every text in an override, according to the option's type.

    Args:
        word: Override as typed.
        kind: Admissible types of the option's values.
        is_sweep: Whether commas separate the values of a sweep.

    Returns:
        An override that follows Hydra's grammar, unless its value is empty or missing.

    Raises:
        ConfigError: A comma separates values, but the command is not a sweep.
    """
    if not word.value:
        return word
    try:
        values = list(_spelled_values(word, kind))
    except (HydraException, ValueError, TypeError, AssertionError):
        values = [_spelled_part(word, part, kind) for part in _parts(word.value)] if is_sweep else [in_quotes(word.value)]
    if len(values) > 1 and not is_sweep:
        raise ConfigError(_several(word, kind))
    return replace(word, value=",".join(values))


def _several(word: Word, kind: Kind) -> str:
    assert word.value is not None
    ways = ["for a sweep, use drpt train -m"]
    if item_kind(kind) is not None:
        ways.append(f"for a list, {in_shell(f'{word.key}=[{word.value}]')}")
    if takes_text(kind):
        ways.append(f"for one text, {in_shell(f'{word.key}={in_quotes(word.value)}')}")
    return f"{word.shown} gives several values: {'; '.join(ways)}."


def _spelled_part(word: Word, part: str, kind: Kind) -> str:
    """Quote one value of a sweep in which some values do not follow the grammar."""
    try:
        (value,) = _spelled_values(replace(word, value=part), kind)
    except (HydraException, ValueError, TypeError, AssertionError):
        return in_quotes(part)
    return value


def _spelled_values(word: Word, kind: Kind) -> Iterator[str]:
    """The comma-separated values with quoted texts; raises errors of the parser and of functions in the grammar."""
    assert word.value is not None
    source = f"k={word.value}"
    tree = _tree(source)
    tree_value = tree.value()
    if tree_value is None:  # only white space
        yield in_quotes(word.value)
        return
    sweep = tree_value.simpleChoiceSweep()
    elements = [tree_value.element()] if sweep is None else sweep.element()
    for element in elements:
        is_whole = sweep is None and element.primitive() is not None
        changes = list(_quotings(element, kind, is_whole=is_whole, whole=word.value))
        yield _changed(source, element.start.start, element.stop.stop + 1, changes)
    _parser().parse_override(source)  # a function may refuse what the parser accepts


def _quotings(element: Any, kind: Kind, *, is_whole: bool, whole: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and quoted form of every text in an element of the grammar."""
    place = (element.start.start, element.stop.stop + 1)
    if (primitive := element.primitive()) is not None:
        tokens = [child.symbol for child in primitive.getChildren()]
        inner = [token for token in tokens if token.type != OverrideLexer.WS]
        is_quoted = len(inner) == 1 and inner[0].type == OverrideLexer.QUOTED_VALUE
        is_null = len(inner) == 1 and inner[0].type == OverrideLexer.NULL and kind.is_optional
        if takes_text(kind) and not is_quoted and not is_null:
            text = "".join(token.text[1::2] if token.type == OverrideLexer.ESC else token.text for token in tokens)
            has_escapes = any(token.type == OverrideLexer.ESC for token in tokens)
            yield (*place, in_quotes(whole if is_whole and not has_escapes else text.strip()))
    elif (items := element.listContainer()) is not None:
        for item in items.element():
            yield from _quotings(item, item_kind(kind) or Kind(), is_whole=False, whole=whole)
    elif (pairs := element.dictContainer()) is not None:
        for pair in pairs.dictKeyValuePair():
            yield from _quotings(pair.element(), value_kind(kind) or Kind(), is_whole=False, whole=whole)
    elif (function := element.function()) is not None:
        name = function.ID().getText()
        if name in _ARGUMENTS_ARE_VALUES:
            for argument in function.element():
                yield from _quotings(argument, kind, is_whole=False, whole=whole)
        elif name not in _functions() and takes_text(kind):  # a text with parentheses
            yield (*place, in_quotes(whole[place[0] - 2 : place[1] - 2].strip()))


def _changed(source: str, start: int, stop: int, changes: list[tuple[int, int, str]]) -> str:
    parts = []
    for begin, end, replacement in sorted(changes):
        parts += [source[start:begin], replacement]
        start = end
    return "".join([*parts, source[start:stop]]).strip()


def _parts(value: str) -> list[str]:
    """A value split at commas outside of brackets and quotes."""
    parts, closing, quote = [""], [], ""
    for char in value:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and not parts[-1].strip():
            quote = char
        elif char in _BRACKETS:
            closing.append(_BRACKETS[char])
        elif closing and char == closing[-1]:
            closing.pop()
        if char == "," and not closing and not quote:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def in_quotes(text: str) -> str:
    """A text in quotes of Hydra's grammar; ``${…}`` in it remains a reference."""
    return str(QuotedString(text=text, quote=Quote.single).with_quotes())


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


@cache
def _functions() -> frozenset[str]:
    return frozenset(create_functions().functions)


def _tree(source: str) -> Any:  # Any: a class that ANTLR generates, without types
    listener = HydraErrorListener()
    lexer = OverrideLexer(InputStream(source))
    parser = OverrideParser(CommonTokenStream(lexer))
    for machine in (lexer, parser):
        machine.removeErrorListeners()
        machine.addErrorListener(listener)
    return parser.override()


def _reason(error: Exception) -> str:
    """The last line of Hydra's message, without the name of its internal error."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"^\w+Error while evaluating '.*?': ", "", lines[-1])
