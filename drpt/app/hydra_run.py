"""Calls Hydra with checked overrides: for one run, for the jobs of a sweep, or to print the configuration."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra import main as hydra_main
from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode

from drpt.app.config import register
from drpt.app.job import run_job
from drpt.app.paths import config_folder
from drpt.app.sweep_clock import SweepClock

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
_NAME = "train"  # name of conf/train.yaml, and of a run in Hydra's logs


def run_one(words: Sequence[str]) -> None:
    """Run a job in this process.

    Args:
        words: Overrides with a single value each.
    """
    with _hydra(words) as hydra:
        hydra.run(config_name=_NAME, task_function=run_job, overrides=list(words))


def run_jobs(words: Sequence[str], jobs: Sequence[Sequence[str]], *, num_finished: int) -> None:
    """Run the jobs of a sweep with Hydra's launcher. The basic launcher runs them in this process and estimates the time left.

    Args:
        words: Overrides of the command, for the folder and the launcher that all jobs share.
        jobs: Overrides of each job.
        num_finished: Number of finished jobs of the sweep, which are not among ``jobs``.
    """
    with _hydra(words) as hydra:
        config = hydra.compose_config(
            config_name=_NAME,
            overrides=[*words, "hydra.mode=MULTIRUN"],
            run_mode=RunMode.MULTIRUN,
            with_log_configuration=True,
        )
        callbacks = Callbacks(config)
        callbacks.on_multirun_start(config=config, config_name=_NAME)
        launcher = Plugins.instance().instantiate_launcher(
            config=config,
            hydra_context=HydraContext(config_loader=hydra.config_loader, callbacks=callbacks),
            task_function=run_job,
        )
        if config.hydra.launcher["_target_"] == BASIC_LAUNCHER:  # compared by name: Hydra's plugin search reloads the class
            clock = SweepClock(len(jobs), num_finished=num_finished)
            for number, job in enumerate(jobs):
                with clock.job(number):
                    (done,) = launcher.launch([list(job)], initial_job_idx=number)
                    _ = done.return_value  # raises the job's exception
        else:
            for done in launcher.launch([list(job) for job in jobs], initial_job_idx=0):
                _ = done.return_value
        callbacks.on_multirun_end(config=config, config_name=_NAME)


def ask(words: Sequence[str]) -> None:
    """Let Hydra print the configuration or sweep by itself, as its own command line does.

    Args:
        words: Flags and overrides as typed.
    """
    register()
    GlobalHydra.instance().clear()
    with _typed(words):
        hydra_main(version_base="1.3", config_path=str(config_folder()), config_name=_NAME)(run_job)()


@contextmanager
def _hydra(words: Sequence[str]) -> Iterator[Hydra]:
    register()
    version.setbase("1.3")
    GlobalHydra.instance().clear()
    with _typed(words):
        try:
            yield Hydra.create_main_hydra2(_NAME, create_config_search_path(str(config_folder())))
        finally:
            GlobalHydra.instance().clear()


@contextmanager
def _typed(words: Sequence[str]) -> Iterator[None]:
    """Put the overrides into ``sys.argv``, where Hydra reads and a run records them."""
    typed = sys.argv
    sys.argv = ["drpt train", *words]
    try:
        yield
    finally:
        sys.argv = typed
