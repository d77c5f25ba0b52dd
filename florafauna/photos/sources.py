"""Where photos lie: a folder, or a zip or tar archive read in place. A photo is its POSIX path below the root.

What is followed, and what is not:

- Hidden files and folders (a leading dot, `__MACOSX`) are passed over.
- A link to a file is followed wherever it leads, because `dvc checkout` makes such links into its cache. A link to a
  folder is not followed: DVC does not track what lies behind it, so a change there would rerun nothing.
- An archive that lies in a folder is read like a folder: `more.zip/a.jpg`. Archives inside archives are not.
"""

import errno
import os
import stat
from functools import cached_property
from pathlib import Path
from typing import Protocol

from florafauna.base.errors import UserError
from florafauna.photos.archives import ARCHIVE, Refused, TarSource, ZipSource, is_hidden, open_archive
from florafauna.photos.status import Status, status_of

# Archives of a folder whose members are listed at a time, in each process. Photos are read in the order of their paths,
# so that one would nearly do; the lists of all archives together take 0.7 to 0.9 KB a photo.
LISTED_AT_ONCE = 4


class Source(Protocol):
    """Read access to the files below a root, from several threads; it can be sent to worker processes, which open
    archives for themselves."""

    def read(self, path: str) -> bytes:
        """The bytes of a file; `OSError` where it cannot be read."""

    def stat(self, path: str) -> Status:
        """The status of a file; `OSError` as `read`."""

    def files(self) -> list[str]:
        """All files by path, sorted by code point. Bytes of a name that are not UTF-8 appear as surrogates."""

    def refused(self) -> list[Refused]:
        """What is not among `files` although it is there, sorted by path."""


def open_source(root: Path, setting: str = "data.root") -> Source:
    """The source at `root`; `UserError`, which names `setting`, where there is none."""
    if root.is_dir():
        return FolderSource(root)
    if not root.exists():
        raise UserError(f"{setting}: {root} does not exist; put the photos there or correct the path.")
    source = open_archive(root)
    if source is None:
        raise UserError(f"{setting}: {root} is neither a folder nor a zip or tar archive.")
    return source


class FolderSource:
    """A folder and the archives that lie in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._archives: dict[str, ZipSource | TarSource] = {}
        self._latest: list[ZipSource | TarSource] = []

    def __getstate__(self) -> dict[str, object]:
        return {"root": self.root, "_archives": self._archives, "_latest": []}

    def read(self, path: str) -> bytes:
        """See `Source`."""
        archive, member = self._split(path)
        if archive is not None:
            return archive.read(member)
        file = Path(self._inside(path))
        if not stat.S_ISREG(file.stat().st_mode):  # reading a pipe would wait for ever
            raise OSError(errno.ENXIO, "no regular file", path)  # what opening a socket gives
        return file.read_bytes()

    def stat(self, path: str) -> Status:
        """See `Source`."""
        archive, member = self._split(path)
        if archive is not None:
            return archive.stat(member)
        return status_of(os.stat(self._inside(path)))  # noqa: PTH116 - a Path takes ten times as long to make

    def files(self) -> list[str]:
        """See `Source`."""
        return self._listing[0]

    def refused(self) -> list[Refused]:
        """See `Source`."""
        return self._listing[1]

    def _inside(self, path: str) -> str:
        if path.startswith("/") or ".." in path.replace(os.sep, "/").split("/"):
            raise PermissionError(f"{path} lies outside {self.root}")
        return f"{self.root}/{path}"  # not a Path, which would take ten times as long

    def _split(self, path: str) -> tuple[Source | None, str]:
        """The archive that `path` leads into and the path inside it; (None, path) where there is none."""
        parts = path.split("/")
        for depth in range(1, len(parts)):
            if ARCHIVE.fullmatch(parts[depth - 1]):
                outer = "/".join(parts[:depth])
                if outer in self._archives or Path(self._inside(outer)).is_file():
                    archive = self._archive(outer)
                    if archive is not None:
                        return archive, "/".join(parts[depth:])
        return None, path

    def _archive(self, path: str) -> Source | None:
        if path not in self._archives:
            archive = open_archive(self.root / path)
            if archive is None:
                return None
            self._archives[path] = archive
        archive = self._archives[path]
        if archive not in self._latest[-1:]:
            self._latest = [*(each for each in self._latest if each is not archive), archive]
            for old in self._latest[:-LISTED_AT_ONCE]:
                old.forget()
            self._latest = self._latest[-LISTED_AT_ONCE:]
        return archive

    @cached_property
    def _listing(self) -> tuple[list[str], list[Refused]]:
        files: list[str] = []
        refused: list[Refused] = []
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(self.root / folder) as entries:
                    for entry in entries:
                        if not is_hidden(entry.name):
                            self._sort_in(entry, folder, files, folders, refused)
            except OSError as error:
                refused.append(Refused(folder or ".", "unreadable", error.strerror or str(error)))
        files.sort()
        return files, sorted(refused)

    def _sort_in(
        self, entry: os.DirEntry[str], folder: str, files: list[str], folders: list[str], refused: list[Refused]
    ) -> None:
        path = f"{folder}/{entry.name}" if folder else entry.name
        if entry.is_dir(follow_symlinks=False):
            folders.append(path)
            return
        try:
            # scandir knows plain files; asking for the mode of each would cost a system call
            mode = stat.S_IFREG if entry.is_file(follow_symlinks=False) else entry.stat().st_mode
        except OSError as error:
            refused.append(_broken_link(path, error))
            return
        if stat.S_ISDIR(mode):
            refused.append(Refused(path, "linked_folder", "a link to a folder; DVC does not track what it holds"))
        elif not stat.S_ISREG(mode):
            refused.append(Refused(path, "not_a_file", "a pipe, socket or device"))
        elif ARCHIVE.fullmatch(entry.name):
            self._list_archive(path, files, refused)
        else:
            files.append(path)

    def _list_archive(self, path: str, files: list[str], refused: list[Refused]) -> None:
        try:
            archive = self._archive(path)
            inner = archive.files() if archive is not None else []
        except (UserError, OSError) as error:
            refused.append(Refused(path, "unreadable", str(error)))
            return
        if archive is None:
            files.append(path)
            return
        files += [f"{path}/{member}" for member in inner]
        refused += [member._replace(path=f"{path}/{member.path}") for member in archive.refused()]


def _broken_link(path: str, error: OSError) -> Refused:
    if error.errno == errno.ELOOP:
        return Refused(path, "symlink_loop", "its symbolic links lead in a circle")
    if error.errno == errno.ENOENT:
        return Refused(path, "missing_file", "a link to a file that is not there; `dvc checkout` may bring it back")
    return Refused(path, "unreadable", error.strerror or str(error))
