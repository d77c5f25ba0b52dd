"""Small pictures of the photos whose crops a test store holds, so that the report can show a crop in its photo."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from florafauna.base.cores import usable_cores
from florafauna.base.files import atomic_path
from florafauna.base.progress import track
from florafauna.photos.crops import Rectangle, split_name
from florafauna.photos.sources import Source
from florafauna.photos.upright import ON_THE_SIDE, orientation
from florafauna.photos.workers import Workers, one_thread
from florafauna.pixels.resize import resize
from florafauna.pixels.store import PHOTOS
from florafauna.preprocess.decode import decode, stored_box

SIDE, QUALITY = 160, 60  # pixels of the shorter side
CHUNK = 32  # photos handed to a process at a time
WORTH_PROCESSES = 256  # photos
Shrunk = tuple[bytes, int, int]  # WebP, and the upright photo's width and height
SCHEMA = pa.schema({"path": pa.string(), "picture": pa.binary(), "box": pa.string()})


@dataclass(frozen=True)
class _Shrink:
    """The task of a process."""

    source: Source

    def __call__(self, paths: Sequence[str]) -> list[Shrunk]:
        return [self._shrunk(path) for path in paths]

    def _shrunk(self, path: str) -> Shrunk:
        data, file = self.source.read(path), io.BytesIO()
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size[::-1] if orientation(image) in ON_THE_SIDE else image.size
        Image.fromarray(decode(data, SIDE, resize)).save(file, "WEBP", quality=QUALITY)
        return file.getvalue(), width, height


def write_photos(folder: Path, names: pd.Series, source: Source, workers: int | None = None) -> None:
    """Write `folder`/photos.parquet: path (of the crop), picture (WebP of its photo), box (text, in its pixels)."""
    crops = [(name, *split_name(name)) for name in names]
    files = list(dict.fromkeys(path for _, path, box in crops if box))
    shrunk = dict(zip(files, track(_all(files, source, workers), "photos of crops", len(files)), strict=True))
    rows = []
    for name, path, box in crops:
        if not box:
            continue
        picture, width, height = shrunk[path]
        placed = stored_box(Rectangle.parse(box), width, height, SIDE)
        rows.append({"path": name, "picture": picture, "box": "" if placed is None else placed.text})
    with atomic_path(folder / PHOTOS) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), temporary, compression="none", write_page_checksum=True)


def _all(files: list[str], source: Source, workers: int | None) -> Iterator[Shrunk]:
    shrink, count = _Shrink(source), workers or usable_cores()
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    if count == 1 or len(files) < WORTH_PROCESSES:
        yield from chain.from_iterable(map(shrink, chunks))
        return
    with Workers(count, [__name__], shrink, one_thread) as processes:
        yield from chain.from_iterable(processes.map(chunks))
