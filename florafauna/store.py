"""The pixel store, to read: photos as uint8, memory-mapped, one folder a split with `pixels` and `index.parquet`."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from florafauna.errors import UserError
from florafauna.files import sha256_file


class PixelStore:
    """Read access to the photos of one split; reading one costs page faults, not decoding. Can be sent to workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "index.parquet").is_file() or not (folder / "pixels").is_file():
            raise UserError(f"{folder} holds no stored photos; run `dvc pull {folder}` or `dvc repro preprocess`.")
        try:
            sizes = self._places
        except (pa.ArrowInvalid, KeyError) as error:
            raise UserError(f"{folder}/index.parquet cannot be read ({error}); run `dvc checkout {folder}`.") from None
        expected = int(sizes[:, 1:].prod(axis=1).sum()) * 3
        found = (folder / "pixels").stat().st_size
        if found != expected:
            raise UserError(
                f"{folder}/pixels holds {found} bytes and its index says {expected}; "
                f"run `dvc checkout {folder}` or `dvc repro preprocess`."
            )

    def __len__(self) -> int:
        return len(self._places)

    def __getstate__(self) -> dict[str, Path]:
        return {"folder": self.folder}  # a worker maps the file itself

    @cached_property
    def index(self) -> pd.DataFrame:
        """One row a photo, sorted by path: path, label, target, held_out, group, cluster, sha256, size and offset."""
        return pd.read_parquet(self.folder / "index.parquet")

    @cached_property
    def names(self) -> list[str]:
        """The photos' paths."""
        return list(self.index["path"])

    @cached_property
    def targets(self) -> np.ndarray:
        """Class indices, int64."""
        return self.index["target"].to_numpy(np.int64)

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
    def _pixels(self) -> np.ndarray:
        return np.asarray(np.memmap(self.folder / "pixels", dtype=np.uint8, mode="r"))

    @cached_property
    def _places(self) -> np.ndarray:
        columns = pq.read_table(self.folder / "index.parquet", columns=["offset", "height", "width"])
        return np.stack([column.to_numpy() for column in columns.columns], axis=1)

    def photo(self, row: int) -> np.ndarray:
        """uint8 (height, width, 3), a read-only view of the mapped file."""
        offset, height, width = self._places[row]
        return self._pixels[offset : offset + height * width * 3].reshape(height, width, 3)
