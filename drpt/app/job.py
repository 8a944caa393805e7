"""One job of a run or sweep: skipped if it is finished, resumed if it was interrupted; light until it trains."""

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from drpt.analysis.run import CHECKPOINTS, CONFIG_FILE, ENVIRONMENT_FILE, LOCK_FILE, SUMMARY_FILE
from drpt.analysis.run_files import checked_config, read_yaml
from drpt.app.build_plugins import build_plugins
from drpt.app.config import check_config, drop_unused_strength, job_folder
from drpt.app.run_data import DrawnBefore, check_data_are_the_same, describe_data, write_record
from drpt.app.schema import RunSpec
from drpt.capture.errors import UnsupportedModuleError
from drpt.files import write_atomically
from drpt.rollouts.errors import RolloutError

_log = logging.getLogger(__name__)
_LOCK_SECONDS = 1.0  # whoever looks whether a run is at work holds its lock for a moment


def run_job(config: DictConfig) -> str:
    """Train under one configuration, in the folder that Hydra gives it.

    A failure is written down in the folder's summary, so that the next job of a sweep goes on; the command line reports
    failures at its end.

    Args:
        config: Composed by Hydra.

    Returns:
        The status: ``finished`` or ``failed``.
    """
    hydra = HydraConfig.get()
    is_sweep = hydra.mode is RunMode.MULTIRUN
    folder = job_folder(config).absolute()
    number = f" #{hydra.job.num}" if is_sweep else ""
    try:
        spec = check_config(drop_unused_strength(config) if is_sweep else config)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK_FILE, timeout=_LOCK_SECONDS):
            return _run_locked(spec, config, folder, number)
    except Timeout:
        _log.warning("%s: another process is at work here; skipped", folder)
    except Exception as error:  # whatever it is, the other jobs of a sweep must not be lost with this one
        message = str(error) or type(error).__name__
        if not is_finished(folder):
            _write_summary(folder, {"status": "failed", "error": f"{type(error).__name__}: {message}", "label": folder.name})
        if isinstance(error, ValueError | ArithmeticError | UnsupportedModuleError | RolloutError):  # they say what to do
            _log.error("%s failed: %s", folder.name, message)
        else:
            _log.exception("%s failed", folder.name)
    return "failed"


def _run_locked(spec: RunSpec, config: DictConfig, folder: Path, number: str) -> str:
    if is_finished(folder):
        check_finished(folder, spec, DrawnBefore())
        _mend_config(folder, config)
        _log.info("%s is finished already; skipped", folder)
        return "finished"
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    write_atomically(folder / CONFIG_FILE, OmegaConf.to_yaml(config, resolve=True))
    label = spec.regularizer.label
    started = {"status": "running", "label": label, "started": datetime.now(UTC).isoformat(timespec="seconds")}
    _write_summary(folder, started)
    try:
        source = build_plugins(spec)
        data = describe_data(spec, source)
        if (folder / CHECKPOINTS).exists():
            check_data_are_the_same(folder, data.fingerprints)
        write_record(folder, data)
        from drpt.app.environment import describe_environment
        from drpt.app.training import train  # torch and all that: not before the data are known to be good

        write_atomically(folder / ENVIRONMENT_FILE, json.dumps(describe_environment(sys.argv), indent=1))
        outcome = train(spec, {str(key): value for key, value in plain.items()}, source, data.pools, folder, number)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the first into the second
        _write_summary(folder, started | {"status": "interrupted"})
        raise
    _write_summary(folder, started | outcome | {"status": "finished"})
    from drpt.modules.checkpoints import drop_optimizer_state

    drop_optimizer_state(folder / CHECKPOINTS)  # nothing will be resumed
    return "finished"


def check_finished(folder: Path, spec: RunSpec, drawn: DrawnBefore) -> None:
    """See that a finished run is what its configuration asks for now.

    Args:
        folder: The run's.
        spec: Its checked configuration.
        drawn: What is known already of the data of other runs.

    Raises:
        DataChangedError: It was made from other data, files or another model.
    """
    check_data_are_the_same(folder, drawn.fingerprints(spec))
    if spec.trainer.keep_steps:
        from drpt.modules.checkpoints import step_file

        missing = [step for step in spec.trainer.keep_steps if not (folder / CHECKPOINTS / step_file(step)).exists()]
        if missing:
            _log.warning(
                "%s was finished before trainer.keep_steps=%s was asked for: its weights after steps %s were not kept. Remove "
                "the folder to train it again.",
                folder,
                spec.trainer.keep_steps,
                missing,
            )


def _mend_config(folder: Path, config: DictConfig) -> None:
    """Write a finished run's configuration again, should its file be damaged: the folder's name says that it is this one."""
    try:
        checked_config(read_yaml(folder / CONFIG_FILE))
    except (OSError, ValueError, YAMLError, RecursionError):
        write_atomically(folder / CONFIG_FILE, OmegaConf.to_yaml(config, resolve=True))
        _log.warning("%s was damaged, and has been written anew", folder / CONFIG_FILE)


def is_finished(folder: Path) -> bool:
    """Whether the run in a folder took all its steps."""
    try:
        return bool(json.loads((folder / SUMMARY_FILE).read_text())["status"] == "finished")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # not there, or damaged
        return False


def _write_summary(folder: Path, summary: dict[str, Any]) -> None:
    write_atomically(folder / SUMMARY_FILE, json.dumps(summary, indent=1))
