"""predictions/M.parquet: the logits of a model on every validation and test photo. All scores are made from it."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from florafauna.errors import UserError
from florafauna.files import atomic_path

PHOTO = ["path", "split", "held_out", "group", "cluster", "label", "target"]


@dataclass(frozen=True)
class Predictions:
    """`photos` has the columns PHOTO, sorted by split and path; `logits` is float32 (photos, classes).

    `ancestors` holds the taxa of each class by rank in the order of `labels`; it is empty where none is known.
    `of_seeds` are the logits of the same model trained with further seeds; empty where it was trained once.
    """

    model: str
    labels: list[str]
    photos: pd.DataFrame
    logits: np.ndarray
    ancestors: tuple[dict[str, str], ...] = ()
    of_seeds: tuple[np.ndarray, ...] = ()

    @property
    def targets(self) -> np.ndarray:
        """Class indices, int64 (photos,)."""
        return self.photos["target"].to_numpy(np.int64)

    @property
    def predicted(self) -> np.ndarray:
        """Class indices of the largest logits."""
        return np.asarray(self.logits.argmax(axis=1))

    @property
    def groups(self) -> np.ndarray:
        """What is resampled as one: the group of each photo, itself where it has none."""
        return np.asarray(self.photos["group"].where(self.photos["group"] != "", self.photos["path"]), dtype=str)

    def part(self, split: str, held_out: bool = False) -> "Predictions":
        """The photos of one split; the second test set (`held_out`) is apart from the first."""
        chosen = ((self.photos["split"] == split) & ((self.photos["held_out"] != "") == held_out)).to_numpy()
        return replace(
            self,
            photos=self.photos[chosen].reset_index(drop=True),
            logits=self.logits[chosen],
            of_seeds=tuple(logits[chosen] for logits in self.of_seeds),
        )


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the file, whole or not at all; equal predictions give equal bytes."""
    table = pa.Table.from_pandas(predictions.photos[PHOTO], preserve_index=False)
    for number, logits in enumerate((predictions.logits, *predictions.of_seeds)):
        table = table.append_column(_column(number), pa.array(list(logits), pa.list_(pa.float32())))
    metadata = {"model": predictions.model, "labels": json.dumps(predictions.labels)}
    table = table.replace_schema_metadata(metadata | {"ancestors": json.dumps(predictions.ancestors)})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote; `UserError` where the file is missing or is something else."""
    try:
        table = pq.read_table(path)
        photos = table.select(PHOTO).to_pandas()
        metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        labels, ancestors = json.loads(metadata["labels"]), json.loads(metadata.get("ancestors", "[]"))
        runs = [_column(number) for number in range(len(table.column_names) - len(PHOTO))]
        shape = len(photos), len(labels)
        logits, *of_seeds = [np.asarray(table[run].combine_chunks().flatten()).reshape(shape) for run in runs]
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run `dvc repro` or `dvc pull {path}`.") from None
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise UserError(f"{path} holds no predictions ({error}); run `dvc checkout {path}` or `dvc repro`.") from None
    return Predictions(metadata["model"], labels, photos, logits, tuple(ancestors), tuple(of_seeds))


def _column(number: int) -> str:
    return f"logits_seed_{number}" if number else "logits"
