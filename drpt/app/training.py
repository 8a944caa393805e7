"""Trains and evaluates one run: builds the parts from a checked configuration and runs Lightning's trainer."""

import json
import logging
import signal
import time
import warnings
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import LightningEnvironment

from drpt.analysis.run import CHECKPOINTS, OUTCOMES_FILE, SAMPLES_FILE, summarize
from drpt.app.run_data import RunData, check_data_are_the_same, read_record, write_record
from drpt.app.sweep_clock import current_clock
from drpt.app.tracking import start_tracking
from drpt.data.source import Source
from drpt.files import write_atomically
from drpt.interruption import farewell, leave_protected
from drpt.journal import Journal
from drpt.memory import keep_freed_memory, release_memory
from drpt.metrics import METRICS_FILE, read_metrics
from drpt.models.chat_renderer import ChatStyle
from drpt.models.load import apply_finetune, count_parameters, load_model
from drpt.modules.build_regularizer import build_regularizer
from drpt.modules.checkpoint_files import (
    CheckpointError,
    DurableCheckpointIO,
    ResumePoint,
    find_resume_point,
    set_damaged_aside,
    step_file,
)
from drpt.modules.checkpoints import Checkpoints
from drpt.modules.progress import TrainingProgress
from drpt.modules.rollout_tables import rollout_tables
from drpt.modules.run_folder_logger import RunFolderLogger
from drpt.modules.step_end import StepEnd
from drpt.rewards.build import prepare_rewards
from drpt.tasks.assembly import Assembly, Parts
from drpt.tasks.find import find_task
from drpt.tasks.run_spec import RunSpec

_log = logging.getLogger(__name__)


def train(spec: RunSpec, config: dict[str, Any], source: Source, data: RunData, folder: Path, number: str) -> dict[str, Any]:
    """Train and evaluate a run, and store everything in its folder.

    Args:
        spec: Configuration of the run.
        config: Configuration of the run in plain values, as ``spec`` holds it, for the tracker.
        source: Data source, whose verifier judges answers.
        data: Examples, and fingerprints of everything the run is made from.
        folder: Folder of the run; training resumes from a checkpoint in it.
        number: Position of the job in its sweep, for the progress bar.

    Returns:
        The entries of `summary.json` besides the status.

    Raises:
        ValueError: The model, its adapter or a classifier of the reward cannot be loaded; the data exceed the model's
            vocabulary or positions; or ``data.packing`` is set for a model that would mix examples.
        CheckpointError: The run was begun before and cannot be resumed from its checkpoints.
        DataChangedError: The run was begun before with other examples or files.
        StorageError: The run's folder cannot be written to; checkpoints are unchanged.
        Interrupted: The process received a signal to end; a checkpoint has the state after the latest step.
    """
    start = time.perf_counter()
    _quieten_libraries()
    keep_freed_memory()
    # First, so that a run that cannot be resumed fails at once.
    resume, data = _resume_point(spec, data, folder)
    regularizer = build_regularizer(
        spec.regularizer, seed=spec.seed, sketch=spec.sketch, activation_budget_mib=spec.trainer.activation_budget_mib
    )
    # Before the policy: a classifier that is not there, or has no such label, ends the run at once.
    rewards = prepare_rewards(spec.reward) if spec.reward is not None else None
    loaded = load_model(spec.model, seed=spec.seed, max_length=spec.data.max_length)
    model = apply_finetune(loaded.model, spec.finetune, seed=spec.seed)
    num_trained, num_parameters = count_parameters(model)
    parts = Parts(
        spec=spec,
        source=source,
        pools=data.pools,
        style=ChatStyle(date=data.date, options=spec.model.chat_template_kwargs),
        rewards=rewards,
        loaded=loaded,
        model=model,
        regularizer=regularizer,
        folder=folder,
        checkpoints=folder / CHECKPOINTS,
        resume=resume,
    )
    assembly = find_task(spec.task.name).assemble(parts)
    with assembly.cleanup:
        _report_counts(assembly.counts)
        figures = _fit(assembly, parts, data, config | {"data_sizes": data.pools.sizes}, number)
    result = figures | {
        "num_trained_parameters": num_trained,
        "num_parameters": num_parameters,
        "data_counts": assembly.counts,
        "data_sizes": data.pools.sizes,
        "seconds": time.perf_counter() - start,
    }
    del assembly, parts, model, loaded, rewards
    release_memory()
    return result


def _resume_point(spec: RunSpec, data: RunData, folder: Path) -> tuple[ResumePoint, RunData]:
    """Find the checkpoint to resume from, check that the data have not changed, and log faults of newer checkpoints.

    Args:
        spec: Configuration of the run.
        data: Present examples and fingerprints.
        folder: Folder of the run.

    Returns:
        The checkpoint to resume from, and the data with the date on which the run began.
    """
    found = find_resume_point(folder, folder / CHECKPOINTS, num_steps=spec.trainer.max_steps)
    if found.path is not None:
        check_data_are_the_same(folder, data.fingerprints, found.data)
    data = data.begun(found.data or {}, read_record(folder))
    write_record(folder, data)
    for fault in found.passed_over:
        _log.warning("%s", fault)
    if found.step:
        _log.info("%s resumes after step %d", folder.name, found.step)
        late = [step for step in spec.trainer.keep_steps if step < found.step]
        if missing := [step for step in late if not (folder / CHECKPOINTS / step_file(step)).exists()]:
            _log.warning(
                "%s: trainer.keep_steps=%s was added after step %d: the weights after steps %s were not kept.",
                *(folder.name, spec.trainer.keep_steps, found.step, missing),
            )
    elif read_metrics(folder / METRICS_FILE):
        _log.warning("%s starts from the beginning: there is no checkpoint in %s", folder.name, folder / CHECKPOINTS)
    return found, data


def _fit(assembly: Assembly, parts: Parts, data: RunData, config: dict[str, Any], number: str) -> dict[str, Any]:
    """Run the trainer with its loggers, and return the figures of the run."""
    spec, folder, resume = parts.spec, parts.folder, parts.resume
    num_steps, evaluation = spec.trainer.max_steps, assembly.evaluation
    task_metrics = find_task(spec.task.name).metrics
    checkpoint = set_damaged_aside(folder / CHECKPOINTS, resume)
    metrics = _metrics_journal(folder, resume)
    keeper = Checkpoints(
        folder / CHECKPOINTS,
        evaluation,
        journals=[metrics, *assembly.journals],
        data=data.remembered,
        every_steps=spec.trainer.checkpoint_every_steps,
        keep_steps=[step for step in spec.trainer.keep_steps if step >= resume.step],
    )
    clock = current_clock()
    progress = TrainingProgress(
        f"{spec.regularizer.label} seed={spec.seed}{number if clock is None else f' {clock.place}'}",
        evaluation,
        task_metrics.progress,
        num_steps=num_steps,
        after_step=None if clock is None else clock.after_step,
    )
    mirror = start_tracking(spec, config, folder, read_metrics(metrics.path))
    exit_code, is_interrupted = 1, False
    try:
        loggers = [RunFolderLogger(metrics), *([mirror] if mirror else [])]
        # Order matters: callbacks that record a step, its end, and then those that may be interrupted and repeated.
        callbacks = [*assembly.recorders, StepEnd(), evaluation, keeper, progress, *assembly.callbacks]
        trainer = _trainer(spec, loggers, callbacks)
        with farewell(save=lambda: keeper.rescue(trainer), say=lambda: None):
            _run(trainer, assembly, checkpoint)
        selected_step = num_steps if keeper.best_step is None else keeper.best_step
        figures = summarize(read_metrics(metrics.path), selected_step, task_metrics)
        samples = evaluation.samples if keeper.best_step is None else keeper.best_samples
        tables = _write_tables(folder, samples)
        if mirror is not None:
            mirror.conclude(figures, tables)
        exit_code = 0
    except BaseException as error:
        is_interrupted = not isinstance(error, Exception)
        raise
    finally:
        leave_protected()
        for journal in (metrics, *assembly.journals):
            journal.close()
        if mirror is not None:
            mirror.close(exit_code=exit_code, is_preempted=is_interrupted)
    return {**figures, "steps": num_steps, "selected_step": selected_step}


def _trainer(spec: RunSpec, loggers: list[Logger], callbacks: list[Callback]) -> Trainer:
    trainer = Trainer(
        max_steps=spec.trainer.max_steps,
        accelerator=spec.trainer.accelerator,
        devices=1,
        precision=spec.trainer.precision,
        logger=loggers,
        callbacks=callbacks,
        # One process, also under Slurm: `drpt.interruption` handles its signals.
        plugins=[LightningEnvironment(), DurableCheckpointIO()],
        num_sanity_val_steps=0,
        enable_checkpointing=False,  # `Checkpoints` writes only what resuming needs
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=1,
    )
    # Lightning's own handler would end a run on SIGTERM after its last step, even where SIGTERM is ignored.
    trainer._signal_connector.register_signal_handlers = lambda: None
    return trainer


def _write_tables(folder: Path, samples: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Write samples and verifier outcomes into the run's folder, and return all tables by name."""
    if samples:  # empty for a checkpoint of a version that did not store samples
        write_atomically(folder / SAMPLES_FILE, json.dumps(samples, indent=1, ensure_ascii=False))
    tables = {"samples": samples} | rollout_tables(folder)
    if "outcomes" in tables:
        write_atomically(folder / OUTCOMES_FILE, json.dumps(tables["outcomes"], indent=1))
    return tables


def _run(trainer: Trainer, assembly: Assembly, checkpoint: Path | None) -> None:
    try:
        trainer.fit(assembly.module, assembly.data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        if not trainer.interrupted or signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            raise  # an exception of another library's signal handler, such as a cluster's
        # Lightning turns a KeyboardInterrupt of another library into an exit, and leaves SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from None


def _metrics_journal(folder: Path, resume: ResumePoint) -> Journal:
    """Open the metrics file with the lines up to the checkpoint; refuse it if steps before the checkpoint are missing."""
    path = folder / METRICS_FILE
    if METRICS_FILE in resume.journals or not resume.step:
        return Journal(path, resume.journals.get(METRICS_FILE))
    kept = [line for line in read_metrics(path) if line["step"] <= resume.step]
    missing = resume.step - len({line["step"] for line in kept if line["step"] > 0})
    if missing:
        raise CheckpointError(
            f"{path}: {missing} of the {resume.step} steps before the checkpoint have no line. Restore the file from a copy, "
            f"or delete {folder / CHECKPOINTS} to train this run from the beginning."
        )
    return Journal.of(path, kept)


def _report_counts(counts: dict[str, int]) -> None:
    noted = {name: count for name, count in counts.items() if count}
    if noted:
        _log.info("examples cut or left out: %s", ", ".join(f"{name} {count}" for name, count in noted.items()))


def _quieten_libraries() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # a deprecation inside Lightning
    # A policy is trained in evaluation mode, that is, without dropout.
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
    # Lightning advises more workers, but a batch takes well under a millisecond.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
