"""Composing configurations outside a Hydra run, and saying what is wrong with the ones that cannot be composed."""

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, ValidationError

from drpt.app.config import ConfigError, register
from drpt.app.paths import config_folder
from drpt.checks import did_you_mean


def compose_run(overrides: Sequence[str], *, with_hydra: bool = False) -> DictConfig:
    """Compose a run's configuration as `drpt train` does.

    Args:
        overrides: As on the command line, without sweeps.
        with_hydra: Whether Hydra's own node is there too.

    Returns:
        The configuration; values are checked by `check_config`.

    Raises:
        ConfigError: A group, option or key does not exist or belongs to a group that is null, or a value has the wrong type.
    """
    register()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            return compose("train", list(overrides), return_hydra_config=with_hydra)
    except HydraException as error:
        raise ConfigError(explain(error)) from error
    except (AssertionError, ValueError) as error:  # what Hydra says of keys of a group that is null, and of a null for a group
        raise ConfigError("\n".join(_faults_of_null_groups(overrides)) or f"Hydra: {error}") from error


def _faults_of_null_groups(overrides: Sequence[str]) -> list[str]:
    groups = {path.name for path in config_folder().iterdir() if path.is_dir()}
    pairs = [(word, word.partition("=")[0].lstrip("+"), word.partition("=")[2]) for word in overrides]
    faults = [
        f"{word}: a group cannot be null; ~{key} takes it away."
        for word, key, value in pairs
        if key in groups and value == "null"
    ]
    if faults:
        return faults
    chosen = compose_run([word for word, key, _ in pairs if "." not in key])
    for _, key, _ in pairs:
        group = key.partition(".")[0]
        if group != key and group in groups and chosen.get(group) is None:
            faults.append(f"{key}: {group} is null here; {_what_brings(group)}.")
    return faults


def _what_brings(group: str) -> str:
    tasks = sorted(path.stem for path in config_folder().glob("task/*.yaml") if f"override /{group}:" in path.read_text())
    choices = sorted(path.stem for path in config_folder().glob(f"{group}/*.yaml"))
    brings = " or ".join(f"task={task}" for task in tasks)
    return f"{brings} brings it" if tasks else f"choose one of {', '.join(f'{group}={choice}' for choice in choices)}"


def explain(error: HydraException) -> str:
    """Hydra's complaint in our words: option, value, rule and choices.

    Args:
        error: Raised while composing.

    Returns:
        One or two lines.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        hint = did_you_mean(name, error.options)
        return f"{group}={name!r} is not known.{hint} Choices: {', '.join(error.options)}."
    if isinstance(error, OverrideParseException):
        return f"{str(error).splitlines()[0]}: write option=value."
    cause = error.__cause__
    if isinstance(error, ConfigCompositionException) and isinstance(cause, ConfigAttributeError | ConfigKeyError):
        key = str(cause.full_key)
        parent = key.rpartition(".")[0]
        known = [str(name) for name in cause.parent_node or () if name != "hydra"]
        name = key.rpartition(".")[2]
        where = f"In {parent} there is" if parent else "There is"
        choices = f" It has: {', '.join(known)}." if known else f" A new key is added with a plus: +{key}=…"
        return f"{where} no {name!r}.{did_you_mean(name, known)}{choices}"
    if isinstance(cause, ValidationError):
        return f"{cause.full_key}: {str(cause).splitlines()[0]}."
    # Hydra's own text is good for the rest, such as a line that does not parse.
    return str(error).split("\nConfig search path")[0].split("\nSee https")[0].strip()
