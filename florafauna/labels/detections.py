"""What a detector, or a person, drew boxes around, from any format that has boxes → one table."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from florafauna.base.errors import UserError
from florafauna.labels._boxes import BOXES
from florafauna.labels._readers import READERS
from florafauna.labels.columns import DETECTED, DETECTORS_NUMBERS, SYNONYMS, boxes_of, named, standard_paths
from florafauna.labels.formats._machines import MegaDetector, SpeciesNet
from florafauna.labels.formats._table import the_table
from florafauna.labels.labels import LabelFiles, Reader
from florafauna.labels.tabular import read_table
from florafauna.photos.crops import parse_boxes
from florafauna.photos.sources import FolderSource

MOST = 10**9  # entries of a file
SPECIES = ("label", "species", "prediction")


@dataclass(frozen=True)
class Detections:
    """`table` has a row a box, in the order of the file; `format` is the name of the file's format.

    Columns: `path` as the file gives it; `x`, `y`, `width`, `height` (float64, from the top left of the upright photo,
    NaN for what is no box), of which `relative` says whether they are shares of its sides or pixels; `category`
    (animal, person, vehicle or another of the detector's words, "" where a person drew the box); `confidence` (float64,
    NaN where none is given); `label` (its species, "" where it has none); `sequence` of the photo ("" where the format
    names none); `frame` (int64, -1 in a photo: of a video);
    `image` and `detection` (int64, numbers of the entry and of the box in it; -1 but for MegaDetector and SpeciesNet).
    """

    table: pd.DataFrame
    format: str
    origin: Path


def read_detections(file: Path, photos: list[str] | None = None) -> Detections:
    """The boxes of MegaDetector's results (1.0 to 1.6), SpeciesNet's, a COCO JSON, a Camtrap DP, or a table.

    `photos` are the paths of the photos that there are, by which a table's column of paths is chosen. `UserError` where
    the file is none of these or has no boxes.

    >>> read_detections(Path("results.json")).table[["path", "x", "y", "width", "height"]]  # doctest: +SKIP
    """
    if not file.exists():
        raise UserError(f"{file} does not exist; correct the path of the detections.")
    if file.is_dir():
        raise UserError(f"{file} is a folder; name the file with the boxes (of a Camtrap DP, its datapackage.json).")
    return detections_of(LabelFiles(file, FolderSource(file.parent), single=file.name), photos or [])


def detections_of(files: LabelFiles, photos: list[str]) -> Detections:
    """As `read_detections`, of files that are open."""
    reader = next((reader for reader in READERS if reader.recognises(files)), None)
    texts = None if reader is None else _texts(reader, files, photos)
    if reader is None or texts is None:
        raise UserError(
            f"{files.origin} has no boxes; give MegaDetector's or SpeciesNet's results, a COCO JSON with bbox, a "
            "Camtrap DP with bboxX, or a table with the columns bbox_x, bbox_y, bbox_width and bbox_height."
        )
    boxes, relative = parse_boxes(texts["_box"])
    columns = dict(zip(("x", "y", "width", "height"), boxes.T, strict=True)) | {"relative": relative}
    table = texts[["path"]].assign(
        **columns,
        category=texts["_category"],
        confidence=pd.to_numeric(texts["_confidence"], errors="coerce").astype(np.float64),
        label=texts["label"],
        sequence=texts["sequence"] if "sequence" in texts.columns else "",
        **{name: _numbers(texts[name]) for name in ("frame", "image", "detection")},
    )
    return Detections(table, reader.name, files.origin)


def _texts(reader: Reader, files: LabelFiles, photos: list[str]) -> pd.DataFrame | None:
    """BOXES and perhaps the sequence, all text; None where the format or the file has none."""
    if isinstance(reader, MegaDetector | SpeciesNet):
        return reader.boxes(files)
    table = the_table(files) if reader.name in ("table", "timelapse") else None
    rows = _of_table(files, table, photos) if table is not None else reader.read(files, photos).rows
    if "_box" not in rows.columns:
        return None
    rows = rows[rows["_box"] != ""].reset_index(drop=True)
    rows = rows.assign(**{name: "" for name in BOXES if name not in rows.columns})
    words = rows["label"].str.lower().replace(DETECTORS_NUMBERS)
    no_species = words.isin(DETECTED)
    category = rows["_category"].mask(no_species & (rows["_category"] == ""), words)
    return rows.assign(_category=category, label=rows["label"].mask(no_species, ""))[
        [*BOXES, *rows.columns.intersection(["sequence"])]
    ]


def _of_table(files: LabelFiles, path: str, photos: list[str]) -> pd.DataFrame:
    """The boxes of a table, which need not have labels."""
    table = read_table(files, path)
    rows = pd.DataFrame({"path": standard_paths(table, files.describe(path), photos)}).assign(**boxes_of(table))
    label = next(iter(named((*SPECIES, "category"), list(table.columns))), None)
    sequence = next(iter(named(SYNONYMS["sequence"], list(table.columns))), None)
    rows = rows if sequence is None else rows.assign(sequence=table[sequence])
    return rows.assign(label=table[label] if label is not None else "")


def _numbers(texts: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(texts, errors="coerce")
    return numbers.where(numbers.between(0, MOST), -1).astype(np.int64)
