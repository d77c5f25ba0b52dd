"""A lock on a file that one process at a time may write. The system frees it when the process ends, however it ends."""

import errno
import sys
from typing import BinaryIO

IN_USE = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)

if sys.platform == "win32":
    import msvcrt

    FAR = (1 << 31) - 2  # others cannot read a locked byte, so lock one beyond the end of any file

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
    """Lock an open file until it is closed; False if another process has locked it.

    True, without a lock, on a file system that does not support locks.
    """
    try:
        _try_to_lock(file)
    except OSError as error:
        return error.errno not in IN_USE
    return True
