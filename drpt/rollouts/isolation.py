"""Isolation of an engine that shares the trainer's process: every call leaves the trainer's global state as it was.

Measured with vLLM 0.32: it seeds the global random generators, replaces `torch.set_num_threads` by a function that does
nothing and, on the CPU, parts of `torch.cuda` by placeholders, sets environment variables (``LD_PRELOAD`` among them, which
every later process would inherit), freezes all objects of the garbage collector, resets the precision of float32 products,
makes a process group where there is none, and at its end destroys whatever group there is. It leaves alone signal handlers,
the default dtype, the start method of processes and the root logger.
"""

import gc
import logging
import os
import random
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

_QUIET = ("vllm", "torch._library.triton")  # loggers whose messages below errors do not help users
# What vLLM's CPU worker replaces. `torch.cuda.set_stream` is missing: on a GPU vLLM's version must see every call.
_REPLACED: tuple[tuple[Any, str], ...] = (
    (torch, "set_num_threads"),
    (torch, "Event"),
    (torch.cuda, "Event"),
    (torch.cuda, "Stream"),
    (torch.cuda, "current_stream"),
    (torch.cuda, "stream"),
    (torch.accelerator, "synchronize"),
    (torch.accelerator, "empty_cache"),
    (torch.accelerator, "get_memory_info"),
    (torch.Tensor, "pin_memory"),
    (torch.Tensor, "record_stream"),
)
_ABSENT = object()


class Isolation:
    """Separates the global state of one engine from that of its process.

    Environment variables and torch functions that the engine changes are restored after each call, and set again for the next.

    Args:
        environment: Environment variables for the engine.
        threads: Number of CPU threads for the engine; None keeps the process's number.
    """

    def __init__(self, environment: Mapping[str, str], *, threads: int | None) -> None:
        self._environment: dict[str, str | None] = dict(environment)
        self._attributes: dict[tuple[Any, str], Any] = {}
        self._threads = threads

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run the body with the engine's settings, and restore the trainer's afterwards, also after errors.

        Yields:
            Nothing.
        """
        with ExitStack() as stack:
            for part in (
                _random_states(),
                _arithmetic(self._threads),
                self._engine_attributes(),
                self._engine_environment(),
                _process_groups(),
                _collectable_objects(),
                _silence(),
            ):
                stack.enter_context(part)
            yield

    @contextmanager
    def _engine_environment(self) -> Iterator[None]:
        outside = dict(os.environ)
        _change_environment(self._environment)
        try:
            yield
        finally:
            inside = dict(os.environ)
            names = {*inside, *outside}
            self._environment |= {name: inside.get(name) for name in names if inside.get(name) != outside.get(name)}
            _change_environment({name: outside.get(name) for name in names})

    @contextmanager
    def _engine_attributes(self) -> Iterator[None]:
        outside = {place: vars(place[0]).get(place[1], _ABSENT) for place in _REPLACED}
        for place, value in self._attributes.items():
            _set_attribute(place, value)
        try:
            yield
        finally:
            for place, value in outside.items():
                own = vars(place[0]).get(place[1], _ABSENT)
                if own is not value:
                    self._attributes[place] = own
                    _set_attribute(place, value)


def _change_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        elif os.environ.get(name) != value:
            os.environ[name] = value


def _set_attribute(place: tuple[Any, str], value: Any) -> None:
    if value is _ABSENT:
        delattr(*place)
    else:
        setattr(*place, value)


@contextmanager
def _random_states() -> Iterator[None]:
    python, of_numpy, of_torch = random.getstate(), np.random.get_state(), torch.get_rng_state()
    of_cuda = torch.cuda.get_rng_state_all() if _has_cuda() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(of_numpy)
        torch.set_rng_state(of_torch)
        if of_cuda is not None:
            torch.cuda.set_rng_state_all(of_cuda)


@contextmanager
def _arithmetic(threads: int | None) -> Iterator[None]:
    """Set the engine's threads and the highest precision of matrix products; restore these and the current device."""
    set_threads, own_threads = torch.set_num_threads, torch.get_num_threads()
    precision = torch.get_float32_matmul_precision()
    device = torch.cuda.current_device() if _has_cuda() else None
    if threads is not None:
        set_threads(threads)
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        set_threads(own_threads)
        torch.set_float32_matmul_precision(precision)
        if device is not None:
            torch.cuda.set_device(device)


def _has_cuda() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_initialized()


@contextmanager
def _process_groups() -> Iterator[None]:
    """Keep the trainer's process group, and destroy one that the engine created for itself.

    A distributed strategy would otherwise take the engine's group for the trainer's and train without the other processes.
    """
    had_group, destroy, hook = dist.is_initialized(), dist.destroy_process_group, sys.excepthook

    def destroy_own(group: dist.ProcessGroup | None = None) -> None:
        is_default = group is None or group is dist.group.WORLD
        if not (had_group and is_default):
            with suppress(ValueError):  # destroyed before, together with its default group
                destroy(group)

    dist.destroy_process_group = destroy_own
    try:
        yield
    finally:
        dist.destroy_process_group = destroy
        if dist.is_initialized() and not had_group:
            destroy()
        sys.excepthook = hook  # replaced by torch for every new default group


@contextmanager
def _collectable_objects() -> Iterator[None]:
    had_frozen = gc.get_freeze_count() > 0
    try:
        yield
    finally:
        if not had_frozen:
            gc.unfreeze()


@contextmanager
def _silence() -> Iterator[None]:
    """Suppress log messages below errors, and warnings, which concern libraries that the engine inspects."""
    levels = {name: logging.getLogger(name).level for name in _QUIET}
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
