"""Reads the overrides of `drpt probe`: the model, its checkpoint, and a regularizer besides the families. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from drpt.analysis.run import ResultsError
from drpt.app.compose import compose_run
from drpt.app.config import check_config, resolve
from drpt.app.run_config import read_config
from drpt.app.words import literal_values
from drpt.modules.regularizer_spec import RegularizerSpec
from drpt.tasks.run_spec import RunSpec

_FIXED = {
    "seed",
    "data",
    "data/general",
    "data/target",
    "data.num_target",
    "data.num_general",
    "data.split_seed",
}  # options that determine what a run was trained on


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSubject:
    """What is probed."""

    spec: RunSpec
    run: Path | None  # folder of a run; None for the model before training
    checkpoint: str  # first, last, best or a step
    own: RegularizerSpec | None  # a regularizer to measure besides the families


def read_probe_words(overrides: Sequence[str]) -> ProbeSubject:
    """Read ``run=`` and ``checkpoint=``, which name the model, and overrides of its configuration.

    Args:
        overrides: Overrides as typed.

    Returns:
        Model, checkpoint, configuration and regularizer.

    Raises:
        ResultsError: An override is repeated or contradicts another one, or the run does not exist.
        ConfigError: An override of the configuration is faulty.
    """
    own: dict[str, str] = {}
    words = []
    for word in overrides:
        key, _, value = word.partition("=")
        if key not in {"run", "checkpoint"}:
            words.append(word)
        elif key in own or not value:
            raise ResultsError(f"{word}: give {key}= once, with a value.")
        else:
            own[key] = value
    composed = compose_run([*words, "sweep=probe"])  # checks names and values
    is_named = any(word.lstrip("+").startswith("regularizer") for word in words)
    if "run" not in own:
        if "checkpoint" in own:
            raise ResultsError(f"checkpoint={own['checkpoint']} needs a run: add run=FOLDER.")
        spec = check_config(composed)
        return ProbeSubject(spec=spec, run=None, checkpoint="first", own=spec.regularizer if is_named else None)
    checkpoint = own.get("checkpoint", "last")
    if checkpoint not in {"first", "last", "best"} and not checkpoint.isdigit():
        raise ResultsError(f"checkpoint={checkpoint} must be first, last, best or the number of a step.")
    run = Path(own["run"]).expanduser()
    if not run.is_dir():
        raise ResultsError(f"run={own['run']}: there is no such folder; give the folder of one run, runs/SWEEP/JOB.")
    config = read_config(run)
    config["sweep"] = "probe"
    values, _ = resolve(composed)
    for word in words:
        key = word.partition("=")[0].lstrip("+~")
        if key in _FIXED or key.startswith(("data.source", "data.general.", "data.target.")):
            raise ResultsError(f"{word}: run={run} was trained with its own value. Leave this out; --seed gives other draws.")
        value = OmegaConf.select(OmegaConf.create(literal_values(values)), key)
        OmegaConf.update(
            config, key, literal_values(OmegaConf.to_container(value) if OmegaConf.is_config(value) else value), force_add=True
        )
    spec = check_config(config)
    return ProbeSubject(spec=spec, run=run, checkpoint=checkpoint, own=spec.regularizer if is_named else None)
