"""predictions/M: a model's logits for every validation and test photo, from which all scores are computed."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from florafauna.base.errors import UserError
from florafauna.base.files import atomic_path
from florafauna.base.texts import AT_ONCE
from florafauna.scores.bootstrap import Truth

LOGITS, PER_CLASS, TIMING = "logits.parquet", "per_class.json", "timing.json"  # files of predictions/M
PHOTO = ["path", "split", "held_out", "group", "cluster", "label", "target"]
ALSO = ["sequence", "location"]  # where they are known, "" for photos without
COVERED = "logits_covered"


@dataclass(frozen=True)
class Predictions:
    """`photos` has the columns PHOTO and perhaps ALSO, by split and path; `logits` is float32 (photos, classes).

    `ancestors` are the taxa of each class by rank, in the order of `labels`; empty if none is known.
    `of_seeds` are the logits of the same model trained with further seeds; empty if it was trained once.
    `covered` are the logits of photos whose animals are covered, NaN where nothing is; None if no photo has boxes.
    """

    model: str
    labels: list[str]
    photos: pd.DataFrame
    logits: np.ndarray
    ancestors: tuple[dict[str, str], ...] = ()
    of_seeds: tuple[np.ndarray, ...] = ()
    covered: np.ndarray | None = None

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
        """The group of each photo as a number (photos,), for resampling; a photo without a group is one by itself."""
        names = self.photos["group"].where(self.photos["group"] != "", self.photos["path"])
        return np.asarray(pd.factorize(names, sort=True)[0])

    @property
    def truth(self) -> Truth:
        """The ground truth that predictions are scored against."""
        return Truth(self.targets, len(self.labels), self.groups)

    def part(self, split: str, held_out: bool = False) -> "Predictions":
        """The photos of one split, without those of the second test set, or only those (`held_out`)."""
        chosen = (self.photos["split"] == split) & ((self.photos["held_out"] != "") == held_out)
        return self.rows(_slice_if_possible(np.flatnonzero(chosen)))

    def rows(self, rows: np.ndarray | slice) -> "Predictions":
        """Some of the photos."""
        return replace(
            self,
            photos=self.photos.iloc[rows].reset_index(drop=True),
            logits=self.logits[rows],
            of_seeds=tuple(logits[rows] for logits in self.of_seeds),
            covered=None if self.covered is None else self.covered[rows],
        )


def _slice_if_possible(rows: np.ndarray) -> np.ndarray | slice:
    """Increasing row numbers; consecutive ones become a slice, which needs no copy."""
    in_one_piece = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
    return slice(rows[0], rows[-1] + 1) if in_one_piece else rows


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the file, whole or not at all; equal predictions give equal bytes. `UserError` if logits are not finite."""
    _refuse_not_finite(predictions, f"train {predictions.model} again, in precision fp32 or at a lower rate")
    columns = [*PHOTO, *(name for name in ALSO if name in predictions.photos)]
    table = pa.Table.from_pandas(predictions.photos[columns], preserve_index=False)
    runs = {_column(number): logits for number, logits in enumerate((predictions.logits, *predictions.of_seeds))}
    for name, logits in (runs | ({} if predictions.covered is None else {COVERED: predictions.covered})).items():
        # Fixed-size lists need no offsets, which would overflow at 2³¹ logits.
        table = table.append_column(name, pa.FixedSizeListArray.from_arrays(logits.ravel(), logits.shape[1]))
    metadata = {"model": predictions.model, "labels": json.dumps(predictions.labels)}
    table = table.replace_schema_metadata(metadata | {"ancestors": json.dumps(predictions.ancestors)})
    with atomic_path(path) as temporary:
        # Logits hardly ever repeat, so a dictionary would not help.
        pq.write_table(table, temporary, AT_ONCE, compression="zstd", use_dictionary=columns)


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote; `UserError` if the file is missing or something else, or not finite."""
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            metadata = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
            labels, ancestors = json.loads(metadata["labels"]), json.loads(metadata.get("ancestors", "[]"))
            present = file.schema_arrow.names
            columns = [*PHOTO, *(name for name in ALSO if name in present)]
            photos = file.read(columns, use_threads=False).to_pandas()[columns]
            runs = [_column(number) for number in range(len(present) - len(columns) - (COVERED in present))]
            covered, shape = [COVERED] * (COVERED in present), (len(photos), len(labels))
            logits, *of_seeds = _read_logits(file, [*runs, *covered], shape)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} is missing; run `dvc repro` or `dvc pull {path}`.") from None
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise UserError(f"{path} has no predictions ({error}); run `dvc checkout {path}` or `dvc repro`.") from None
    pa.default_memory_pool().release_unused()  # else decoding keeps as much memory again as was read
    without_animals, taxa = of_seeds.pop() if covered else None, tuple(ancestors)
    predictions = Predictions(metadata["model"], labels, photos, logits, taxa, tuple(of_seeds), without_animals)
    _refuse_not_finite(predictions, f"run `dvc checkout {path}` or `dvc repro`")
    return predictions


def _refuse_not_finite(predictions: Predictions, what_to_do: str) -> None:
    for logits in (predictions.logits, *predictions.of_seeds):
        if logits.size and not np.isfinite([logits.min(), logits.max()]).all():  # NaN is passed on by both
            broken = int((~np.isfinite(logits)).any(axis=1).sum())
            raise UserError(
                f"the logits of {predictions.model} are NaN or infinite for {broken} of {len(logits)} photos; "
                f"{what_to_do}."
            )


def _read_logits(file: pq.ParquetFile, runs: list[str], shape: tuple[int, int]) -> list[np.ndarray]:
    """Float32 arrays (photos, classes), filled a few rows at a time: at once, Arrow takes six times their memory."""
    found, row = [np.empty(shape, dtype=np.float32) for _ in runs], 0
    for part in file.iter_batches(AT_ONCE, columns=runs, use_threads=False):
        rows = slice(row, row + len(part))
        for run, logits in zip(runs, found, strict=True):
            logits[rows] = part[run].flatten().to_numpy().reshape(len(part), shape[1])
        row += len(part)
    return found


def _column(number: int) -> str:
    return f"logits_seed_{number}" if number else "logits"
