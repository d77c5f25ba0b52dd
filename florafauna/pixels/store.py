"""The pixel store, to read: photos as uint8, memory-mapped, one folder a split with `pixels` and `index.parquet`.

`pixels` holds shards, files of about eight photos each; why is said where they are written. Shards and index carry
checksums, since a model trained on pixels that a disk has changed looks like any other.
"""

import json
import mmap
import os
import sys
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from florafauna.base.cores import usable_cores
from florafauna.base.errors import UserError
from florafauna.base.files import sha256_file
from florafauna.base.texts import AT_ONCE, Texts

MAPPED = 256  # shards at a time: each takes a file descriptor, of which a process may have 1024
PHOTOS = "photos.parquet"  # of a test store of crops: small pictures of the photos that they are of
CACHE = Path(".dvc/cache/files/md5")  # where DVC keeps its objects, each named by the MD5 of what it held


def checksum(file: Path) -> int:
    """CRC-32 of a file's bytes, at 2 GB/s a core."""
    return zlib.crc32(file.read_bytes())


def damaged(checksums: Mapping[Path, int]) -> list[Path]:
    """Those of the files, in their order, that do not have the checksum they had when they were written."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        found = pool.map(checksum, checksums)
        return [file for file, now in zip(checksums, found, strict=True) if now != checksums[file]]


def metadata_checksum(metadata: Mapping[str, str]) -> str:
    """Of an index's metadata, for the checksums of Parquet are those of its pages alone."""
    return str(zlib.crc32(json.dumps(sorted(metadata.items())).encode()))


class PixelStore:
    """Read access to the photos of one split; reading one costs page faults, not decoding. Can be sent to workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._is_verified = False
        if not (folder / "index.parquet").is_file():
            raise _no_photos(folder)
        try:
            expected, homes = self._shard_sizes(), self.homes
        except (pa.ArrowException, OSError, KeyError) as error:
            raise self._unreadable(error) from None
        found = dict[str, int]()
        for home in homes:
            if not (home / "pixels").is_dir():
                raise _no_photos(home)
            found |= {file.name: file.stat().st_size for file in os.scandir(home / "pixels") if file.is_file()}
        most = dict[str, int]() if self._is_selection else expected  # the last photos of a shard may not be selected
        wrong = [
            name for name, size in expected.items() if not size <= found.get(name, -1) <= most.get(name, sys.maxsize)
        ]
        if wrong:
            file = self._file(wrong[0])
            raise UserError(
                f"{file} holds {found.get(wrong[0], 0)} bytes and the index says {expected[wrong[0]]}; "
                f"run `dvc checkout {file.parent.parent}` or `dvc repro preprocess`."
            )

    def __len__(self) -> int:
        return len(self._layout[1])

    def __getstate__(self) -> dict[str, Path]:
        return {"folder": self.folder}  # a worker maps the file itself

    def table(self, *columns: str) -> pd.DataFrame:
        """One row a photo, sorted by path: path, label, target, held_out, group, cluster, sha256, height, width, shard,
        offset and checksum (of the shard), or some of these.

        Where crops are stored `path` is a name (`photos.crops`) and `crop` the rectangle. A test store also has, where
        they are known, `boxes` (rectangles in stored pixels, with spaces between them), `sequence` and `location`.
        """
        with pq.ParquetFile(self.folder / "index.parquet", pre_buffer=False) as file:
            return file.read(list(columns) or None, use_threads=False).to_pandas()

    @cached_property
    def columns(self) -> list[str]:
        """The names of the columns of `table`."""
        names: list[str] = pq.read_schema(self.folder / "index.parquet").names
        return names

    def verify(self) -> None:
        """Hold all files against their checksums, the first time; `UserError` names one that the disk has changed."""
        if self._is_verified:
            return
        try:
            for _ in self._parts():
                pass
            metadata, known = self.metadata, self._metadata.get(b"checksum", b"").decode()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._unreadable(error) from None
        if known != metadata_checksum(metadata):
            raise self._unreadable("the checksum of its metadata differs")
        names, _, expected = self._layout
        files = damaged(dict(zip(map(self._file, names), expected, strict=True)))
        if files:
            raise UserError(f"{files[0]} was damaged on disk (its checksum differs); {_remedy(files[0])}.")
        self._is_verified = True

    @property
    def homes(self) -> list[Path]:
        """The folders whose `pixels` hold the shards: its own, or for a selection those of the stores it is made of."""
        return [Path(home) for home in json.loads(self._metadata.get(b"homes", b"[]"))] or [self.folder]

    @property
    def _is_selection(self) -> bool:
        return b"homes" in self._metadata

    @cached_property
    def whole(self) -> "PixelStore":
        """The store that this is a selection of; else itself."""
        selected_from = self._metadata.get(b"whole", b"").decode()
        return PixelStore(Path(selected_from)) if selected_from else self

    @cached_property
    def rows_of_whole(self) -> np.ndarray | None:
        """The rows of `whole` that these photos are, int64 (photos,); None where they are all of them."""
        if self.whole is self:
            return None
        rows = {path: row for row, path in enumerate(self.whole.names)}
        return np.array([rows[path] for path in self.names], dtype=np.int64)

    @property
    def metadata(self) -> dict[str, str]:
        """What the index says of the store as a whole, without the checksum of that."""
        return {key.decode(): value.decode() for key, value in self._metadata.items() if key != b"checksum"}

    def _file(self, shard: str) -> Path:
        files = [home / "pixels" / shard for home in self.homes]
        return files[0] if len(files) == 1 else next((file for file in files if file.is_file()), files[0])

    def _unreadable(self, error: object) -> UserError:
        return UserError(
            f"{self.folder}/index.parquet cannot be read ({error}); delete it and run `dvc checkout {self.folder}` or "
            "`dvc repro preprocess`."
        )

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
        """A hash of the photos' paths, of what is in their files, in this order, and of what decoded them."""
        digest = sha256(self._metadata[b"decoder"])
        for part in self._parts("path", "sha256"):
            digest.update(json.dumps(part.to_pylist()).encode())
        return digest.hexdigest()

    def _parts(self, *columns: str) -> Iterator[pa.RecordBatch]:
        """Some columns of the index, or all, a few rows at a time: Arrow takes several times what they hold."""
        with pq.ParquetFile(self.folder / "index.parquet", pre_buffer=False, page_checksum_verification=True) as file:
            yield from file.iter_batches(AT_ONCE, columns=list(columns) or None, use_threads=False)

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
    def boxes(self) -> dict[str, Any] | None:
        """`boxes` of params.yaml, in the test store of photos that have boxes."""
        found: dict[str, Any] | None = json.loads(self._metadata.get(b"boxes", b"null"))
        return found

    @property
    def store_size(self) -> int:
        """Pixels along the shorter side."""
        return int(self._metadata[b"store_size"])

    @property
    def facts(self) -> dict[str, Any]:
        """How many photos, and the sha256 of their index, which names the contents of each: what they are known by."""
        return {"n": len(self), "sha256": sha256_file(self.folder / "index.parquet")}

    @cached_property
    def _layout(self) -> tuple[list[str], np.ndarray, list[int]]:
        """The shards' names; of each photo the number of its shard, offset, height and width, int64 (photos, 4); and
        the shards' checksums."""
        numbers: dict[str, int] = {}
        checksums: dict[str, int] = {}
        places = [np.empty((0, 4), dtype=np.int64)]
        for part in self._parts("shard", "offset", "height", "width", "checksum"):
            names = part["shard"].to_pylist()
            shards = [numbers.setdefault(name, len(numbers)) for name in names]
            checksums |= zip(names, part["checksum"].to_pylist(), strict=True)
            others = (part[name].to_numpy() for name in ("offset", "height", "width"))
            places.append(np.stack([shards, *others], axis=1, dtype=np.int64))
        return list(numbers), np.concatenate(places), [checksums[name] for name in numbers]

    def _shard_sizes(self) -> dict[str, int]:
        names, places, _ = self._layout
        sizes = np.zeros(len(names), dtype=np.int64)
        np.maximum.at(sizes, places[:, 0], places[:, 1] + places[:, 2] * places[:, 3] * 3)
        return dict(zip(names, sizes.tolist(), strict=True))

    @cached_property
    def _shard(self) -> Callable[[int], np.ndarray]:
        return lru_cache(MAPPED)(self._map)

    def _map(self, number: int) -> np.ndarray:
        with self._file(self._layout[0][number]).open("rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)

    def photo(self, row: int) -> np.ndarray:
        """uint8 (height, width, 3), a read-only view of the mapped file."""
        shard, offset, height, width = self._layout[1][row].tolist()
        return self._shard(shard)[offset : offset + height * width * 3].reshape(height, width, 3)


def _no_photos(folder: Path) -> UserError:
    return UserError(f"{folder} holds no stored photos; run `dvc pull {folder}` or `dvc repro preprocess`.")


def _remedy(file: Path) -> str:
    """What brings a shard back. DVC takes an object of its cache to be what its name says: it cannot mend that."""
    for listing in CACHE.glob("*/*.dir"):
        for entry in json.loads(listing.read_bytes()):
            if entry["relpath"] == f"pixels/{file.name}":
                md5 = entry["md5"]
                copy = CACHE / md5[:2] / md5[2:]
                if copy.is_file() and _md5(copy) != md5:
                    return f"so was {copy}, DVC's own copy: delete both and run `dvc pull` or `dvc repro preprocess`"
    return f"delete it and run `dvc checkout {file.parent.parent}` or `dvc repro -f preprocess`"


def _md5(file: Path) -> str:
    with file.open("rb") as opened:
        return file_digest(opened, "md5").hexdigest()
