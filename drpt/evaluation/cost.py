"""What training costs: seconds a step and peak memory."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"  # proc_pid_clear_refs(5): the peak resident size becomes the present one


class CostMeter:
    """Times steps and follows the peak of the memory that the process (CPU) or the device (CUDA) held during them.

    On a CPU the peak is the process's resident size, libraries included. It is read from Linux's ``VmHWM``, which can be
    set back before a step; elsewhere no memory is reported rather than a figure that means something else.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.metrics: dict[str, float] = {}  # of the latest step

    @contextmanager
    def step(self) -> Iterator[None]:
        """Measure one training step: ``step_seconds`` and, where it can be known, ``peak_memory_bytes``."""
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
    except OSError:  # no Linux, or a container that forbids it
        return False
    return True


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
