"""Locks on files that one process at a time may write. The system frees them when the process ends, however it ends."""

import errno
import os
from contextlib import suppress
from importlib import import_module
from typing import Any

_fcntl: Any = None
with suppress(ImportError):  # Windows has none
    _fcntl = import_module("fcntl")

# Whether a file can be renamed and removed while it is open, and so while it is locked.
OPEN_FILES_MOVE = _fcntl is not None
IN_USE = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
FAR = (1 << 31) - 2  # others cannot read a byte that Windows locks, so lock one beyond the end of any file


def lock(descriptor: int) -> None:
    """Lock an open file until it is closed.

    `BlockingIOError` where another process has locked it; another `OSError` where its file system supports no locks.
    """
    try:
        if _fcntl is not None:
            _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
        else:
            _lock_on_windows(descriptor)
    except OSError as error:
        if error.errno in IN_USE:
            raise BlockingIOError(*error.args) from None
        raise


def _lock_on_windows(descriptor: int) -> None:
    msvcrt: Any = import_module("msvcrt")
    at = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, FAR, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    finally:
        os.lseek(descriptor, at, os.SEEK_SET)
