"""`florafauna embed`: the features before the classifier, computed, kept and resumed as predictions are."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from florafauna.base.errors import UserError
from florafauna.base.files import atomic_path
from florafauna.pixels.centre import Resize
from florafauna.predict._inputs import Photo
from florafauna.predict._outputs import BLOCK
from florafauna.predict._part import Row
from florafauna.predict._result import Pairs
from florafauna.predict.request import EXTENSIONS, PredictionRequest
from florafauna.predict.run import answer_photos, checked_inputs
from florafauna.predict.scorer import is_exported, load_scorer

FLOAT = np.dtype("<f4")


def embed(photos: list[str], out: Path, folder: Path, workers: int | None = None, root: Path | None = None) -> int:
    """Write the features of the photos to a Parquet file `out`; returns the exit code, 1 if no photo could be read.

    Columns are `path`, `embedding` (a list of fixed size, float32) and `error`. Resumed as `predict` is. `root` is the
    folder of the photos of a detector's file. `UserError` for bad input, and for an exported bundle, which gives logits
    alone.

    >>> embed(["new/"], Path("features.parquet"), Path("models/vit"))  # doctest: +SKIP
    0
    """
    if EXTENSIONS.get(out.suffix.lower()) != "parquet":
        raise UserError(f"--out {out}: features are written as Parquet; name a file that ends in .parquet.")
    request = PredictionRequest.checked(photos, out, "parquet", 0, None, "index", root=root)
    if is_exported(folder):
        raise UserError(f"{folder} was exported and gives labels alone; embed with the bundle it was exported from.")
    inputs = checked_inputs(request) if request.root is None else None
    embedder = Embedder(load_scorer(folder))
    inputs = inputs or checked_inputs(request, embedder.info)

    def write(photos: Sequence[Photo], rows: Callable[[], Iterator[Row]]) -> None:
        embedder.write(out, zip(photos, rows(), strict=True))

    return answer_photos(request, inputs, embedder, embedder, write, workers)


class Embedder:
    """A `Scorer` and its answers: what the classifier is given takes the place of the logits."""

    remark = None

    def __init__(self, scorer: Any) -> None:
        """`UserError` where the architecture's features cannot be told from its classifier."""
        self.info: dict[str, Any] = scorer.info
        self.resize: Resize = scorer.resize
        self.logits = scorer.features
        size = self.info["data"]["test_size"]
        self.width = self.logits(np.zeros((1, size, size, 3), dtype=np.uint8)).shape[1]

    @property
    def kept(self) -> dict[str, Any]:
        """See `Answers`."""
        return {"embedding": self.width}

    def rows(self, features: np.ndarray) -> list[Row]:
        """One row per photo, in which text holds the bytes of float32 numbers; `UserError` where one is not finite."""
        if not np.isfinite(features).all():
            raise UserError("the model's features are NaN or infinite, so its weights are damaged; fetch it again.")
        return [{"embedding": b64encode(each.tobytes()).decode()} for each in features.astype(FLOAT)]

    def write(self, out: Path, pairs: Pairs) -> None:
        """Write the Parquet file, a block of rows at a time; its metadata name the bundle."""
        columns = [("path", pa.string()), ("embedding", pa.list_(pa.float32(), self.width)), ("error", pa.string())]
        schema = pa.schema(columns, {"model": self.info["name"], "sha256": self.info["sha256"]})
        with atomic_path(out) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for block in _blocks(pairs):
                features = np.zeros((len(block), self.width), dtype=FLOAT)
                missing = np.array(["embedding" not in row for _, row in block])
                for number in np.flatnonzero(~missing):
                    features[number] = np.frombuffer(b64decode(block[number][1]["embedding"]), dtype=FLOAT)
                mask = pa.array(missing)
                lists = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), self.width, mask=mask)
                paths, errors = zip(*((photo.shown, row.get("error")) for photo, row in block), strict=True)
                writer.write_table(pa.table([pa.array(paths), lists, pa.array(errors, pa.string())], schema=schema))


def _blocks(pairs: Pairs) -> Iterator[list[Any]]:
    rows: Iterable[Any] = iter(pairs)
    while block := list(islice(rows, BLOCK)):
        yield block
