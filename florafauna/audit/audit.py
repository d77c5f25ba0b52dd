"""Every file → its facts, on all cores, decoding only what no earlier audit has seen; a bad file becomes a reason.

Facts are remembered by content outside DVC's outs. As in git and DVC, a file whose path, size, times and inode are
those of the last audit is taken to be unchanged; one changed within two seconds of being read is read again.
"""

import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from florafauna.audit import _perceptual
from florafauna.audit._cache import AuditCache, File
from florafauna.audit.examine import HASHED, Content, decoder_versions, examine
from florafauna.base.code import code_hash
from florafauna.base.cores import usable_cores
from florafauna.base.files import sha256_bytes
from florafauna.base.progress import track
from florafauna.base.tables import ROWS, mapped_zeros, spilled
from florafauna.photos.budget import ended_when_slow
from florafauna.photos.crops import Rectangle, content_of, split_name
from florafauna.photos.kinds import (
    CRASHES,
    Refusal,
    extension_matches,
    printable,
    refuse_name,
    refuse_size,
    unreadable,
)
from florafauna.photos.status import Status
from florafauna.photos.workers import Workers, map_despite_crashes, stop_server

CACHE = Path(".florafauna/audit")  # where runs of this folder remember
CHUNK = 32  # photos a task, at most: 20 to 300 ms of work, so that neither the queue nor the last task costs much
WORTH_IMPORTS = 1024  # new photos; fewer are examined before fresh processes have imported what they need
ASKED_AT_ONCE = 1024  # paths that the cache is asked for
COLUMNS = ["path", "reason", "detail", "sha256", "pixels", "bytes", "format", "extension_matches", "mode",
           "taken", "orientation", "width", "height", "flat"]  # fmt: skip
TEXTS = ("reason", "detail", "format", "mode")
NUMBERS = {
    "bytes": int,
    "extension_matches": bool,
    "taken": int,
    "orientation": int,
    "width": int,
    "height": int,
    "flat": bool,
}
ROW = np.dtype(
    [
        ("texts", "<i4"),  # the number of the file's TEXTS
        ("read", "?"),
        ("sha256", "V32"),
        ("pixels", f"V{HASHED}"),
        ("bytes", "<i8"),
        ("extension_matches", "?"),
        ("taken", "<i8"),
        ("orientation", "<i4"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("flat", "?"),
    ]
)


class PhotoSource(Protocol):
    """Where photos lie, a folder or an archive. Picklable, so that other processes can read from it."""

    def read(self, path: str) -> bytes:
        """The content of a file; raises OSError."""

    def stat(self, path: str) -> Status:
        """What tells that a file has changed; raises OSError."""


@dataclass(frozen=True)
class Audit:
    """The facts of every file asked for, in the order asked.

    `table` has the columns path (as `kinds.printable` gives it), reason ("" where usable), detail, sha256 ("" where
    not read), pixels ("" where not usable), bytes, format, extension_matches, mode, taken, orientation, width,
    height, flat, as `examine.Content` defines them. `hashes` is uint64 (files, views), `thumbnails` uint8 (files,
    THUMBNAIL, THUMBNAIL); both are zero where there is no picture.
    """

    table: pd.DataFrame
    hashes: _perceptual.Hashes
    thumbnails: _perceptual.Bytes


def audit(
    source: PhotoSource,
    paths: Sequence[str],
    origin: str = "",
    cache: Path | None = None,
    workers: int | None = None,
) -> Audit:
    """Look at every file in `paths` (no path twice), or at the crop of it that a path names (`crops.name_of`).

    `origin` names the source in the cache, since two folders may hold the same paths; `cache` is a folder, without
    which nothing is remembered. `workers` is the number of processes, by default one a core; the result does not
    depend on it. With 1 this process does it all, and a decoder that crashes ends it.

    >>> audit(FolderSource(Path("data/raw")), ["deer/a.jpg", "deer/b.jpg"])  # doctest: +SKIP
    """
    origin = printable(origin)  # a folder's name need not be UTF-8, and SQLite takes nothing else
    rows = _Rows(len(paths), cache)
    unknown = array("q")  # a list would take five times the memory
    version = _version()
    with AuditCache(cache, version) as memory:
        for start in range(0, len(paths), ASKED_AT_ONCE):
            asked = paths[start : start + ASKED_AT_ONCE]
            known = dict(enumerate(_without_reading(source, asked, origin, memory), start))
            unknown.extend(at for at, file in known.items() if file is None)
            rows.put({at: file for at, file in known.items() if file is not None})
        place = iter(unknown)
        for chunk in _examine_all(ExamineChunk(source, cache, version), paths, unknown, workers):
            memory.remember(origin, [file for file in chunk if file.sha256])
            rows.put(dict(zip(islice(place, len(chunk)), chunk, strict=True)))
        stop_server()
        memory.prune(origin, paths)
    return rows.audit(paths)


def _version() -> str:
    """What facts, and how they are remembered, depend on besides the content."""
    own = (f"florafauna.audit.{name}" for name in ("_cache", "_perceptual", "examine"))
    code = code_hash(*own, *(f"florafauna.photos.{name}" for name in ("budget", "crops", "kinds", "taken", "upright")))
    return f"code {code}, {decoder_versions()}"


def _without_reading(
    source: PhotoSource, paths: Sequence[str], origin: str, memory: AuditCache
) -> Iterator[File | None]:
    """The facts of each file that its name and status alone tell, or None."""
    found: list[File | Status] = [_refused_or_status(source, path) for path in paths]
    asked = {path: what for path, what in zip(paths, found, strict=True) if not isinstance(what, File)}
    known = memory.recall(origin, asked)
    for path, what in zip(paths, found, strict=True):
        yield what if isinstance(what, File) else known.get(path)


def _refused_or_status(source: PhotoSource, path: str) -> File | Status:
    file, _ = split_name(path)
    refused = refuse_name(file)
    if refused is not None:
        return _not_read(path, refused)
    try:
        status = source.stat(file)
    except Exception as error:  # besides OSError: a damaged archive raises errors of zipfile's and tarfile's own
        return _not_read(path, unreadable(error))
    refused = refuse_size(status.size)
    return status if refused is None else _not_read(path, refused, status.size)


def _not_read(path: str, refused: Refusal, size: int = 0) -> File:
    return File(path, "", Status(size, 0, 0, 0), 0, Content(*refused))


@dataclass(frozen=True)
class ExamineChunk:
    """Reads and hashes files; decodes those whose content is not known."""

    source: PhotoSource
    cache: Path | None
    version: str  # of the cache
    watched: bool = False  # whether a file that takes too long ends the process, which has to be a worker's

    def __call__(self, paths: Sequence[str]) -> list[File]:
        """The facts of `paths`, in order."""
        with AuditCache(self.cache, self.version, quiet=True) as memory:  # the audit itself says what is wrong with it
            return [self._file(path, memory) for path in paths]

    def _file(self, path: str, memory: AuditCache) -> File:
        read_at = time.time_ns()
        file, box = split_name(path)
        try:
            crop = Rectangle.parse(box) if box else None
            status = self.source.stat(file)
            data = self.source.read(file)
        except Exception as error:  # as above
            return _not_read(path, unreadable(error))
        sha256 = content_of(sha256_bytes(data), box)
        with ended_when_slow() if self.watched else nullcontext():
            content = memory.content(sha256) or examine(data, crop)
        return File(path, sha256, status, read_at, content)


def _examine_all(
    work: ExamineChunk, paths: Sequence[str], numbers: Sequence[int], workers: int | None
) -> Iterator[list[File]]:
    """The facts of those of `paths` that have these numbers, in order, in chunks."""
    alone, workers, total = workers == 1, workers or usable_cores(), len(numbers)
    size = min(CHUNK, -(-total // (16 * workers)) or 1)
    starts = range(0, total, size)

    def chunk(number: int) -> list[str]:  # made when it is needed: all of them would be memory that the workers need
        return [paths[at] for at in numbers[starts[number] : starts[number] + size]]

    results: Iterable[list[File]]
    if alone:
        results = (work(chunk(number)) for number in range(len(starts)))
    else:
        start = partial(_workers, replace(work, watched=True), few=total < WORTH_IMPORTS)
        results = map_despite_crashes(start, workers, len(starts), chunk, lambda path: _not_read(path, CRASHES))
    files = track(chain.from_iterable(results), "audit", total=total)
    for first in starts:
        yield list(islice(files, min(size, total - first)))
    next(files, None)  # lets the progress bar see the end


def _workers(work: ExamineChunk, count: int, few: bool) -> Workers[Sequence[str], list[File]]:
    return Workers(count, [__name__], work, forked=few)


class _Rows:
    """The facts of files, filled in any order, on the disk."""

    def __init__(self, count: int, folder: Path | None) -> None:
        self._folder = folder
        self._rows = mapped_zeros((count,), ROW, folder)
        self._texts = {("",) * len(TEXTS): 0}  # the number of each of the few different rows of TEXTS
        self._hashes = mapped_zeros((count, len(_perceptual.VIEWS)), np.dtype("<u8"), folder)
        self._thumbnails = mapped_zeros((count, _perceptual.THUMBNAIL**2), np.dtype(np.uint8), folder)

    def put(self, files: dict[int, File]) -> None:
        """Fill rows, by number."""
        if not files:
            return
        at, contents = list(files), [file.content for file in files.values()]
        self._rows[at] = np.array([self._row(file) for file in files.values()], ROW)
        for column, bytes_ in (
            (self._hashes, [content.hashes for content in contents]),
            (self._thumbnails, [content.thumbnail for content in contents]),
        ):
            column[at] = np.frombuffer(b"".join(bytes_), column.dtype).reshape(len(at), -1)

    def _row(self, file: File) -> tuple[Any, ...]:
        content, sha256 = file.content, file.sha256
        texts = (str(content.reason), content.detail, content.format, content.mode)
        return (
            self._texts.setdefault(texts, len(self._texts)),
            bool(sha256),
            bytes.fromhex(sha256),
            content.pixels,
            file.status.size,
            extension_matches(split_name(file.path)[0], content.format),
            content.taken,
            content.orientation,
            content.width,
            content.height,
            content.flat,
        )

    def audit(self, paths: Sequence[str]) -> Audit:
        """The rows, which are those of `paths`."""
        starts, side = range(0, max(len(paths), 1), ROWS), _perceptual.THUMBNAIL
        table = spilled(lambda: (self._table(paths, slice(start, start + ROWS)) for start in starts), self._folder)
        return Audit(table, self._hashes, self._thumbnails.reshape(-1, side, side))

    def _table(self, paths: Sequence[str], some: slice) -> pd.DataFrame:
        rows = self._rows[some]
        columns: dict[str, Any] = {name: rows[name].astype(kind) for name, kind in NUMBERS.items()}
        for name, texts in zip(TEXTS, zip(*self._texts, strict=True), strict=True):
            columns[name] = pd.array(texts, dtype="str").take(rows["texts"])
        columns["path"] = pd.array([printable(path) for path in paths[some]], dtype="str")
        columns["sha256"] = _hex(rows["sha256"], rows["read"])
        columns["pixels"] = _hex(rows["pixels"], columns["reason"] == "")
        return pd.DataFrame({name: columns[name] for name in COLUMNS})


def _hex(digests: npt.NDArray[Any], there: npt.NDArray[np.bool_]) -> Any:
    """A column of digests in hex, "" where none is there; made at once, since a string each is slow."""
    ends = np.concatenate([[0], np.cumsum(there) * 2 * digests.itemsize]).astype(np.int64)
    text = digests[there].tobytes().hex().encode()
    column = pa.LargeStringArray.from_buffers(len(there), pa.py_buffer(ends), pa.py_buffer(text))
    return pd.array(column, dtype="str")
