"""The pixel store, to write: small files of whole photos, cut so that adding photos changes few of them.

The photos of a store lie in the order of their paths, in shards that are files of their own. A photo whose SHA-256
says so starts a shard, one in eight (content-defined chunking, as in rsync and backup programs): where the cuts are
depends on the photos alone, and a new photo changes the one shard that it falls into. All others keep their name and
bytes, so that this stage links them and DVC neither hashes nor copies nor pushes them again. Larger shards would be
fewer files for DVC to list, smaller ones less to copy for a new photo.
"""

import errno
import json
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from florafauna.base.cores import usable_cores
from florafauna.base.errors import UserError
from florafauna.base.files import atomic_path, flush, sha256_bytes
from florafauna.base.progress import track
from florafauna.base.tables import ROWS, parts_of, spilled
from florafauna.base.texts import AT_ONCE
from florafauna.photos.crops import Rectangle, content_of, split_name
from florafauna.photos.sources import Source
from florafauna.photos.workers import AHEAD, Workers, in_flight, one_thread
from florafauna.pixels.resize import resize
from florafauna.pixels.store import metadata_checksum
from florafauna.preprocess._kept import Kept, KeptPixels, read_kept
from florafauna.preprocess.decode import decode, decoder, stored_size

COLUMNS = ["path", "label", "target", "held_out", "group", "cluster", "sha256"]
# Where the rows have them: the rectangle that is stored, those of boxes in the stored photo, what evaluation groups by
ALSO = ["crop", "boxes", "sequence", "location"]
STARTS_SHARD = ("0", "8")  # last digit of the SHA-256 of a photo that starts one
CHUNK = 32  # photos handed to a process at a time, or one shard
WORTH_PROCESSES = 500e6  # pixels of original photos: about 3 s of decoding, what starting processes costs
A_PHOTO = 80_000  # pixels' worth of work that each photo costs besides its pixels
NAME_DIGITS = 32
ROWS_AT_ONCE = 4096
FLUSHED_AT_ONCE = 8  # files: a journal then writes their entries together


@dataclass(frozen=True)
class Place:
    """A photo, or a crop of it by its name, its stored size, and where its pixels are kept from an earlier run."""

    path: str
    crop: str
    height: int
    width: int
    sha256: str
    kept: Kept


@dataclass(frozen=True)
class Shard:
    """A file to be written: the pixels of photos one after another."""

    name: str
    places: list[Place]


@dataclass(frozen=True)
class ShardWriter:
    """Decodes photos, or copies what is kept of them, into shards below `folder`."""

    source: Source
    store_size: int
    folder: Path

    def __call__(self, shards: list[Shard]) -> list[tuple[str, int]]:
        """Write `shards`; returns for each photo the name and the checksum of its shard."""
        written = []
        for shard in shards:
            checksum = 0
            with (self.folder / shard.name).open("wb", buffering=0) as file:
                for place in shard.places:
                    size = place.height * place.width * 3
                    pixels = self._decoded(place) if place.kept is None else read_kept(place.kept, size)
                    if file.write(pixels) != len(pixels):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    checksum = zlib.crc32(pixels, checksum)
            written += [(shard.name, checksum)] * len(shard.places)
        return written

    def _decoded(self, place: Place) -> memoryview:
        try:
            crop = Rectangle.parse(place.crop) if place.crop else None
            data = self.source.read(split_name(place.path)[0] if crop else place.path)
            same = content_of(sha256_bytes(data), place.crop) == place.sha256
            pixels = decode(data, self.store_size, resize, crop) if same else None
        except Exception as error:  # Pillow raises a dozen classes for a file that changed since the audit
            raise _changed(place, str(error)) from None
        if pixels is None:
            raise _changed(place, "its content is another")
        if pixels.shape != (place.height, place.width, 3):
            raise _changed(place, f"its stored size is {pixels.shape[1]} × {pixels.shape[0]}")
        return pixels.data.cast("B")


def build_store(
    rows: pd.DataFrame,
    labels: list[str],
    source: Source,
    folder: Path,
    store_size: int,
    kept: KeptPixels | None = None,
    workers: int | None = None,
    facts: Mapping[str, str] | None = None,
) -> int:
    """Write the store of `rows` (manifest rows of one split, sorted by path); returns how many photos were decoded.

    Shards that `kept` holds are linked, and photos that it holds are copied, not decoded. Bytes depend neither on that
    nor on the number of workers, memory does not depend on the number of photos. A photo that is no longer what the
    manifest says is a `UserError`. `facts` are added to what the index says of all photos.
    """
    index = _index(rows, store_size, folder.parent)
    files = folder / "pixels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.parquet").unlink(missing_ok=True)  # a folder without an index is incomplete
        shutil.rmtree(files, ignore_errors=True)
        files.mkdir()
        try:
            decoded, checksums = _write_shards(rows, index, source, files, store_size, kept, workers)
        except BaseException:
            shutil.rmtree(files)
            raise
        metadata = {"labels": json.dumps(labels), "store_size": str(store_size), "decoder": decoder()}
        metadata |= facts or {}
        _write_index(folder / "index.parquet", index, checksums, metadata)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error}.") from None
    return decoded


def _write_shards(
    rows: pd.DataFrame,
    index: pd.DataFrame,
    source: Source,
    files: Path,
    store_size: int,
    kept: KeptPixels | None,
    workers: int | None,
) -> tuple[int, dict[str, int]]:
    """Link or write every file of `index`; returns how many photos were decoded, and the files' checksums."""
    names = set(index["shard"])
    linked = kept.link(names, files) if kept is not None else dict[str, int]()
    missing = (~index["shard"].isin(linked.keys())).to_numpy(dtype=bool)
    rest = index[missing] if linked else index  # a selection would be a copy
    _check_space(files, int((rest["height"] * rest["width"]).sum()) * 3)
    known = kept.find(rest) if kept is not None else [None] * len(rest)
    new = np.array([each is None for each in known], dtype=bool)
    writer = ShardWriter(source, store_size, files)
    work = int((rows["width"] * rows["height"] + A_PHOTO).to_numpy()[missing][new].sum())
    written = _write_all(writer, _shards(rest, known), workers, work)
    checksums = dict(track(written, f"preprocess {files.parent.name}", len(rest)))
    with ThreadPoolExecutor(FLUSHED_AT_ONCE) as pool:  # all at last: by now most is on the disk
        for _ in pool.map(flush, (files / name for name in names - linked.keys())):
            pass
    flush(files)
    return int(new.sum()), linked | checksums


def _index(rows: pd.DataFrame, store_size: int, scratch: Path) -> pd.DataFrame:
    """COLUMNS, the stored height and width, the shard, and where in it the pixels lie; its checksum is added later."""
    sizes = np.zeros((len(rows), 2), np.int64)
    shards, contents, number = list[str](), list[str](), np.zeros(len(rows), np.int64)
    for at, (sha256, width, height) in enumerate(_row_by_row(rows, ["sha256", "width", "height"])):
        if at and sha256[-1] in STARTS_SHARD:
            shards.append(_name(contents))
            contents = []
        sizes[at] = high, wide = stored_size(width, height, store_size)
        contents.append(f"{sha256} {high} {wide}")
        number[at] = len(shards)
    if contents:
        shards.append(_name(contents))
    lengths = sizes.prod(axis=1) * 3
    begin = np.cumsum(lengths) - lengths
    first = np.searchsorted(number, np.arange(len(shards)))
    names, columns = pd.array(shards, dtype="str"), [*COLUMNS, *rows.columns.intersection(ALSO)]

    def parts() -> Iterator[pd.DataFrame]:
        for start, part in zip(range(0, len(rows) + 1, ROWS), parts_of(rows[columns]), strict=False):
            some = slice(start, start + len(part))
            yield part.assign(
                height=sizes[some, 0],
                width=sizes[some, 1],
                shard=names.take(number[some]),
                offset=begin[some] - begin[first][number[some]],
            )

    return spilled(parts, scratch)


def _write_index(path: Path, index: pd.DataFrame, checksums: Mapping[str, int], metadata: dict[str, str]) -> None:
    """Write the table with a column of its shards' `checksums`, some rows at a time."""
    metadata = metadata | {"checksum": metadata_checksum(metadata)}

    def table(start: int) -> pa.Table:
        part = index.iloc[start : start + AT_ONCE]
        part = part.assign(checksum=np.array([checksums[name] for name in part["shard"]], np.int64))
        return pa.Table.from_pandas(part, preserve_index=False).replace_schema_metadata(metadata)

    first = table(0)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, first.schema, write_page_checksum=True) as writer:
        for start in range(0, max(len(index), 1), AT_ONCE):
            writer.write_table(table(start) if start else first)


def _name(contents: list[str]) -> str:
    return sha256_bytes("\n".join(contents).encode())[:NAME_DIGITS]


def _row_by_row(table: pd.DataFrame, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    """The values of some columns; few rows at a time become Python objects, which take ten times the memory."""
    for start in range(0, len(table), ROWS_AT_ONCE):
        some = table.iloc[start : start + ROWS_AT_ONCE]
        yield from zip(*(some[name].tolist() for name in columns), strict=True)


def _shards(index: pd.DataFrame, known: Sequence[Kept]) -> Iterator[Shard]:
    """The files to be written; a series of equal photos may need the same one twice, which is written once."""
    written = set[str]()
    shard = None
    columns = ["path", "height", "width", "sha256", "shard", "offset", *(["crop"] if "crop" in index.columns else [])]
    for (path, height, width, sha256, name, offset, *crop), kept in zip(
        _row_by_row(index, columns), known, strict=True
    ):
        if offset == 0:
            if shard is not None:
                yield shard
            shard = Shard(name, []) if name not in written else None
            written.add(name)
        if shard is not None:
            shard.places.append(Place(path, "".join(crop), height, width, sha256, kept))
    if shard is not None:
        yield shard


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder} needs {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB left; "
            "make room or lower image.store_size."
        )


def _write_all(
    writer: ShardWriter, shards: Iterator[Shard], workers: int | None, work: int
) -> Iterator[tuple[str, int]]:
    """Write all `shards`, by processes or, where there is too little `work` for them, threads; see `ShardWriter`."""
    few = workers is None and work <= WORTH_PROCESSES
    workers = workers or usable_cores()
    if workers == 1:
        yield from chain.from_iterable(writer([shard]) for shard in shards)
    elif few:
        with warnings.catch_warnings(), ThreadPoolExecutor(workers) as threads:  # decoders change the filters at once
            yield from chain.from_iterable(
                in_flight(lambda shard: threads.submit(writer, [shard]), shards, AHEAD * workers)
            )
    else:
        try:
            with Workers(workers, [__name__], writer, one_thread) as processes:
                yield from chain.from_iterable(processes.map(_chunks(shards)))
        except BrokenProcessPool:
            raise UserError(
                "a process that decodes photos was killed, most likely for want of memory; close other programs."
            ) from None


def _chunks(shards: Iterator[Shard]) -> Iterator[list[Shard]]:
    chunk = list[Shard]()
    for shard in shards:
        chunk.append(shard)
        if sum(len(each.places) for each in chunk) >= CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _changed(place: Place, how: str) -> UserError:
    return UserError(
        f"{place.path} is not what it was when the photos were split ({how}); run `dvc repro split` again."
    )
