"""predictions/folds/M: for every photo the logits of a model that was trained without it and its group."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.files import atomic_path, read_json, sha256_file, write_json

FACTS, PHOTOS, LOGITS, LOGITS_BY = "folds.json", "photos.parquet", "logits.npy", "logits_by.npy"
FINAL, FINAL_LOGITS = "final", "final_logits.npy"  # with `final: all`: the model, and what it says of the test photos
COLUMNS = ["path", "split", "held_out", "group", "cluster", "label", "target", "site"]


@dataclass(frozen=True)
class OutOfFold:
    """`photos` has COLUMNS and `fold`, by path; `logits` is float32 (photos, classes).

    Where `evaluate.by` names a column, `site` is its value ("" where unknown), `fold_by` the fold in which the whole
    site was left out, and `logits_by` what the model said that had seen no photo of the site. `facts` says what was
    asked for and how each training went.
    """

    photos: pd.DataFrame
    labels: list[str]
    logits: np.ndarray
    logits_by: np.ndarray | None
    facts: dict[str, Any]

    @property
    def by(self) -> str:
        """The column whose values were left out whole; "" for none."""
        return self.facts["by"] or ""

    @property
    def is_final(self) -> bool:
        """Whether the model that is handed on was trained on all photos: then it lies in the folder FINAL."""
        return bool(self.facts["final"] == "all")


def write_nothing(folder: Path) -> None:
    """What the stage leaves where there is no cross-validation."""
    write_json(folder / FACTS, {"folds": 0})


def write_out_of_fold(folder: Path, found: OutOfFold) -> None:
    """Write the folder; folds.json, which has the checksums of the others, comes last."""
    with atomic_path(folder / PHOTOS) as temporary:
        found.photos.to_parquet(temporary, index=False)
    written = [PHOTOS]
    for name, logits in ((LOGITS, found.logits), (LOGITS_BY, found.logits_by)):
        if logits is not None:
            with atomic_path(folder / name) as temporary, temporary.open("wb") as file:
                np.save(file, logits)
            written.append(name)
    checksums = {name: sha256_file(folder / name) for name in written}
    write_json(folder / FACTS, found.facts | {"labels": found.labels, "sha256": checksums})


def read_out_of_fold(folder: Path) -> OutOfFold | None:
    """What `write_out_of_fold` wrote, None after `write_nothing`; `UserError` if it is missing or damaged."""
    again = f"run `dvc repro` or `dvc pull {folder}`"
    facts = read_json(folder / FACTS, again, again, keys=["folds"])
    if facts["folds"] == 0:
        return None
    try:
        for name, expected in facts.pop("sha256").items():
            if sha256_file(folder / name) != expected:
                raise ValueError(f"{name} was damaged on disk")
        photos = pd.read_parquet(folder / PHOTOS)
        logits = np.load(folder / LOGITS)
        logits_by = np.load(folder / LOGITS_BY) if facts["by"] else None
        return OutOfFold(photos, facts.pop("labels"), logits, logits_by, facts)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{folder} cannot be read ({error}); {again}.") from None
