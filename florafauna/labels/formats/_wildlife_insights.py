"""Wildlife Insights export: images*.csv with a row an identified object, deployments.csv with the places."""

import re

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.labels._matching import locate
from florafauna.labels.labels import LabelFiles, Labels, base_name
from florafauna.labels.tabular import columns, read_table
from florafauna.labels.taxonomy import RANKS, binomial, finest, set_aside_non_animals

IMAGES = re.compile(r"images.*\.csv", re.IGNORECASE)
REQUIRED = ("deployment_id", "image_id", "filename", "location", "genus", "species", "common_name")
TYPICAL = {"deployment_id", "image_id", "wi_taxon_id"}
FURTHER = ("is_blank", "identified_by", "wi_taxon_id", "timestamp", "license", "sequence_id", "individual_id")
NAMES = {"timestamp": "datetime", "license": "licence", "sequence_id": "sequence", "individual_id": "individual"}
PLACE = {"placename": "location", "longitude": "longitude", "latitude": "latitude"}


class WildlifeInsights:
    """The files of an export, in a folder, a zip archive, or beside the images.csv given."""

    name = "wildlife-insights"
    looks_like = "a Wildlife Insights export (images.csv with wi_taxon_id)"

    def recognises(self, files: LabelFiles) -> bool:
        """See `Reader`."""
        return any(set(columns(files, path)) >= TYPICAL for path in _image_tables(files))

    def read(self, files: LabelFiles, photos: list[str]) -> Labels:
        """See `Reader`. What only computer vision identified is weak; `location` is the place of the deployment."""
        paths = _image_tables(files)
        if not paths:
            raise UserError(f"{files.origin} is not a Wildlife Insights export: it has no images.csv.")
        table = pd.concat([_images(files, path) for path in paths], ignore_index=True).fillna("")
        table["file"] = table["deployment_id"] + "/" + table["filename"]
        rows, notes = locate(table.rename(columns={"location": "url"}), photos, ["url", "file"], ids=["image_id"])
        rows = _with_places(rows, files, paths[0])
        rows["species"] = binomial(rows["genus"], rows["species"])
        rows = set_aside_non_animals(rows.assign(label=_identification(rows)))
        if "identified_by" in rows.columns:
            machine = rows["identified_by"].str.lower() == "computer vision"
            rows["weak"] = pd.Series("machine", index=rows.index, dtype=str).where(machine, "")
        rows = rows.drop(columns=["url", "file", "filename", "image_id", "is_blank"], errors="ignore")
        return Labels(rows.rename(columns=NAMES), ranked=True, notes=notes, listed=len(table))


def _image_tables(files: LabelFiles) -> list[str]:
    return [path for path in files.names if IMAGES.fullmatch(base_name(path))]


def _images(files: LabelFiles, path: str) -> pd.DataFrame:
    table = read_table(files, path, keep={*REQUIRED, *FURTHER, *RANKS})
    missing = [name for name in REQUIRED if name not in table.columns]
    if missing:
        raise UserError(f"{files.describe(path)} is not a table of a Wildlife Insights export: it has no {missing[0]}.")
    return table


def _with_places(rows: pd.DataFrame, files: LabelFiles, images: str) -> pd.DataFrame:
    """The rows with place and coordinates of their deployment; without deployments.csv the deployment is the place."""
    path = files.beside(images, "deployments.csv")
    if path is None:
        return rows.assign(location=rows["deployment_id"])
    places = read_table(files, path, keep={"deployment_id", *PLACE})
    if "deployment_id" not in places.columns:
        raise UserError(f"{files.describe(path)} has no column deployment_id, by which images name their place.")
    places = places.drop_duplicates("deployment_id")
    rows = rows.merge(places.rename(columns=PLACE), on="deployment_id", how="left").fillna("")
    if "location" not in rows.columns:
        rows["location"] = ""
    return rows.assign(location=rows["location"].where(rows["location"] != "", rows["deployment_id"]))


def _identification(rows: pd.DataFrame) -> pd.Series:
    """The finest name of each row; the common name where no rank is given (Vehicle, Misfire), blank where marked so."""
    name = finest(rows)
    name = name.where(name != "", rows["common_name"])
    if "is_blank" in rows.columns:
        name = name.mask(rows["is_blank"].str.lower().isin(["1", "1.0", "true"]), "blank")
    return name
