"""Zip and tar archives read in place.

Members whose names leave the archive, links out of it and special files are refused.
"""

import bz2
import errno
import gzip
import lzma
import os
import posixpath
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Generic, NamedTuple, TypeVar

from florafauna.base.errors import UserError
from florafauna.photos.status import Status, status_of

ARCHIVE = re.compile(r".+\.(zip|tar|tar\.gz|tgz|tar\.bz2|tbz2|tar\.xz|txz)", re.IGNORECASE)
DRIVE = re.compile(r"[A-Za-z]:")
Unpacker = type[gzip.GzipFile] | type[bz2.BZ2File] | type[lzma.LZMAFile]
PACKED: dict[bytes, Unpacker] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
# Photos hardly compress; an archive that unpacks to more than this many times its size is a decompression bomb.
LARGEST_EXPANSION = 100
BROKEN_ARCHIVE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError,
    RuntimeError,  # zipfile: encrypted
    NotImplementedError,  # zipfile: a compression it does not know
    ValueError,
)  # fmt: skip

Member = TypeVar("Member", zipfile.ZipInfo, tarfile.TarInfo)


class Refused(NamedTuple):
    """A file that is there and is not offered: `reason` is one word for the quarantine, `detail` says more."""

    path: str
    reason: str
    detail: str


def open_archive(path: Path) -> "ZipSource | TarSource | None":
    """The archive at `path`, recognised by its content; None where it is not one."""
    try:
        if zipfile.is_zipfile(path):
            return ZipSource(path)
        if tarfile.is_tarfile(path):
            return TarSource(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None
    return None


def inner_path(path: str) -> str | None:
    r"""The normal form of a path that a label file or archive gives, or None where its text alone leaves the root.

    `\` is taken for `/`; `./a`, `a//b` and `a/../b` lose what they do not need; absolute paths, drives and `..` beyond
    the root leave it.
    """
    path = path.replace("\\", "/")
    if path.startswith("/") or DRIVE.match(path) or "\0" in path:
        return None
    path = posixpath.normpath(path)
    return None if path in (".", "..") or path.startswith("../") else path


def is_hidden(path: str) -> bool:
    """Whether a file, or a folder it lies in, is hidden."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


class Archive(Generic[Member]):
    """What zip and tar have in common: their members by path, listed when they are needed.

    Threads take turns: to read a member is to go to its place in the one open file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._turn = RLock()
        self._close: Callable[[], object] = _nothing

    def __getstate__(self) -> dict[str, object]:
        return {"root": self.root}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state, _turn=RLock(), _close=_nothing)

    def forget(self) -> None:
        """Close the file and drop the list of members, both until they are needed again."""
        with self._turn:
            for name in ("_listing", "_archive"):
                vars(self).pop(name, None)
            self._close()

    def files(self) -> list[str]:
        """See `Source`."""
        with self._turn:
            return sorted(self._listing[0])

    def refused(self) -> list[Refused]:
        """See `Source`."""
        with self._turn:
            return self._listing[1]

    def read(self, path: str) -> bytes:
        """See `Source`."""
        with self._turn:
            try:
                return self._content(self._member(path))
            except BROKEN_ARCHIVE as error:
                raise OSError(f"{path} in {self.root}: {error}") from error

    def stat(self, path: str) -> Status:
        """See `Source`."""
        with self._turn:
            return status_of(self.root.stat(), self._size(self._member(path)))

    @cached_property
    def _listing(self) -> tuple[dict[str, Member], list[Refused]]:
        """The members by path, of a name given twice the later one, as unzip and tar do; and what is refused."""
        members: dict[str, Member] = {}
        refused: list[Refused] = []
        try:
            self._sort_in(members, refused)
        except (*BROKEN_ARCHIVE, OSError) as error:
            raise UserError(f"{self.root} is a damaged archive ({error}); fetch or make it again.") from None
        return members, sorted(refused)

    def _sort_in(self, members: dict[str, Member], refused: list[Refused]) -> None:
        raise NotImplementedError

    def _content(self, member: Member) -> bytes:
        raise NotImplementedError

    def _size(self, member: Member) -> int:
        raise NotImplementedError

    def _member(self, path: str) -> Member:
        try:
            return self._listing[0][path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self.root}/{path}") from None

    def _leaves(self, name: str) -> Refused:
        return Refused(name, "outside_root", f"a member of {self.root.name} that leaves it")


class ZipSource(Archive[zipfile.ZipInfo]):
    """A zip archive."""

    def _content(self, member: zipfile.ZipInfo) -> bytes:
        return self._archive.read(member)

    def _size(self, member: zipfile.ZipInfo) -> int:
        return member.file_size

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        archive = zipfile.ZipFile(self.root)
        self._close = weakref.finalize(self, archive.close)
        return archive

    def _sort_in(self, members: dict[str, zipfile.ZipInfo], refused: list[Refused]) -> None:
        for info in self._archive.infolist():
            path, kind = inner_path(info.filename), stat.S_IFMT(info.external_attr >> 16)
            if path is None:
                refused.append(self._leaves(info.filename))
            elif info.is_dir() or is_hidden(path):
                continue
            elif kind not in (0, stat.S_IFREG):
                refused.append(Refused(path, "not_a_file", f"a link or special file in {self.root.name}"))
            else:
                members[path] = info


class TarSource(Archive[tarfile.TarInfo]):
    """A tar archive. One that is compressed is unpacked to a temporary .tar first, since photos are read in any order.

    The temporary file lasts as long as the object that made it; copies in other processes read the same file.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._plain = root
        with root.open("rb") as file:
            start = file.read(8)
        unpack = next((unpack for magic, unpack in PACKED.items() if start.startswith(magic)), None)
        if unpack is not None:
            self._plain = _unpacked(root, unpack)
            weakref.finalize(self, _remove, self._plain, os.getpid())

    def __getstate__(self) -> dict[str, object]:
        return {"root": self.root, "_plain": self._plain}

    def _content(self, member: tarfile.TarInfo) -> bytes:
        file = self._archive.extractfile(member)
        data = file.read() if file is not None else b""
        if len(data) != member.size:
            raise EOFError("the archive ends within it")
        return data

    def _size(self, member: tarfile.TarInfo) -> int:
        return member.size

    @cached_property
    def _archive(self) -> tarfile.TarFile:
        archive = tarfile.TarFile(self._plain)
        self._close = weakref.finalize(self, archive.close)
        return archive

    def _sort_in(self, members: dict[str, tarfile.TarInfo], refused: list[Refused]) -> None:
        links: dict[str, str | None] = {}
        for member in self._archive:
            path = inner_path(member.name)
            if member.isdir():
                continue
            if path is None:
                refused.append(self._leaves(member.name))
            elif is_hidden(path):
                continue
            elif member.isfile():
                members[path] = member
            elif member.issym() or member.islnk():
                links[path] = _target(path, member)
            else:
                refused.append(Refused(path, "not_a_file", f"a special file in {self.root.name}"))
        for path, target in links.items():
            if target in members:
                members[path] = members[target]
            else:
                refused.append(Refused(path, "outside_root", f"a link to no file of {self.root.name}"))


def _nothing() -> None:
    """Closes what has not been opened."""


def _target(path: str, link: tarfile.TarInfo) -> str | None:
    """What a link leads to: a symbolic one from its own folder, a hard one from the top; None outside the archive."""
    if link.linkname.startswith("/"):
        return None
    return inner_path(posixpath.join(posixpath.dirname(path), link.linkname) if link.issym() else link.linkname)


def _remove(path: Path, owner: int) -> None:
    """Remove a temporary file, but not from a forked process, whose parent still reads it."""
    if os.getpid() == owner:
        path.unlink(missing_ok=True)


def _unpacked(packed: Path, unpack: Unpacker) -> Path:
    """A temporary file with the unpacked content of `packed`; `UserError` where that fails or would be absurdly big."""
    most = LARGEST_EXPANSION * packed.stat().st_size
    with tempfile.NamedTemporaryFile(prefix="florafauna-", suffix=".tar", delete=False) as target:
        try:
            with unpack(packed) as source:
                while chunk := source.read(1 << 20):
                    target.write(chunk)
                    if target.tell() > most:
                        raise UserError(f"{packed} unpacks to more than {LARGEST_EXPANSION} times its size; refused.")
        except BaseException as error:
            Path(target.name).unlink()
            if not isinstance(error, (*BROKEN_ARCHIVE, OSError)):
                raise
            free = shutil.disk_usage(tempfile.gettempdir()).free >> 20
            raise UserError(
                f"{packed} cannot be unpacked ({error}; {free} MiB are free in {tempfile.gettempdir()}); "
                "unpack it and point data.root at the folder."
            ) from None
    return Path(target.name)
