"""From a checked configuration to a trained, measured run: a list of parts, put together."""

import json
import logging
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from drpt.analysis.run import CHECKPOINTS, OUTCOMES_FILE, SAMPLES_FILE, summarize
from drpt.analysis.yardsticks import yardstick_of
from drpt.app.assembly import Assembly, Parts, assemble
from drpt.app.schema import RunSpec
from drpt.app.sweep_clock import current_clock
from drpt.app.tracking import finish_dashboard, start_tracking
from drpt.data.pools import Pools
from drpt.data.source import Source
from drpt.files import write_atomically
from drpt.geometry.regularizer import build_regularizer
from drpt.memory import keep_freed_memory, release_memory
from drpt.metrics import METRICS_FILE, read_metrics
from drpt.models.load import apply_finetune, count_parameters, load_model
from drpt.modules.checkpoints import LAST, Checkpoints
from drpt.modules.progress import TrainingProgress
from drpt.modules.rollout_tables import rollout_tables
from drpt.modules.run_folder_logger import RunFolderLogger
from drpt.rewards.build import prepare_rewards

_log = logging.getLogger(__name__)


def train(spec: RunSpec, config: dict[str, Any], source: Source, pools: Pools, folder: Path, number: str) -> dict[str, Any]:
    """Train, evaluate, and leave everything in the run's folder.

    Args:
        spec: The run's configuration.
        config: The same in plain values, for the tracker.
        source: Whose verifier judges answers.
        pools: Examples.
        folder: The run's; if it holds a checkpoint, training goes on from there.
        number: Of the job within its sweep, for the progress bar.

    Returns:
        What `summary.json` holds besides the status.

    Raises:
        ValueError: The model, its adapter or a classifier of the reward cannot be loaded, or the data go beyond the model's
            tokens or positions; ``data.packing`` with a model that would mix examples.
        KeyboardInterrupt: Training was interrupted from the keyboard.
        SystemExit: The process was told to end; checkpoints are as they were.
    """
    start = time.perf_counter()
    _quieten_libraries()
    keep_freed_memory()
    regularizer = build_regularizer(spec.regularizer, seed=spec.seed)
    # Before the policy: a classifier that is not there, or has no such label, ends the run at once.
    rewards = prepare_rewards(spec.reward) if spec.reward is not None else None
    loaded = load_model(spec.model, seed=spec.seed, max_length=spec.data.max_length)
    model = apply_finetune(loaded.model, spec.finetune, seed=spec.seed)
    num_trained, num_parameters = count_parameters(model)
    checkpoint = folder / CHECKPOINTS / LAST
    resume_step = _step_of(checkpoint)
    if resume_step:
        _log.info("%s goes on after step %d", folder.name, resume_step)
    parts = Parts(
        spec=spec,
        source=source,
        pools=pools,
        rewards=rewards,
        loaded=loaded,
        model=model,
        regularizer=regularizer,
        folder=folder,
        resume_step=resume_step,
    )
    assembly = assemble(parts)
    with assembly.cleanup:
        _report_counts(assembly.counts)
        figures = _fit(assembly, spec, config, folder, number, resume_step)
    result = figures | {
        "num_trained_parameters": num_trained,
        "num_parameters": num_parameters,
        "data_counts": assembly.counts,
        "seconds": time.perf_counter() - start,
    }
    del assembly, parts, model, loaded, rewards
    release_memory()
    return result


def _fit(
    assembly: Assembly, spec: RunSpec, config: dict[str, Any], folder: Path, number: str, resume_step: int
) -> dict[str, Any]:
    """Run the trainer under its loggers; figures of the run."""
    num_steps, evaluation = spec.trainer.max_steps, assembly.evaluation
    checkpoint = folder / CHECKPOINTS / LAST
    keeper = Checkpoints(
        checkpoint.parent,
        evaluation,
        every_steps=spec.trainer.checkpoint_every_steps,
        keep_steps=spec.trainer.keep_steps,
    )
    clock = current_clock()
    place = number if clock is None else f" {clock.place}"
    progress = TrainingProgress(
        f"{spec.regularizer.label} seed={spec.seed}{place}",
        evaluation,
        num_steps=num_steps,
        after_step=None if clock is None else clock.after_step,
    )
    metrics_logger = RunFolderLogger(folder, resume_step=resume_step)
    wandb_logger = start_tracking(spec, config, folder, is_resumed=resume_step > 0)
    exit_code = 1
    try:
        trainer = Trainer(
            max_steps=num_steps,
            accelerator=spec.trainer.accelerator,
            devices=1,
            precision=spec.trainer.precision,
            logger=[metrics_logger, *([wandb_logger] if wandb_logger else [])],
            callbacks=[evaluation, keeper, progress, *assembly.callbacks],
            num_sanity_val_steps=0,
            enable_checkpointing=False,  # ours writes what a resumed run needs, and no more
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            log_every_n_steps=1,
        )
        try:
            trainer.fit(assembly.module, assembly.data, ckpt_path=checkpoint if resume_step else None, weights_only=True)
        except SystemExit:
            # Lightning turns an interruption into an exit, and leaves the keyboard unheard.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if trainer.interrupted:
                raise KeyboardInterrupt from None
            raise
        selected_step = num_steps if keeper.best_step is None else keeper.best_step
        figures = summarize(read_metrics(folder / METRICS_FILE), selected_step, yardstick_of(spec.task.name))
        samples = evaluation.samples if keeper.best_step is None else keeper.best_samples
        if samples:  # none when all that was left to do was to sum up
            write_atomically(folder / SAMPLES_FILE, json.dumps(samples, indent=1, ensure_ascii=False))
        tables = {"samples": samples} | rollout_tables(folder)
        if "outcomes" in tables:
            write_atomically(folder / OUTCOMES_FILE, json.dumps(tables["outcomes"], indent=1))
        if wandb_logger is not None:
            finish_dashboard(wandb_logger, figures, tables)
        exit_code = 0
    finally:
        metrics_logger.close()
        if wandb_logger is not None:
            import wandb

            wandb.finish(exit_code=exit_code)  # the next run of a sweep must not land in this one's
    return {**figures, "steps": num_steps, "selected_step": selected_step}


def _step_of(checkpoint: Path) -> int:
    if not checkpoint.exists():
        return 0
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])


def _report_counts(counts: dict[str, int]) -> None:
    noted = {name: count for name, count in counts.items() if count}
    if noted:
        _log.info("examples cut or left out: %s", ", ".join(f"{name} {count}" for name, count in noted.items()))


def _quieten_libraries() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # deprecated inside Lightning, nothing of ours
    # A policy is trained in evaluation mode: without dropout.
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
    # Lightning's advice for data loaders with workers; ours makes a batch in well under a millisecond.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
