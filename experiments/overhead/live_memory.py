"""Samples the peak of allocated bytes while something runs (with glibc; elsewhere unknown).

Resident memory is no measure in a process that keeps freed memory. Allocated bytes are those in use: tensors, scratch space of
kernels and large objects, without memory that a library maps by itself, as Python does for small objects. A thread samples
fifty times a second; the large tensors that make up a peak live longer.
"""

import ctypes
import sys
import threading
from types import TracebackType
from typing import Any

_SECONDS_BETWEEN = 0.02  # asking walks through all free blocks, which takes milliseconds, and malloc waits meanwhile


class _MallInfo(ctypes.Structure):
    """``struct mallinfo2`` of malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",  # bytes of blocks taken from the kernel one by one
            "usmblks",
            "fsmblks",
            "uordblks",  # bytes of the heaps' blocks that are handed out
            "fordblks",
            "keepcost",
        )
    )


class LiveMemory:
    """Samples allocated memory inside a ``with`` block.

    Attributes:
        peak: Peak in bytes above the start; None if the C library does not report it.
    """

    def __init__(self) -> None:
        self.peak: int | None = None
        self._ask = _asker()
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "LiveMemory":
        """Begin."""
        if self._ask is not None:
            self._thread = threading.Thread(target=self._watch, args=(_live_bytes(self._ask),), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """End, whatever happened."""
        self._ends.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, start: int) -> None:
        highest = start
        while not self._ends.is_set():
            highest = max(highest, _live_bytes(self._ask))
            self._ends.wait(_SECONDS_BETWEEN)
        self.peak = max(highest, _live_bytes(self._ask)) - start


def _asker() -> Any:  # Any: ctypes has no types for functions
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None  # Any: symbols are looked up at run time
    if not hasattr(libc, "mallinfo2"):
        return None
    ask = libc.mallinfo2
    ask.restype = _MallInfo
    return ask


def _live_bytes(ask: Any) -> int:  # Any: as above
    """Bytes that are allocated now, in all heaps."""
    found = ask()
    return int(found.uordblks + found.hblkhd)
