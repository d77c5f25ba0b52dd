"""A file that one process at a time writes to. The system frees the lock when the process ends, however it does."""

import errno
import sys
from typing import BinaryIO

IN_USE = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)

if sys.platform == "win32":
    import msvcrt

    FAR = (1 << 31) - 2  # a locked byte cannot be read by others, so one is taken that no part reaches

    def _try_to_lock(file: BinaryIO) -> None:
        at = file.tell()
        file.seek(FAR)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        finally:
            file.seek(at)

else:
    import fcntl

    def _try_to_lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock(file: BinaryIO) -> bool:
    """Lock an open file until it is closed; False where another process has locked it.

    True, and unlocked, on a file system that has no locks.
    """
    try:
        _try_to_lock(file)
    except OSError as error:
        return error.errno not in IN_USE
    return True
