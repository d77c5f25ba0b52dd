"""What tells that a file has changed without reading it, as git and DVC tell it."""

import os
from typing import NamedTuple


class Status(NamedTuple):
    """Of a file, or of the archive that it is a member of; the size is always its own.

    A file put in the place of another may have its size and modification time, but not its inode and time of change.
    """

    size: int  # in bytes
    modified: int  # in ns since the epoch, as `changed`
    changed: int
    inode: int


def status_of(file: os.stat_result, size: int | None = None) -> Status:
    """The status of a file, or of a member of it that has another size."""
    inode = file.st_ino & (1 << 63) - 1  # Windows has wider ones than databases take
    return Status(file.st_size if size is None else size, file.st_mtime_ns, file.st_ctime_ns, inode)
