"""What Hydra and OmegaConf complain of, in our words: option, value, rule and way out."""

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
    """Why choices cannot be composed.

    Args:
        error: Raised by Hydra.

    Returns:
        A line or two.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"{group}={name!r} is not known.{did_you_mean(name, error.options)} Choices: {', '.join(error.options)}."
    cause = error.__cause__ or error
    place = re.match(r"In '(.*)': ", str(error))
    keys = re.findall(r"full_key: (\S+)", str(error))
    if place and keys:  # a choice that was made for others beside it
        group, _, name = place[1].partition("/")
        return f"{group}={name} sets {keys[0]}, which does not fit the other choices: leave it out, or choose others."
    # Hydra's own text is good for the rest; its last parts are addresses and lists of folders.
    text = str(error).split("\nConfig search path")[0].split("\nSee https")[0].split("\nSearch path:")[0].strip()
    return text or first_line(cause)


def explain_refusal(typed: Word, error: Exception, values: Mapping[str, Any]) -> str:  # Any: a configuration's values
    """Why a word cannot be applied to a configuration.

    Args:
        typed: The word as typed.
        error: Raised by Hydra or OmegaConf.
        values: The configuration in plain values, interpolations as they are.

    Returns:
        A line.
    """
    cause = error.__cause__ or error
    if isinstance(cause, GrammarParseError):
        return _of_reference(typed.shown, _escaped(typed.text))
    if isinstance(cause, OverflowError):
        return f"{typed.shown} is too large for a number."
    return _of_place(typed, values) or _of_kind(typed, values) or f"{typed.shown}: {first_line(cause)}"


def explain_interpolation(option: str, value: object, error: BaseException) -> str:
    """Why ``${…}`` leads nowhere.

    Args:
        option: Full name of the option that holds it.
        value: What the option holds.
        error: Raised by OmegaConf.

    Returns:
        A line.
    """
    word, text = in_shell(f"{option}={value}"), f"{option}={_escaped(str(value))}"
    said = first_line(error).splitlines()[0]
    if isinstance(error, RecursionError) or "Recursive" in said:
        return f"{word} refers to itself."
    if isinstance(error, InterpolationKeyError):
        missing = re.findall(r"'(.*)'", said)
        name = missing[0] if missing else str(value)
        as_text = f" As a text: {in_shell(text)}." if takes_text(kind_of_option(option, {})) else ""
        return f"{word}: there is no {name!r} to refer to.{did_you_mean(name, all_options())}{as_text}"
    if isinstance(error, ValidationError):
        found = re.findall(r"Value (.*) of type", said)
        refers = f": it refers to {found[0]}" if found else f" ({said})"
        return f"{word} must be {kind_of_option(option, {}).words or 'of another kind'}{refers}."
    if isinstance(error, GrammarParseError):
        return _of_reference(word, text)
    if "Interpolation to parent node" in said:
        return f"{word} refers to the section that it is in."
    variable = re.findall(r"Environment variable '(.*?)' not found", said)
    if variable:
        name = variable[0]
        return f"{word}: there is no environment variable {name!r}; set it, or give a default, ${{oc.env:{name},…}}."
    return f"{word}: {said}."


def _of_reference(word: str, text: str) -> str:
    return f"{word}: a reference is written ${{option}}. As a text: {in_shell(text)}."


def _escaped(text: str) -> str:
    """A text whose references refer to nothing."""
    return text.replace("${", r"\${")


def _of_place(typed: Word, values: Mapping[str, Any]) -> str | None:
    """What is wrong with the option's name, if anything is."""
    node: object = values
    parts = typed.key.split(".")
    for number, part in enumerate(parts):
        path = ".".join(parts[:number])
        if node is None and number:
            return f"{typed.key}: {path} is null here; {_what_brings(path)}."
        if isinstance(node, list):
            if not (part.isdigit() and int(part) < len(node)):
                return f"{typed.shown}: {path} is a list of {len(node)}; give it as a whole, {path}=[…]."
            node = node[int(part)]
            continue
        if not isinstance(node, Mapping):
            return f"{typed.shown}: {path} is a single value and has no {part!r}."
        if part not in node:
            option = ".".join(parts[: number + 1])
            if typed.prefix == "~" and refusal(option) is None:
                return f"{typed.shown}: there is nothing of this name to take away."
            if typed.prefix.startswith("+") and is_new_key(option, values):
                return None  # the name is right, and something else is wrong
            if is_new_key(option, values):
                return f"{typed.shown}: it is not there yet; a new key is added with a plus, {in_shell(f'+{typed.text}')}."
            return no_such_option(option, [str(name) for name in node if name != "hydra"])
        node = node[part]
    if typed.prefix == "+":
        return f"{typed.shown}: it is there already; write it without the plus."
    if typed.prefix == "~":
        return f"{typed.shown}: it cannot be taken away; give it another value."
    return None


def _of_kind(typed: Word, values: Mapping[str, Any]) -> str | None:
    kind = kind_of_option(typed.key, values)
    if not kind.members:
        return None
    if takes_mapping(kind) and (typed.value or "").startswith("{"):  # and is refused all the same: its keys are not there
        return f"{typed.shown}: it is not there yet; a new key is added with a plus, {in_shell(f'+{typed.text}')}."
    return f"{typed.shown} must be {kind.words}."


def _what_brings(group: str) -> str:
    group = group if (config_folder() / group).is_dir() else group.replace(".", "/")
    tasks = [path.stem for path in preset_files("task") if f"override /{group}:" in path.read_text()]
    choices = [path.stem for path in preset_files(group)]
    if tasks:
        return f"{' or '.join(f'task={task}' for task in tasks)} brings it"
    if choices:
        return f"choose one of {', '.join(f'{group}={choice}' for choice in choices)}"
    return f"give it as a whole, {group}=…"


def first_line(error: BaseException) -> str:
    """The beginning of a message: OmegaConf appends its own particulars in further lines."""
    return str(error).strip().split("\n    full_key")[0] or type(error).__name__
