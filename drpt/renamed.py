"""Renamed options: the command line refuses an old name and suggests the new one; folders of earlier versions are translated.

`FORMAT` counts the versions of a run's folder. It stands in the folder's ``environment.json``; folders without it are of
format 1.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

FORMAT = 2

# Old name -> new name.
KEYS: Mapping[str, str] = {
    "regularizer.pool": "regularizer.choice_scope",
    "regularizer.scope": "regularizer.parameters",
    "trainer.retain_mib": "trainer.activation_budget_mib",
    "algorithm.decay": "algorithm.gae_lambda",
    "rollout.probe_every": "rollout.parity_every_phases",
    "rollout.probe_responses": "rollout.parity_responses",
    "rollout.probe_bound": "rollout.parity_bound",
}
# New name of an option -> old value -> new value.
VALUES: Mapping[str, Mapping[str, str]] = {"regularizer.parameters": {"paper": "linear_weights"}}
_OLD_KEYS: Mapping[str, str] = {new: old for old, new in KEYS.items()}
_WORD = re.compile(r"(?P<prefix>\+{0,2})(?P<key>[\w.]+)=(?P<value>.*)", re.DOTALL)


def read_through(config: Mapping[str, Any]) -> dict[str, Any]:  # Any: a configuration's values
    """Translate a configuration of any version to the current names.

    Args:
        config: Configuration in plain values.

    Returns:
        A copy with new names in the places of old ones.
    """
    return _renamed(config, KEYS, _new_value)


def read_back(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the names of format 1, from which the checksums in folders' names are made.

    Args:
        config: Plain values with the names of this version.

    Returns:
        A copy with old names in the places of new ones.
    """
    return _renamed(config, _OLD_KEYS, _old_value)


def new_word(word: str) -> str:
    """A word of a recorded command as it is spelled now.

    Args:
        word: ``option=value`` or ``option=value,value``, with or without a plus; any other word stays as it is.

    Returns:
        The word with the option's new name and values.
    """
    found = _WORD.fullmatch(word)
    if found is None or (new := KEYS.get(found["key"])) is None:
        return word
    values = found["value"]
    for old, now in VALUES.get(new, {}).items():  # by itself, in quotes, or in a list or a function of the grammar
        values = re.sub(rf"\b{old}\b", now, values)
    return f"{found['prefix']}{new}={values}"


def refusal(key: str) -> str | None:
    """What to say to somebody who uses an old name.

    Args:
        key: Full name of an option.

    Returns:
        A sentence with the new name, or None if ``key`` was not renamed.
    """
    if (new := KEYS.get(key)) is None:
        return None
    values = "".join(f" ({old} is {now} now)" for old, now in VALUES.get(new, {}).items())
    return f"{key} is called {new} now{values}: write {new}=…."


def value_refusal(key: str, value: object) -> str | None:
    """What to say to somebody who gives an option an old value.

    Args:
        key: Full name of the option, as it is now.
        value: What it was set to.

    Returns:
        A sentence with the new value; None for a value that is not an old one.
    """
    now = VALUES.get(key, {}).get(value) if isinstance(value, str) else None
    return None if now is None else f"{key}={value} is called {now} now: write {key}={now}."


def _new_value(key: str, value: object) -> object:
    return VALUES.get(key, {}).get(value, value) if isinstance(value, str) else value


def _old_value(key: str, value: object) -> object:
    before = {new: old for old, new in VALUES.get(KEYS[key], {}).items()}
    return before.get(value, value) if isinstance(value, str) else value


def _renamed(config: Mapping[str, Any], names: Mapping[str, str], value_of: Callable[[str, object], object]) -> dict[str, Any]:
    changed = dict(config)
    for before, after in names.items():
        section, _, name = before.partition(".")
        values = changed.get(section)
        if isinstance(values, Mapping) and name in values:
            after_name = after.partition(".")[2]
            changed[section] = {
                after_name if key == name else key: value_of(after, value) if key == name else value
                for key, value in values.items()
            }
    return changed
