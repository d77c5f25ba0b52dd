"""The shards of earlier runs, kept by hard link outside DVC's outs, so that unchanged photos are not decoded again.

They are held against their checksums before they are used: what was damaged on disk is decoded again.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from florafauna.base.code import code_hash
from florafauna.base.files import fingerprint
from florafauna.pixels.store import damaged

COLUMNS = ["sha256", "height", "width", "shard", "offset", "checksum"]
SCHEMA = pa.schema([(name, pa.string() if name in ("sha256", "shard") else pa.int64()) for name in COLUMNS])
Kept: TypeAlias = tuple[Path, int] | None  # a file and an offset; None for a photo that is not kept


class KeptPixels:
    """What earlier runs wrote at the same size with the same decoder: one folder of shards, and an index a store.

    Where that folder cannot be used, or files cannot be linked, one line on stderr says so; the stores are the same.
    """

    def __init__(self, folder: Path, decoder: str, store_size: int) -> None:
        """`folder` has one folder a decoder and size; those of others are removed."""
        layout = code_hash(__name__, "florafauna.preprocess._write")
        self.folder = folder / fingerprint([decoder, layout, store_size])[:16]
        self._shards = self.folder / "shards"
        self._said = set[str]()
        self._checked = set[str]()
        try:
            for other in folder.glob("*/"):
                if other != self.folder:
                    shutil.rmtree(other)
            self._shards.mkdir(parents=True, exist_ok=True)
            self._places = self._read()
        except OSError as error:
            self._say(f"{self.folder} cannot be used", error, "this run decodes all photos, and so does the next")
            self._places = SCHEMA.empty_table()
        of_shards = self._places.group_by("shard").aggregate([("checksum", "max")])
        self._checksums = dict(zip(*(of_shards[name].to_pylist() for name in ("shard", "checksum_max")), strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop the shards that no store has any more."""
        if kind is None and self._shards.is_dir():
            used = {name for index in self._indexes() for name in _shards_of(index)}
            for shard in list(self._shards.iterdir()):
                if shard.name not in used and shard.is_file():
                    with suppress(PermissionError):  # Windows keeps what is read-only, as DVC links it, or mapped
                        shard.unlink()

    def link(self, names: Iterable[str], folder: Path) -> dict[str, int]:
        """Link the shards that are kept of `names` into `folder`; returns their checksums by name."""
        linked = dict[str, int]()
        self._drop_damaged(self._checksums.keys() & set(names))
        try:
            for name in self._checksums.keys() & set(names):
                os.link(self._shards / name, folder / name)
                linked[name] = self._checksums[name]
        except OSError as error:  # a file system without links, or too many of one file
            self._say(f"{self._shards} cannot be linked to {folder}", error, "what is kept is copied")
        return linked

    def find(self, index: pd.DataFrame) -> list[Kept]:
        """Where the pixels of each photo in `index` (sha256, height, width) are kept."""
        wanted = self._places.filter(pc.is_in(self._places["sha256"], pa.array(index["sha256"])))
        self._drop_damaged(wanted["shard"].unique().to_pylist())
        row = pc.index_in(pa.array(index["sha256"]), self._places["sha256"].combine_chunks()).fill_null(-1).to_numpy()
        known = np.flatnonzero(row >= 0)
        old, new = self._places.take(row[known]), index.iloc[known]
        same = (old["height"].to_numpy() == new["height"]) & (old["width"].to_numpy() == new["width"])
        found: list[Kept] = [None] * len(index)
        places = zip(
            known[same], *(old.filter(pa.array(same))[name].to_pylist() for name in ("shard", "offset")), strict=True
        )
        for at, shard, offset in places:
            found[at] = self._shards / shard, offset
        return found

    def keep(self, store: Path) -> None:
        """Link a new store to where it outlives DVC's outs. DVC replaces those files, it never writes into them."""
        index = self.folder / f"{store.name}.parquet"
        try:
            index.unlink(missing_ok=True)
            for name in _shards_of(store / "index.parquet") - {shard.name for shard in self._shards.iterdir()}:
                os.link(store / "pixels" / name, self._shards / name)
            os.link(store / "index.parquet", index)
        except OSError as error:  # a copy instead would double the disk space
            self._say(f"{store} cannot be linked to {self.folder}", error, "the next run decodes its photos again")

    def _say(self, what: str, error: OSError, result: str) -> None:
        self._say_once("unusable", f"{what} ({error.strerror or error}): {result}")

    def _say_once(self, kind: str, what: str) -> None:
        if kind not in self._said:
            print(f"preprocess: {what}", file=sys.stderr, flush=True)
            self._said.add(kind)

    def _drop_damaged(self, shards: Iterable[str]) -> None:
        """Forget those of `shards` that are not as they were written."""
        new = sorted(set(shards) - self._checked)
        self._checked.update(new)
        files = damaged({self._shards / name: self._checksums[name] for name in new})
        if files:
            self._say_once(
                "damaged", f"{files[0]} was damaged on disk: what is damaged of the kept pixels is decoded again"
            )
            for file in files:
                file.unlink()
                del self._checksums[file.name]
            names = pa.array([file.name for file in files])
            self._places = self._places.filter(pc.invert(pc.is_in(self._places["shard"], names)))

    def _indexes(self) -> Iterator[Path]:
        return self.folder.glob("[!.]*.parquet")

    def _places_in(self, index: Path) -> pa.Table:
        try:
            return _places_of(index)
        except (pa.ArrowException, OSError, ValueError) as error:
            self._say_once("damaged", f"{index} was damaged on disk ({error}): its photos are decoded again")
            index.unlink(missing_ok=True)
            return SCHEMA.empty_table()

    def _read(self) -> pa.Table:
        """COLUMNS of the photos whose shards are there, as long as they were written."""
        places = pa.concat_tables([SCHEMA.empty_table(), *map(self._places_in, self._indexes())])
        ends = pc.add(places["offset"], pc.multiply(pc.multiply(places["height"], places["width"]), 3))
        ends = places.append_column("end", ends).group_by("shard").aggregate([("end", "max")])
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(self._shards)}
        names = ends["shard"].to_pylist()
        whole = [name for name, end in zip(names, ends["end_max"].to_pylist(), strict=True) if sizes.get(name) == end]
        return places.filter(pc.is_in(places["shard"], pa.array(whole, pa.string())))


def read_kept(kept: tuple[Path, int], length: int) -> bytes:
    """So many bytes from there."""
    with kept[0].open("rb", buffering=0) as file:
        file.seek(kept[1])
        data = file.read(length)
    if len(data) != length:
        raise OSError(f"{kept[0]} ends too early")
    return data


def _places_of(index: Path) -> pa.Table:
    """COLUMNS of an index; raises what Arrow raises where it is damaged, an OSError or an ArrowException."""
    table = pq.read_table(index, columns=COLUMNS, page_checksum_verification=True)
    return table.replace_schema_metadata().cast(SCHEMA)


def _shards_of(index: Path) -> set[str]:
    shards = pq.read_table(index, columns=["shard"], page_checksum_verification=True)["shard"]
    return set(shards.unique().to_pylist())
