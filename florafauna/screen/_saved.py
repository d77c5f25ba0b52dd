"""The features of one backbone on disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from florafauna.base.errors import UserError
from florafauna.base.files import read_json
from florafauna.pixels.store import PixelStore

FEATURES, ABOUT = "features.npy", "about.json"


@dataclass(frozen=True)
class BackboneFeatures:
    """What one backbone made of the photos: float32 (photos, features), mapped, and what about.json says of it."""

    name: str
    matrix: np.ndarray
    about: dict[str, Any]


def read_features(name: str, folder: Path, stores: list[PixelStore]) -> BackboneFeatures:
    """What `write_features` wrote of these stores; `UserError` where it is missing, damaged or of other photos."""
    what = "run `dvc repro screen/dvc.yaml`"
    about = read_json(folder / ABOUT, what, what, keys=("photos", "features"))
    try:
        matrix = np.load(folder / FEATURES, mmap_mode="c")
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / FEATURES} cannot be read ({error}); delete it and {what}.") from None
    if about["photos"] != [store.facts for store in stores] or len(matrix) != sum(map(len, stores)):
        raise UserError(f"{folder} has the features of other photos; {what}.")
    return BackboneFeatures(name, matrix, about)
