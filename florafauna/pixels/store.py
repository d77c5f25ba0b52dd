"""The pixel store, to read: photos as uint8, memory-mapped, one folder a split with `pixels` and `index.parquet`.

`pixels` holds shards, files of about eight photos each; why is said where they are written.
"""

import json
import mmap
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from florafauna.base.errors import UserError
from florafauna.base.files import sha256_file
from florafauna.base.texts import AT_ONCE, Texts

MAPPED = 256  # shards at a time: each takes a file descriptor, of which a process may have 1024


class PixelStore:
    """Read access to the photos of one split; reading one costs page faults, not decoding. Can be sent to workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "index.parquet").is_file() or not (folder / "pixels").is_dir():
            raise UserError(f"{folder} holds no stored photos; run `dvc pull {folder}` or `dvc repro preprocess`.")
        try:
            expected = self._shard_sizes()
        except (pa.ArrowInvalid, KeyError) as error:
            raise UserError(f"{folder}/index.parquet cannot be read ({error}); run `dvc checkout {folder}`.") from None
        found = {file.name: file.stat().st_size for file in os.scandir(folder / "pixels") if file.is_file()}
        wrong = [name for name, size in expected.items() if found.get(name) != size]
        if wrong:
            raise UserError(
                f"{folder}/pixels/{wrong[0]} holds {found.get(wrong[0], 0)} bytes and the index says "
                f"{expected[wrong[0]]}; run `dvc checkout {folder}` or `dvc repro preprocess`."
            )

    def __len__(self) -> int:
        return len(self._layout[1])

    def __getstate__(self) -> dict[str, Path]:
        return {"folder": self.folder}  # a worker maps the file itself

    def table(self, *columns: str) -> pd.DataFrame:
        """One row a photo, sorted by path: path, label, target, held_out, group, cluster, sha256, height, width, shard
        and offset, or some of these."""
        with pq.ParquetFile(self.folder / "index.parquet", pre_buffer=False) as file:
            return file.read(list(columns) or None, use_threads=False).to_pandas()

    @cached_property
    def names(self) -> Texts:
        """The photos' paths."""
        return Texts.of_parts(part["path"] for part in self._parts("path"))

    def row_of(self, path: str) -> int | None:
        """The row of a photo, None where the store does not hold it."""
        row = bisect_left(self.names, path)
        return row if row < len(self) and self.names[row] == path else None

    @cached_property
    def targets(self) -> np.ndarray:
        """Class indices, int64."""
        parts = [part["target"].to_numpy() for part in self._parts("target")]
        return np.concatenate([np.empty(0, dtype=np.int64), *parts])

    @property
    def contents(self) -> str:
        """A hash of the photos' paths and of what is in their files, in this order."""
        digest = sha256()
        for part in self._parts("path", "sha256"):
            digest.update(json.dumps(part.to_pylist()).encode())
        return digest.hexdigest()

    def _parts(self, *columns: str) -> Iterator[pa.RecordBatch]:
        """Some columns of the index, a few rows at a time: read whole, Arrow takes several times what they hold."""
        with pq.ParquetFile(self.folder / "index.parquet", pre_buffer=False) as file:
            yield from file.iter_batches(AT_ONCE, columns=list(columns), use_threads=False)

    @cached_property
    def _metadata(self) -> dict[bytes, bytes]:
        return dict(pq.read_schema(self.folder / "index.parquet").metadata)

    @property
    def labels(self) -> list[str]:
        """All classes of the data set in the order of `target`, also those without a photo in this split."""
        labels: list[str] = json.loads(self._metadata[b"labels"])
        return labels

    @property
    def ancestors(self) -> list[dict[str, str]]:
        """The taxa of each class by rank, {"genus": "Parus", …}, in the order of `labels`; empty if none is known."""
        taxa: list[dict[str, str]] = json.loads(self._metadata.get(b"ancestors", b"[]"))
        return taxa

    @property
    def store_size(self) -> int:
        """Pixels along the shorter side."""
        return int(self._metadata[b"store_size"])

    @property
    def facts(self) -> dict[str, Any]:
        """How many photos, and the sha256 of their index, which names the contents of each: what they are known by."""
        return {"n": len(self), "sha256": sha256_file(self.folder / "index.parquet")}

    @cached_property
    def _layout(self) -> tuple[list[str], np.ndarray]:
        """The shards' names; and of each photo the number of its shard, offset, height and width, int64 (photos, 4)."""
        numbers: dict[str, int] = {}
        places = [np.empty((0, 4), dtype=np.int64)]
        for part in self._parts("shard", "offset", "height", "width"):
            shards = [numbers.setdefault(name, len(numbers)) for name in part["shard"].to_pylist()]
            others = (part[name].to_numpy() for name in ("offset", "height", "width"))
            places.append(np.stack([shards, *others], axis=1, dtype=np.int64))
        return list(numbers), np.concatenate(places)

    def _shard_sizes(self) -> dict[str, int]:
        names, places = self._layout
        sizes = np.zeros(len(names), dtype=np.int64)
        np.maximum.at(sizes, places[:, 0], places[:, 1] + places[:, 2] * places[:, 3] * 3)
        return dict(zip(names, sizes.tolist(), strict=True))

    @cached_property
    def _shard(self) -> Callable[[int], np.ndarray]:
        return lru_cache(MAPPED)(self._map)

    def _map(self, number: int) -> np.ndarray:
        with (self.folder / "pixels" / self._layout[0][number]).open("rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)

    def photo(self, row: int) -> np.ndarray:
        """uint8 (height, width, 3), a read-only view of the mapped file."""
        shard, offset, height, width = self._layout[1][row].tolist()
        return self._shard(shard)[offset : offset + height * width * 3].reshape(height, width, 3)
