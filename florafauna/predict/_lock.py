"""A file that one process at a time writes to. The system frees the lock when the process ends, however it does."""

import errno
from importlib import import_module
from typing import Any, BinaryIO

IN_USE = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
FAR = (1 << 31) - 2  # Windows lets nobody else read a locked byte, so one is taken that no part reaches


def lock(file: BinaryIO) -> bool:
    """Lock an open file until it is closed; False where another process has locked it.

    True, and unlocked, on a file system that has no locks.
    """
    try:
        _try_to_lock(file)
    except OSError as error:
        return error.errno not in IN_USE
    return True


def _try_to_lock(file: BinaryIO) -> None:
    try:
        import fcntl
    except ImportError:
        _try_on_windows(file)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _try_on_windows(file: BinaryIO) -> None:
    msvcrt: Any = import_module("msvcrt")
    at = file.tell()
    file.seek(FAR)
    try:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    finally:
        file.seek(at)
