"""Renamed options: the command line refuses an old name and suggests the new one; folders of earlier versions are translated.

``FORMAT`` is the version of a run folder's layout. It is stored in the folder's ``environment.json``; folders without it have
format 1.
"""

from collections.abc import Mapping
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
# New name -> old value -> new value.
VALUES: Mapping[str, Mapping[str, str]] = {"regularizer.parameters": {"paper": "linear_weights"}}
OLD_NAMES: Mapping[str, str] = {new: old for old, new in KEYS.items()}


def new_value(key: str, value: object) -> object:
    """Translate a value of an earlier version.

    Args:
        key: New name of the option.
        value: Value as an earlier version wrote it.

    Returns:
        The current name of the value; the value itself if it was not renamed.
    """
    return VALUES.get(key, {}).get(value, value) if isinstance(value, str) else value


def old_value(key: str, value: object) -> object:
    """Translate a current value back to its name in format 1; the inverse of `new_value`."""
    named = {new: old for old, new in VALUES.get(key, {}).items()}
    return named.get(value, value) if isinstance(value, str) else value


def read_through(config: Mapping[str, Any]) -> dict[str, Any]:  # Any: a configuration's values
    """Translate a configuration of any version to the current names.

    Args:
        config: Configuration in plain values.

    Returns:
        A copy with new names in the places of old ones.
    """
    changed = {key: dict(value) if isinstance(value, Mapping) else value for key, value in config.items()}
    for old, new in KEYS.items():
        section, _, name = old.partition(".")
        values = changed.get(section)
        if isinstance(values, dict) and name in values:
            new_name = new.partition(".")[2]
            changed[section] = {
                new_name if key == name else key: new_value(new, value) if key == name else value
                for key, value in values.items()
            }
    return changed


def refusal(key: str, value: object = None) -> str | None:
    """The message for a user of an old name.

    Args:
        key: Name of an option.
        value: Value that was given to it, to be shown with the new name.

    Returns:
        A sentence with the new name, or None if ``key`` was not renamed.
    """
    if (new := KEYS.get(key)) is None:
        return None
    shown = "…" if value is None else str(new_value(new, value))
    return f"{key} is called {new} now: {new}={shown}."
