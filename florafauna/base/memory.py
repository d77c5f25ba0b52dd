"""Memory that is freed goes back to the system, where glibc would keep it."""

import ctypes
import os
import sys
from collections.abc import Callable

_M_MMAP_THRESHOLD, _BYTES = -3, 4 << 20


def return_freed_memory() -> None:
    """Give back what this process has freed and its allocators keep: its children need memory now."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def return_large_blocks() -> None:
    """From now on, blocks of 4 MB and more that this process frees are the system's again at once.

    glibc keeps those of up to 32 MB for later once one has been freed (mallopt(3)): half as much again as a split of a
    million photos needs. Not for training, in which blocks of equal size come and go.
    """
    adjust = _of_glibc("mallopt")
    if adjust is not None and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        adjust(_M_MMAP_THRESHOLD, _BYTES)


def _of_glibc(name: str) -> Callable[..., int] | None:
    """None on other systems, and where the C library is another."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
