"""Options that were renamed: an old name is refused with the new one, and what earlier versions wrote is read through the map.

``FORMAT`` counts the versions of a run's folder. It stands in the folder's ``environment.json``; folders of before have none
and are of format 1.
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
    """A value as it is called now.

    Args:
        key: The option's new name.
        value: What an earlier version called it.

    Returns:
        The new value; the same where nothing was renamed.
    """
    return VALUES.get(key, {}).get(value, value) if isinstance(value, str) else value


def old_value(key: str, value: object) -> object:
    """A value as format 1 called it; see `new_value`."""
    named = {new: old for old, new in VALUES.get(key, {}).items()}
    return named.get(value, value) if isinstance(value, str) else value


def read_through(config: Mapping[str, Any]) -> dict[str, Any]:  # Any: a configuration's values
    """A configuration that any version wrote, with the names of this one.

    Args:
        config: Plain values.

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
    """What to say to somebody who uses an old name.

    Args:
        key: An option's name.
        value: What it was to be set to, for the way out.

    Returns:
        A sentence with the new name; None for a name that is not an old one.
    """
    if (new := KEYS.get(key)) is None:
        return None
    shown = "…" if value is None else str(new_value(new, value))
    return f"{key} is called {new} now: {new}={shown}."
