"""Cost of training: seconds per step and peak memory."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"  # proc_pid_clear_refs(5): resets the peak resident size to the current one


class CostMeter:
    """Measures the time of each step and the peak memory of the process (CPU) or the device (CUDA) during it.

    On a CPU the peak is the resident size of the process, libraries included. It is read from Linux's ``VmHWM``, which can be
    reset before a step. On other systems no memory is reported.

    Args:
        device: Device on which the steps run.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.metrics: dict[str, float] = {}  # metrics of the latest step

    @contextmanager
    def step(self) -> Iterator[None]:
        """Measure one training step: ``step_seconds`` and, where the system reports it, ``peak_memory_bytes``."""
        can_measure_memory = _reset_peak(self._device)
        self._synchronize()
        start = time.perf_counter()
        yield
        self._synchronize()
        self.metrics = {"train/step_seconds/value": time.perf_counter() - start}
        if can_measure_memory:
            self.metrics["train/peak_memory_bytes/value"] = float(_peak_bytes(self._device))

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _reset_peak(device: torch.device) -> bool:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:  # not Linux, or a container that forbids it
        return False
    return True


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
