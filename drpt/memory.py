"""Reuse of freed memory during CPU runs, and its release between runs. Works on Linux with glibc; elsewhere it does nothing.

By default glibc takes every large tensor from the kernel and returns it when it is freed, and the kernel zeroes the pages each
time. The README of experiments/overhead shows what that costs.
"""

import ctypes
import gc
import sys
from typing import Any

import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from malloc.h
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Allocate large tensors from the heap and keep freed memory there for the next step."""
    libc = _libc()
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)


def release_memory() -> None:
    """Return freed memory to the system, so that the next run in this process does not count it as its own."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    libc = _libc()
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _libc() -> Any:  # Any: symbols are looked up at run time
    return ctypes.CDLL(None) if sys.platform == "linux" else None
