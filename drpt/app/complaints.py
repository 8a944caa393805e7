"""Translates errors of Hydra and OmegaConf into messages with option, value, rule and remedy."""

import re
from collections.abc import Mapping
from typing import Any

from hydra.errors import MissingConfigException
from omegaconf.errors import GrammarParseError, InterpolationKeyError, ValidationError

from drpt.app.options import all_options, is_new_key, kind_of_option, no_such_option
from drpt.app.paths import config_folder, preset_files
from drpt.app.words import Word, in_shell
from drpt.checks import did_you_mean
from drpt.kinds import takes_mapping, takes_text
from drpt.renamed import refusal


def explain_composition(error: Exception) -> str:
    """Explain why choices cannot be composed.

    Args:
        error: Exception raised by Hydra.

    Returns:
        A message of one or two lines.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"{group}={name!r} is not known.{did_you_mean(name, error.options)} Choices: {', '.join(error.options)}."
    cause = error.__cause__ or error
    place = re.match(r"In '(.*)': ", str(error))
    keys = re.findall(r"full_key: (\S+)", str(error))
    if place and keys:  # a choice that is meant for other choices than the current ones
        group, _, name = place[1].partition("/")
        return f"{group}={name} sets {keys[0]}, which does not fit the other choices: leave it out, or choose others."
    if place and "Cannot merge" in str(error):
        group, _, name = place[1].partition("/")
        return (
            f"{group}={name} does not fit the other choices, which have a mapping where it has a list, or the reverse: leave "
            "it out, or choose others."
        )
    # Hydra's own text serves for the rest, without its lists of folders and addresses.
    text = str(error).split("\nConfig search path")[0].split("\nSee https")[0].split("\nSearch path:")[0].strip()
    return text or first_line(cause)


def explain_refusal(typed: Word, error: Exception, values: Mapping[str, Any]) -> str:  # Any: a configuration's values
    """Explain why an override cannot be applied to a configuration.

    Args:
        typed: Override as typed.
        error: Exception raised by Hydra or OmegaConf.
        values: Configuration in plain values, interpolations unresolved.

    Returns:
        A message of one line.
    """
    cause = error.__cause__ or error
    if isinstance(cause, GrammarParseError):
        return _of_reference(typed.shown, _escaped(typed.text))
    if isinstance(cause, OverflowError):
        return f"{typed.shown} is too large for a number."
    return _of_place(typed, values) or _of_kind(typed, values) or f"{typed.shown}: {first_line(cause)}"


def explain_interpolation(option: str, value: object, error: BaseException) -> str:
    """Explain why an interpolation ``${…}`` cannot be resolved.

    Args:
        option: Full name of the option.
        value: Value of the option, with the interpolation.
        error: Exception raised by OmegaConf.

    Returns:
        A message of one line.
    """
    word, text = in_shell(f"{option}={value}"), f"{option}={_escaped(str(value))}"
    said = first_line(error).splitlines()[0]
    if isinstance(error, RecursionError) or "Recursive" in said:
        return f"{word} refers to itself."
    if isinstance(error, InterpolationKeyError):
        missing = re.findall(r"'(.*)'", said)
        name = missing[0] if missing else str(value)
        as_text = f" If it is meant as text: {in_shell(text)}." if takes_text(kind_of_option(option, {})) else ""
        return f"{word}: there is no option {name!r} to refer to.{did_you_mean(name, all_options())}{as_text}"
    if isinstance(error, ValidationError):
        found = re.findall(r"Value (.*) of type", said)
        refers = f": it refers to {found[0]}" if found else f" ({said})"
        return f"{word} must be {kind_of_option(option, {}).words or 'of another type'}{refers}."
    if isinstance(error, GrammarParseError):
        return _of_reference(word, text)
    if "Interpolation to parent node" in said:
        return f"{word} refers to the section that contains it."
    variable = re.findall(r"Environment variable '(.*?)' not found", said)
    if variable:
        name = variable[0]
        return f"{word}: there is no environment variable {name!r}; set it, or give a default, ${{oc.env:{name},…}}."
    return f"{word}: {said}."


def _of_reference(word: str, text: str) -> str:
    return f"{word}: a reference is written ${{option}}. If it is meant as text: {in_shell(text)}."


def _escaped(text: str) -> str:
    """A text with escaped references."""
    return text.replace("${", r"\${")


def _of_place(typed: Word, values: Mapping[str, Any]) -> str | None:
    """What is wrong with the option's name; None if nothing is."""
    node: object = values
    parts = typed.key.split(".")
    for number, part in enumerate(parts):
        path = ".".join(parts[:number])
        if node is None and number:
            return f"{typed.key}: {path} is null here; {_what_brings(path)}."
        if isinstance(node, list):
            if not (part.isdigit() and int(part) < len(node)):
                return f"{typed.shown}: {path} is a list of {len(node)} items; give the whole list, {path}=[…]."
            node = node[int(part)]
            continue
        if not isinstance(node, Mapping):
            return f"{typed.shown}: {path} is a single value and has no key {part!r}."
        if part not in node:
            option = ".".join(parts[: number + 1])
            if typed.prefix == "~" and refusal(option) is None:
                return f"{typed.shown}: there is no option of this name to remove."
            if typed.prefix.startswith("+") and is_new_key(option, values):
                return None  # the name is right; the fault is elsewhere
            if is_new_key(option, values):
                return f"{typed.shown}: the key does not exist yet; add it with a plus, {in_shell(f'+{typed.text}')}."
            return no_such_option(option, [str(name) for name in node if name != "hydra"])
        node = node[part]
    if typed.prefix == "+":
        return f"{typed.shown}: the option already exists; write it without the plus."
    if typed.prefix == "~":
        return f"{typed.shown}: the option cannot be removed; give it another value."
    return None


def _of_kind(typed: Word, values: Mapping[str, Any]) -> str | None:
    kind = kind_of_option(typed.key, values)
    if not kind.members:
        return None
    if takes_mapping(kind) and (typed.value or "").startswith("{"):  # a mapping whose keys do not exist yet
        return f"{typed.shown}: the key does not exist yet; add it with a plus, {in_shell(f'+{typed.text}')}."
    return f"{typed.shown} must be {kind.words}."


def _what_brings(group: str) -> str:
    group = group if (config_folder() / group).is_dir() else group.replace(".", "/")
    tasks = [path.stem for path in preset_files("task") if f"override /{group}:" in path.read_text()]
    choices = [path.stem for path in preset_files(group)]
    if tasks:
        return f"{' or '.join(f'task={task}' for task in tasks)} brings it"
    if choices:
        return f"choose one of {', '.join(f'{group}={choice}' for choice in choices)}"
    return f"give the whole section, {group}=…"


def first_line(error: BaseException) -> str:
    """The beginning of a message, without the details that OmegaConf appends in further lines."""
    return str(error).strip().split("\n    full_key")[0] or type(error).__name__
