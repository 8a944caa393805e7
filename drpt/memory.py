"""Holding on to freed memory while a run works on a CPU, and giving it back between runs (Linux with glibc; elsewhere nothing).

By default glibc asks the kernel for every large tensor anew and returns it at once, and the kernel clears each page each time.
What that costs stands in experiments/overhead.
"""

import ctypes
import gc
import sys
from typing import Any

import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from malloc.h
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Take large tensors from the process's heap, and let freed ones stay there for the next step."""
    libc = _libc()
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)


def release_memory() -> None:
    """Give freed memory back, so that one run's leftovers are not counted as the next one's."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    libc = _libc()
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _libc() -> Any:  # Any: symbols are looked up at run time
    return ctypes.CDLL(None) if sys.platform == "linux" else None
