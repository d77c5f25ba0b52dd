"""Freed memory goes back to the system."""

import ctypes
import os
import sys

_M_MMAP_THRESHOLD, _BYTES = -3, 4 << 20


def give_freed_memory_back() -> None:
    """From now on, blocks of 4 MB and more are the system's again once they are freed.

    glibc asks for them one by one, too, but after the first is freed it keeps all up to 32 MB for later (mallopt(3)):
    half as much again as a split of a million photos needs. Not for training, where blocks of equal size come and go.
    """
    if sys.platform == "linux" and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _BYTES)
