"""An engine in the trainer's own process leaves the trainer as it found it.

vLLM seeds the global random generators, replaces `torch.set_num_threads` by a function that does nothing, changes environment
variables, makes a process group where there is none and destroys whatever there is when it shuts down, and talks a lot.
"""

import logging
import os
import random
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
import torch.distributed as dist

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_QUIET = ("vllm", "torch._library.triton")  # loggers whose remarks are of no use to whoever trains


class Isolation:
    """A room for calls into the engine.

    What the engine changes of the environment is there again in the next call, and nowhere else.

    Args:
        environment: Variables that the engine is to find.
        threads: Of its computations on the CPU.
    """

    def __init__(self, environment: Mapping[str, str], *, threads: int) -> None:
        self._environment: dict[str, str | None] = dict(environment)
        self._threads = threads

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run what is inside with the engine's settings; the trainer's are back afterwards, whatever happened.

        Yields:
            Nothing.
        """
        before = _State()
        outside = dict(os.environ)
        _change_environment(self._environment)
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.ERROR)
        torch.set_num_threads(self._threads)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # deprecations in libraries that the engine looks through
                yield
        finally:
            inside = dict(os.environ)
            self._environment |= {
                name: inside.get(name) for name in {*inside, *outside} if inside.get(name) != outside.get(name)
            }
            _change_environment({name: outside.get(name) for name in {*inside, *outside}})
            before.restore()


def _change_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        elif os.environ.get(name) != value:
            os.environ[name] = value


class _State:
    """What is global and the trainer's."""

    def __init__(self) -> None:
        self._python, self._numpy, self._torch = random.getstate(), np.random.get_state(), torch.get_rng_state()
        has_cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
        self._cuda = torch.cuda.get_rng_state_all() if has_cuda else None
        self._set_threads, self._threads = torch.set_num_threads, torch.get_num_threads()
        self._dtype = torch.get_default_dtype()
        self._signals = {number: signal.getsignal(number) for number in _SIGNALS}
        self._levels = {name: logging.getLogger(name).level for name in _QUIET}
        self._destroy = dist.destroy_process_group
        if dist.is_initialized() and dist.get_world_size() > 1:  # the trainer's: an engine that shuts down must leave it
            dist.destroy_process_group = _leave_group  # type: ignore[assignment]  # for as long as the engine has the word

    def restore(self) -> None:
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        torch.set_rng_state(self._torch)
        if self._cuda is not None:
            torch.cuda.set_rng_state_all(self._cuda)
        torch.set_num_threads = self._set_threads
        torch.set_num_threads(self._threads)
        torch.set_default_dtype(self._dtype)
        for number, handler in self._signals.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        dist.destroy_process_group = self._destroy


def _leave_group(*_: object) -> None:
    """In place of `torch.distributed.destroy_process_group`."""
