"""What training costs: seconds a step and peak memory."""

import ctypes
import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch

_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc_pid_clear_refs(5): the peak resident size becomes the present one


class CostMeter:
    """Times steps and follows the peak of the memory that the process (CPU) or the device (CUDA) held during them.

    On a CPU the peak is the process's resident size, libraries included. It is read from Linux's ``VmHWM``, which can be
    set back between steps; elsewhere no memory is reported rather than a figure that means something else.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds: list[float] = []
        self._peak_bytes: list[int] = []

    @contextmanager
    def step(self) -> Iterator[None]:
        """Measure one training step."""
        _reset_peak(self._device)
        self._synchronize()
        start = time.perf_counter()
        yield
        self._synchronize()
        self._seconds.append(time.perf_counter() - start)
        if (peak := _peak_bytes(self._device)) is not None:
            self._peak_bytes.append(peak)

    @property
    def last_seconds(self) -> float:
        """Of the latest step."""
        return self._seconds[-1]

    def metrics(self) -> dict[str, float]:
        """``step_seconds/median`` without the first step, which warms up (if there are others), and ``peak_memory_bytes/max``."""
        metrics: dict[str, float] = {}
        if self._seconds:
            metrics["train/step_seconds/median"] = median(self._seconds[1:] or self._seconds)
        if self._peak_bytes:
            metrics["train/peak_memory_bytes/max"] = float(max(self._peak_bytes))
        return metrics

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def release_memory() -> None:
    """Give freed memory back, so that one run's leftovers are not counted as the next one's."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc keeps freed pages; other C libraries have none
        if trim is not None:
            trim(0)


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR_REFS.exists():
        try:
            _CLEAR_REFS.write_text(_RESET_PEAK)
        except OSError:  # a locked-down container: the peak then is that of the process's life
            return


def _peak_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
