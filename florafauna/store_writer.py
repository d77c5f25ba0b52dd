"""The pixel store, to write: every process decodes photos into their own places in one file, known beforehand."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from florafauna.errors import UserError
from florafauna.files import atomic_path
from florafauna.kept_pixels import KeptPixels
from florafauna.pixels import decode, stored_size
from florafauna.progress import track
from florafauna.resize import resize
from florafauna.sources import Source

COLUMNS = ["path", "label", "target", "held_out", "group", "cluster", "sha256"]
CHUNK = 32  # photos handed to a process at a time
WORTH_PROCESSES = 500e6  # pixels of original photos: about 3 s of decoding, what starting processes costs


@dataclass(frozen=True)
class Place:
    """A photo to be decoded, its stored size, and where its pixels go in the file."""

    path: str
    height: int
    width: int
    offset: int


def build_store(
    rows: pd.DataFrame,
    labels: list[str],
    source: Source,
    folder: Path,
    store_size: int,
    kept: KeptPixels | None = None,
    workers: int | None = None,
    ancestors: list[dict[str, str]] | None = None,
) -> int:
    """Write the store of `rows` (manifest rows of one split, sorted by path); returns how many photos were decoded.

    The pixels of photos that `kept` holds are copied, not decoded. Bytes do not depend on the number of workers,
    memory does not depend on the number of photos. A photo that is no longer what the manifest says is a `UserError`.
    `ancestors` holds the taxa of each label by rank, where they are known.
    """
    index = _index(rows, store_size)
    total = int((index["height"] * index["width"]).sum()) * 3
    try:
        _check_space(folder, total)
        (folder / "index.parquet").unlink(missing_ok=True)  # a folder without an index is incomplete
        with atomic_path(folder / "pixels") as temporary:
            os.truncate(temporary, total)
            new = ~kept.copy_to(temporary, index) if kept is not None else np.ones(len(index), dtype=bool)
            work = partial(_decode_chunk, source, store_size, temporary)
            decoded = _decode_all(work, _places(index[new]), workers or _worthwhile_workers(rows[new]))
            for _ in track(decoded, f"preprocess {folder.name}", int(new.sum())):
                pass
        table = pa.Table.from_pandas(index, preserve_index=False)
        metadata = {"labels": json.dumps(labels), "store_size": str(store_size)}
        if ancestors is not None and any(ancestors):
            metadata["ancestors"] = json.dumps(ancestors)
        table = table.replace_schema_metadata(metadata)
        with atomic_path(folder / "index.parquet") as temporary:
            pq.write_table(table, temporary)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error}.") from None
    return int(new.sum())


def _places(index: pd.DataFrame) -> Iterator[Place]:
    return map(Place, index["path"], *(map(int, index[column]) for column in ("height", "width", "offset")))


def _worthwhile_workers(rows: pd.DataFrame) -> int:
    return (os.cpu_count() or 1) if (rows["width"] * rows["height"]).sum() > WORTH_PROCESSES else 1


def _index(rows: pd.DataFrame, store_size: int) -> pd.DataFrame:
    sizes = (
        stored_size(width, height, store_size) for width, height in zip(rows["width"], rows["height"], strict=True)
    )
    heights, widths = np.fromiter(sizes, dtype=np.dtype((np.int64, 2)), count=len(rows)).T
    ends = np.cumsum(heights * widths * 3)
    return rows[COLUMNS].assign(height=heights, width=widths, offset=ends - heights * widths * 3)


def _check_space(folder: Path, needed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder} needs {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB left; "
            "make room or lower image.store_size."
        )


def _decode_all(work: "partial[list[Place]]", places: Iterator[Place], workers: int) -> Iterator[Place]:
    """Decode all `places` with a bounded number in flight; yields each when it is done."""
    chunks = iter(lambda: list(islice(places, CHUNK)), [])
    return chain.from_iterable(map(work, chunks) if workers == 1 else _in_processes(work, chunks, workers))


def _in_processes(
    work: "partial[list[Place]]", chunks: Iterator[list[Place]], workers: int
) -> Iterator[Iterable[Place]]:
    # forkserver: a fork of this process could inherit a held lock; a preloaded server imports once for all workers
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            flying = [pool.submit(work, chunk) for chunk in islice(chunks, 2 * workers)]
            while flying:
                yield flying.pop(0).result()
                flying += [pool.submit(work, chunk) for chunk in islice(chunks, 1)]
        except BrokenProcessPool:
            raise UserError(
                "a process that decodes photos was killed, most likely for want of memory; close other programs."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _decode_chunk(source: Source, store_size: int, file: Path, places: list[Place]) -> list[Place]:
    descriptor = os.open(file, os.O_WRONLY)
    try:
        for place in places:
            pixels = _decode(source, store_size, place)
            if pixels.shape != (place.height, place.width, 3):
                raise _changed(place, f"its stored size is {pixels.shape[1]} × {pixels.shape[0]}")
            if os.pwrite(descriptor, pixels.data, place.offset) != pixels.nbytes:
                raise OSError("the disk is full")
    finally:
        os.close(descriptor)
    return places


def _decode(source: Source, store_size: int, place: Place) -> np.ndarray:
    try:
        return decode(source.read(place.path), store_size, resize)
    except Exception as error:  # Pillow raises a dozen classes for a file that changed since the audit
        raise _changed(place, str(error)) from None


def _changed(place: Place, how: str) -> UserError:
    return UserError(
        f"{place.path} is not what it was when the photos were split ({how}); run `dvc repro split` again."
    )
