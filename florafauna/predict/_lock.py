"""A lock on a file that one process at a time may write. The system frees it when the process ends, however it ends."""

import errno
from importlib import import_module
from typing import Any, BinaryIO

IN_USE = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
FAR = (1 << 31) - 2  # others cannot read a byte that Windows locks, so lock one beyond the end of any file


def lock(file: BinaryIO) -> bool:
    """Lock an open file until it is closed; False if another process has locked it.

    True, without a lock, on a file system that does not support locks.
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
