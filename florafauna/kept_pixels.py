"""The pixels of earlier runs, kept by hard link outside DVC's outs, so that unchanged photos are not decoded again."""

import os
import shutil
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from florafauna.errors import UserError
from florafauna.files import fingerprint
from florafauna.store import PixelStore

COLUMNS = ["sha256", "height", "width", "offset"]
BLOCK = 1 << 18  # bytes copied at a time: stays in the processor's cache, 2 GB/s instead of 1


class KeptPixels:
    """The stores that earlier runs wrote at the same size with the same decoder, open until the `with` block ends."""

    def __init__(self, folder: Path, decoder: str, store_size: int) -> None:
        """`folder` has one folder a decoder and size; those of others are removed."""
        self.folder = folder / fingerprint([decoder, store_size])[:16]
        for other in folder.glob("*"):
            if other != self.folder:
                shutil.rmtree(other)
        tables, self._files = [], list[FileIO]()
        for path in sorted(self.folder.glob("*")):
            if _is_complete(path):
                places = pq.read_table(path / "index.parquet", columns=COLUMNS).replace_schema_metadata()
                tables.append(places.append_column("file", pa.array(np.full(len(places), len(self._files)))))
                self._files.append((path / "pixels").open("rb", buffering=0))  # held, because `keep` replaces the name
        self._places = pa.concat_tables(tables) if tables else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()

    def copy_to(self, target: Path, index: pd.DataFrame) -> np.ndarray:
        """Copy the pixels of those photos in `index` (sha256, height, width, offset) that are known into `target`.

        Returns which were known: bool (photos,).
        """
        if self._places is None:
            return np.zeros(len(index), dtype=bool)
        row = pc.index_in(pa.array(index["sha256"]), self._places["sha256"].combine_chunks()).fill_null(-1).to_numpy()
        known = row >= 0
        old, new = self._places.take(row[known]), index[known]
        same = (old["height"].to_numpy() == new["height"]) & (old["width"].to_numpy() == new["width"])
        known[known] = same
        old, new = old.filter(pa.array(same)), new[same]
        lengths = (new["height"] * new["width"] * 3).to_numpy()
        runs = _runs(old["file"].to_numpy(), old["offset"].to_numpy(), new["offset"].to_numpy(), lengths)
        buffer = memoryview(bytearray(BLOCK))
        with target.open("r+b") as file:
            for number, start, offset, length in runs:
                self._files[number].seek(start)
                file.seek(offset)
                while length:
                    count = self._files[number].readinto(buffer[: min(length, BLOCK)])
                    file.write(buffer[:count])
                    length -= count
        return known

    def keep(self, store: Path) -> None:
        """Link a new store to where it outlives DVC's outs. DVC replaces those files, it never writes into them."""
        kept = self.folder / store.name
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        try:
            for name in ("pixels", "index.parquet"):
                os.link(store / name, kept / name)
        except OSError as error:  # a copy instead would double the disk space
            shutil.rmtree(kept)
            print(f"preprocess: {store} cannot be linked to {kept} ({error.strerror}); the next run decodes it again")


def _is_complete(folder: Path) -> bool:
    try:
        PixelStore(folder)
    except UserError:  # what a killed run left
        return False
    return True


def _runs(file: np.ndarray, start: np.ndarray, offset: np.ndarray, length: np.ndarray) -> list[list[int]]:
    """(file, start, offset, length) of each photo, those joined that are neighbours both before and after."""
    if not len(file):
        return []
    shift = offset - start  # the same for neighbours
    first = np.flatnonzero(
        np.r_[True, (file[1:] != file[:-1]) | (start[1:] != start[:-1] + length[:-1]) | (shift[1:] != shift[:-1])]
    )
    return np.stack([file[first], start[first], offset[first], np.add.reduceat(length, first)], axis=1).tolist()
