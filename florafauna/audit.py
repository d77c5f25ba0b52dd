"""Every file → its facts, on all cores, decoding only what no earlier audit has seen; a bad file becomes a reason.

Facts are remembered by content outside DVC's outs. As in git and DVC, a file whose path, size and modification time
are those of the last audit is taken to be unchanged; one changed within two seconds of being read is read again.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from florafauna import perceptual
from florafauna.audit_cache import AuditCache, File
from florafauna.examine import (
    VERSION,
    Content,
    Reason,
    decoder_versions,
    examine,
    extension_matches,
    printable,
    refuse_name,
    refuse_size,
    unreadable,
)
from florafauna.progress import track

CHUNK = 32  # photos a task: 20 to 300 ms of work, so that neither the queue nor the last task costs much
WORTH_PROCESSES = 8 * CHUNK  # fewer photos are examined before other processes have started


class PhotoSource(Protocol):
    """Where photos lie, a folder or an archive. Picklable, so that other processes can read from it."""

    def read(self, path: str) -> bytes:
        """The content of a file; raises OSError."""

    def stat(self, path: str) -> tuple[int, int]:
        """Size in bytes and modification time in nanoseconds; raises OSError."""


@dataclass(frozen=True)
class Audit:
    """The facts of every file asked for, in the order asked.

    `table` has the columns path (as `examine.printable` gives it), reason ("" where usable), detail, sha256 ("" where
    not read), bytes, format, extension_matches, mode, orientation, width, height, flat, as `examine.Content` defines
    them. `hashes` is uint64 (files, views), `thumbnails` uint8 (files, THUMBNAIL, THUMBNAIL); both are zero where there
    is no picture.
    """

    table: pd.DataFrame
    hashes: perceptual.Hashes
    thumbnails: perceptual.Bytes


def audit(
    source: PhotoSource,
    paths: Sequence[str],
    origin: str = "",
    cache: Path | None = None,
    workers: int | None = None,
) -> Audit:
    """Look at every file in `paths` (no path twice).

    `origin` names the source in the cache, since two folders may hold the same paths; `cache` is a folder, without
    which nothing is remembered. `workers` is the number of processes, by default one a core; the result does not
    depend on it.
    """
    origin = printable(origin)  # a folder's name need not be UTF-8, and SQLite takes nothing else
    files: dict[str, File] = {}
    unknown: list[str] = []
    with AuditCache(cache, _version()) as memory:
        for path in paths:
            known = _without_reading(source, path, origin, memory)
            if known is None:
                unknown.append(path)
            else:
                files[path] = known
        for chunk in _examine_all(source, unknown, cache, workers):
            files.update((file.path, file) for file in chunk)
            memory.remember(origin, [file for file in chunk if file.sha256])
        memory.prune(origin, paths)
    return _tabulate([files[path] for path in paths])


def _version() -> str:
    return f"{VERSION}, {decoder_versions()}"


def _without_reading(source: PhotoSource, path: str, origin: str, memory: AuditCache) -> File | None:
    """The facts of a file that its name, size and time alone tell, or None."""
    refused = refuse_name(path)
    if refused is not None:
        return _not_read(path, refused)
    try:
        size, modified = source.stat(path)
    except Exception as error:  # besides OSError: a damaged archive raises errors of zipfile's and tarfile's own
        return _not_read(path, unreadable(error))
    refused = refuse_size(size)
    return memory.recall(origin, path, size, modified) if refused is None else _not_read(path, refused, size)


def _not_read(path: str, content: Content, size: int = 0) -> File:
    return File(path, "", size, 0, 0, content)


def _examine_all(
    source: PhotoSource, paths: Sequence[str], cache: Path | None, workers: int | None
) -> Iterator[list[File]]:
    """The facts of `paths`, in order, in chunks."""
    chunks = [list(paths[start : start + CHUNK]) for start in range(0, len(paths), CHUNK)]
    if workers is None:
        workers = (os.cpu_count() or 1) if len(paths) >= WORTH_PROCESSES else 1
    if min(workers, len(chunks)) > 1:
        results: Iterable[list[File]] = _in_processes(source, chunks, cache, min(workers, len(chunks)))
    else:
        results = (_examine_chunk(source, chunk, cache) for chunk in chunks)
    files = track(chain.from_iterable(results), "audit", total=len(paths))
    for chunk in chunks:
        yield [next(files) for _ in chunk]
    next(files, None)  # lets the progress bar see the end


def _in_processes(
    source: PhotoSource, chunks: Sequence[Sequence[str]], cache: Path | None, workers: int
) -> Iterator[list[File]]:
    """Chunks examined by several processes. A file that ends its process (a decoder's crash) is found by halving."""
    done, context = 0, _context()
    while done < len(chunks):
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            try:
                futures = [pool.submit(_examine_chunk, source, chunk, cache) for chunk in chunks[done:]]
                for future in futures:
                    yield future.result()
                    done += 1
            except BrokenProcessPool:
                pass
            finally:
                pool.shutdown(cancel_futures=True)
        if done < len(chunks):
            yield _examine_by_halves(source, chunks[done], cache)
            done += 1


def _context() -> BaseContext:
    # forkserver: a fork of this process could inherit a held lock; a preloaded server imports once for all workers
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _examine_by_halves(source: PhotoSource, paths: Sequence[str], cache: Path | None) -> list[File]:
    with ProcessPoolExecutor(1, mp_context=_context()) as pool:
        try:
            return pool.submit(_examine_chunk, source, paths, cache).result()
        except BrokenProcessPool:
            pass
    if len(paths) == 1:
        return [_not_read(paths[0], Content(Reason.CORRUPT, "it crashes the process that decodes it"))]
    middle = len(paths) // 2
    return _examine_by_halves(source, paths[:middle], cache) + _examine_by_halves(source, paths[middle:], cache)


def _examine_chunk(source: PhotoSource, paths: Sequence[str], cache: Path | None) -> list[File]:
    """Read and hash files; decode those whose content is not known."""
    files = []
    with AuditCache(cache, _version()) as memory:
        for path in paths:
            read_at = time.time_ns()
            try:
                size, modified = source.stat(path)
                data = source.read(path)
            except Exception as error:  # as above
                files.append(_not_read(path, unreadable(error)))
                continue
            sha256 = hashlib.sha256(data).hexdigest()
            files.append(File(path, sha256, size, modified, read_at, memory.content(sha256) or examine(data)))
    return files


def _tabulate(files: Sequence[File]) -> Audit:
    contents = [file.content for file in files]
    table = pd.DataFrame(
        {
            "path": [printable(file.path) for file in files],
            "reason": [str(content.reason) for content in contents],
            "detail": [content.detail for content in contents],
            "sha256": [file.sha256 for file in files],
            "bytes": [file.size for file in files],
            "format": [content.format for content in contents],
            "extension_matches": [extension_matches(file.path, file.content.format) for file in files],
            "mode": [content.mode for content in contents],
            "orientation": [content.orientation for content in contents],
            "width": [content.width for content in contents],
            "height": [content.height for content in contents],
            "flat": [content.flat for content in contents],
        }
    )
    hashes = np.frombuffer(b"".join(content.hashes for content in contents), "<u8").astype(np.uint64)
    thumbnails = np.frombuffer(b"".join(content.thumbnail for content in contents), np.uint8)
    side = perceptual.THUMBNAIL
    return Audit(table, hashes.reshape(-1, len(perceptual.VIEWS)), thumbnails.reshape(-1, side, side))
