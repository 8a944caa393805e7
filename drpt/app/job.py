"""Runs one job of a command: skips it if it is finished, resumes it if it was interrupted. Imports torch only to train."""

import json
import logging
import shlex
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from drpt.analysis.run import (
    CHECKED_FILES,
    CHECKPOINTS,
    CONFIG_FILE,
    DATA_FILE,
    ENVIRONMENT_FILE,
    LOCK_FILE,
    MEASURED_FILES,
    SUMMARY_FILE,
)
from drpt.analysis.run_files import check_unchanged, checked_config, checked_mapping, checksums_of, read_yaml
from drpt.app.build_plugins import build_plugins
from drpt.app.config import check_config, drop_unused_strength, job_folder
from drpt.app.run_data import DataChangedError, DrawnBefore, check_data_are_the_same, describe_data, read_record
from drpt.capture.errors import UnsupportedModuleError
from drpt.data.pool_words import spoken
from drpt.files import remove_parts, write_atomically
from drpt.interruption import Interrupted, acknowledge, farewell, is_listening, is_stopping, listening, told
from drpt.rollouts.errors import RolloutError
from drpt.storage import StorageError, explain_failure, explain_os_error, require_file, require_folder
from drpt.tasks.find import find_task
from drpt.tasks.run_spec import RunSpec

_log = logging.getLogger(__name__)
_LAST = "last.ckpt"  # as in `drpt.modules.checkpoint_files`, which imports torch
_LOCK_SECONDS = 1.0  # a process that checks whether a run is active holds its lock for a moment


def run_job(config: DictConfig) -> str:
    """Train under one configuration, in the folder that Hydra gives it.

    A failure is recorded in the folder's summary, so that a sweep continues with its next job; the command line reports
    failures at its end.

    Args:
        config: Configuration composed by Hydra.

    Returns:
        The status: ``finished`` or ``failed``.

    Raises:
        Interrupted: The process received a signal to end; no other job must be started.
        SystemExit: The process received a signal to end, and another launcher than Hydra's basic one started it for this job.
    """
    if is_listening():
        return _run_job(config)
    with listening():
        try:
            return _run_job(config)
        except Interrupted as stop:
            raise SystemExit(stop.exit_code) from stop


def _run_job(config: DictConfig) -> str:
    hydra = HydraConfig.get()
    is_sweep = hydra.mode is RunMode.MULTIRUN
    folder = job_folder(config).absolute()
    number = f" #{hydra.job.num}" if is_sweep else ""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):  # Hydra's log file; on a full disk the terminal still shows everything
            handler.handleError = lambda record: None  # type: ignore[method-assign]  # of this handler alone
    try:
        spec = check_config(drop_unused_strength(config) if is_sweep else config)
        lock = _lock(folder)
        try:
            return _run_locked(spec, config, folder, number)
        finally:
            lock.release()
    except Timeout:
        _log.warning("%s: another process is running this job; skipped", folder)
    except Exception as error:  # no failure of this job may end the other jobs of a sweep
        if is_stopping():
            raise  # an exception of another library's signal handler
        if isinstance(error, OSError) and error.errno is not None and isinstance(error.filename, str):
            error = StorageError(explain_os_error(error))
        _note_failure(folder, error)
        if isinstance(error, ValueError | ArithmeticError | UnsupportedModuleError | RolloutError):  # they say what to do
            _log.error("%s failed: %s", folder.name, str(error) or type(error).__name__)
        else:
            _log.exception("%s failed", folder.name)
    return "failed"


def _lock(folder: Path) -> BaseFileLock:
    """Lock the folder, which is created if needed; raises `Timeout` if another process holds the lock."""
    require_folder(folder)
    require_file(folder / LOCK_FILE)
    lock = FileLock(folder / LOCK_FILE, timeout=_LOCK_SECONDS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise
    except OSError as error:
        raise StorageError(explain_failure(folder, error)) from error
    return lock


def _note_failure(folder: Path, error: Exception) -> None:
    """Record a failure, unless the run had finished before."""
    if is_finished(folder):
        return
    message = str(error) or type(error).__name__
    try:
        _write_summary(folder, {"status": "failed", "error": f"{type(error).__name__}: {message}", "label": folder.name})
    except StorageError as failure:
        _log.warning("the failure cannot be recorded: %s", failure)


def _run_locked(spec: RunSpec, config: DictConfig, folder: Path, number: str) -> str:
    if is_finished(folder):
        check_finished(folder, spec, DrawnBefore())
        _mend_config(folder, config)
        _log.info("%s is already finished; skipped", folder)
        if _is_uncleaned(folder):
            _clean_up(folder)
        return "finished"
    for place in (folder, folder / CHECKPOINTS):
        remove_parts(place, is_ours=True)
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    write_atomically(folder / CONFIG_FILE, OmegaConf.to_yaml(config, resolve=True))
    label = spec.regularizer.label
    started = {"status": "running", "label": label, "started": datetime.now(UTC).isoformat(timespec="seconds")}
    _write_summary(folder, started)
    require_folder(folder / CHECKPOINTS)  # otherwise the first checkpoint would fail
    try:
        with farewell(say=lambda: _note_interruption(folder, started, told())):
            for warning in find_task(spec.task.name).warnings(spec):
                _log.warning("%s", warning)
            source = build_plugins(spec)
            data = describe_data(spec, source)
            for level, line in spoken(data.pools, spec.data):
                _log.log(level, "%s", line)
            from drpt.app.environment import describe_environment
            from drpt.app.training import train  # imports torch, so only after the data were checked

            write_atomically(folder / ENVIRONMENT_FILE, json.dumps(describe_environment(sys.argv), indent=1))
            outcome = train(spec, {str(key): value for key, value in plain.items()}, source, data, folder, number)
    except BaseException as error:
        if isinstance(error, Exception) and not is_stopping():
            raise
        acknowledge()
        # A failure after a signal counts as an interruption: an engine may have received the signal, too.
        stop = told() if isinstance(error, Exception) else None
        _note_interruption(folder, started, stop or error)
        if stop is not None:
            raise stop from error
        raise
    _write_summary(
        folder, started | outcome | {"status": "finished", "checksums": checksums_of(folder, (*CHECKED_FILES, *MEASURED_FILES))}
    )
    _clean_up(folder)
    return "finished"


def _clean_up(folder: Path) -> None:
    """Remove from a finished run's checkpoints what only resuming needs; a failure is only a warning."""
    from drpt.modules.checkpoint_files import drop_optimizer_state

    try:
        drop_optimizer_state(folder / CHECKPOINTS)
        for place in (folder, folder / CHECKPOINTS):
            remove_parts(place, is_ours=True)
    except (StorageError, OSError, RuntimeError) as error:
        _log.warning("%s is finished; its checkpoints keep the optimizer's state: %s", folder.name, error)


def check_finished(folder: Path, spec: RunSpec, drawn: DrawnBefore) -> None:
    """Check that a finished run was made from the data, files and model that its configuration names now.

    Args:
        folder: Folder of the run.
        spec: Checked configuration of the run.
        drawn: Cache of fingerprints, shared between runs.

    Raises:
        DataChangedError: Data, files or model have changed, or the run's record of them is damaged.
    """
    try:
        check_unchanged(folder / DATA_FILE, _summary_of(folder))
    except (OSError, ValueError) as error:
        raise DataChangedError(
            f"{folder / DATA_FILE} is missing or damaged, so it is unknown which data this finished run was made from. Restore "
            "it, or remove the folder and train again."
        ) from error
    if not read_record(folder):
        _log.warning("%s has no %s: whether its data are still the same is unknown", folder, DATA_FILE)
    check_data_are_the_same(folder, drawn.fingerprints(spec))
    if spec.trainer.keep_steps:
        from drpt.modules.checkpoint_files import step_file

        missing = [step for step in spec.trainer.keep_steps if not (folder / CHECKPOINTS / step_file(step)).exists()]
        if missing:
            _log.warning(
                "%s finished without trainer.keep_steps=%s: its weights after steps %s were not kept. Remove the folder to "
                "train again.",
                folder,
                spec.trainer.keep_steps,
                missing,
            )
    last = folder / CHECKPOINTS / _LAST
    if not (last.is_file() and zipfile.is_zipfile(last)):
        _log.warning(
            "%s is missing or damaged: tables show this run, but drpt probe and drpt outcome cannot use its weights. Remove "
            "the folder to train again.",
            last,
        )


def needs_nothing(folder: Path) -> bool:
    """Whether a run is finished and its folder complete and cleaned up, so that its job can be skipped."""
    return is_finished(folder) and _has_config(folder) and not _is_uncleaned(folder)


def _has_config(folder: Path) -> bool:
    try:
        checked_config(read_yaml(folder / CONFIG_FILE))
        check_unchanged(folder / CONFIG_FILE, _summary_of(folder))
    except (OSError, ValueError, YAMLError, RecursionError):
        return False
    return True


def _is_uncleaned(folder: Path) -> bool:
    """Whether the last clean-up is incomplete, after an interruption or on a full disk."""
    return (folder / CHECKPOINTS / "previous.ckpt").exists()


def _mend_config(folder: Path, config: DictConfig) -> None:
    """Rewrite a finished run's configuration file if it is damaged; the folder's name identifies the configuration."""
    if not _has_config(folder):
        write_atomically(folder / CONFIG_FILE, OmegaConf.to_yaml(config, resolve=True))
        summary = _summary_of(folder)
        if "checksums" in summary:
            summary["checksums"] |= checksums_of(folder, [CONFIG_FILE])
            _write_summary(folder, summary)
        _log.warning("%s was damaged and has been rewritten", folder / CONFIG_FILE)


def _note_interruption(folder: Path, started: dict[str, Any], stop: BaseException | None) -> None:
    """Record that a run was interrupted, and tell the user where it will continue."""
    step = 0
    if any((folder / CHECKPOINTS).glob("*.ckpt")):
        from drpt.modules.checkpoint_files import peek_step

        step = peek_step(folder / CHECKPOINTS)
    where = f"after step {step}" if step else "from the beginning: no step was saved"
    words = f"`drpt resume {_shown(folder.parent)}` continues {folder.name} {where}"
    if isinstance(stop, Interrupted):
        stop.words = words
    else:
        _log.warning("stopped; %s", words)
    try:
        _write_summary(folder, started | {"status": "interrupted", "resumes_after_step": step})
    except StorageError as error:
        _log.warning("the interruption cannot be recorded: %s", error)


def _shown(folder: Path) -> str:
    """A path as it is typed in a shell, relative to the current folder if it is below."""
    here = Path.cwd()
    return shlex.quote(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))


def is_finished(folder: Path) -> bool:
    """Whether the run in a folder took all its steps."""
    try:
        return bool(_summary_of(folder)["status"] == "finished")
    except (OSError, ValueError, KeyError, RecursionError):  # missing or damaged
        return False


def _summary_of(folder: Path) -> dict[str, Any]:
    return checked_mapping(json.loads((folder / SUMMARY_FILE).read_text()))


def _write_summary(folder: Path, summary: dict[str, Any]) -> None:
    write_atomically(folder / SUMMARY_FILE, json.dumps(summary, indent=1))
