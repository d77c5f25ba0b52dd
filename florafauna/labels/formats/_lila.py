"""LILA CSV: the camera-trap images of lila.science, one row an identification, with the taxonomy mapped to ranks."""

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.labels._matching import locate
from florafauna.labels.formats._table import the_table
from florafauna.labels.labels import LabelFiles, Labels
from florafauna.labels.tabular import columns, read_table
from florafauna.labels.taxonomy import RANKS, binomial, set_aside_non_animals

URLS = ("url_gcp", "url_aws", "url_azure")
REQUIRED = ("image_id", "original_label", "scientific_name", "annotation_level")
FURTHER = ("dataset_name", "sequence_id", "location_id", "common_name", "datetime")


class Lila:
    """The table of image URLs and labels."""

    name = "lila"
    looks_like = "a LILA CSV (url_gcp, image_id, original_label)"

    def recognises(self, files: LabelFiles) -> bool:
        """See `Reader`."""
        path = None if files.is_root else the_table(files)
        present = columns(files, path) if path is not None else []
        return "path" not in present and "original_label" in present and any(url in present for url in URLS)

    def read(self, files: LabelFiles, photos: list[str]) -> Labels:
        """See `Reader`. Only images that were downloaded give rows; labels of sequences are weak."""
        path = the_table(files)
        if path is None:
            raise UserError(f"{files.origin} is not a LILA CSV; give the one of image URLs and labels.")
        table = read_table(files, path, keep={*URLS, *REQUIRED, *FURTHER, *RANKS})
        missing = [name for name in REQUIRED if name not in table.columns]
        if missing:
            raise UserError(f"{files.describe(path)} is not a LILA CSV: it has no column {missing[0]}.")
        table["image_id"] = table["image_id"].str.replace(r"^.* : ", "", regex=True)  # "Dataset : id"
        urls = [url for url in URLS if url in table.columns]
        rows, notes = locate(table, photos, urls, ids=["image_id"])
        rows = set_aside_non_animals(rows.rename(columns={"original_label": "label"}))
        mapped = (rows["_reason"] == "") & (rows["scientific_name"] != "")
        rows["label"] = rows["label"].mask(mapped, rows["scientific_name"])
        if {"genus", "species"} <= set(rows.columns):
            rows["species"] = binomial(rows["genus"], rows["species"])
        rows["weak"] = rows["annotation_level"].map({"sequence": "event"}).fillna("").astype(str)
        for standard, column in (("location", "location_id"), ("sequence", "sequence_id")):
            if column in rows.columns:
                rows[standard] = _within_dataset(rows, column)
        dropped = [*urls, "image_id", "annotation_level", "location_id", "sequence_id"]
        return Labels(rows.drop(columns=dropped, errors="ignore"), ranked=True, notes=notes, listed=len(table))


def _within_dataset(rows: pd.DataFrame, column: str) -> pd.Series:
    """Identifiers made unique across data sets; "" where not known, since unknown sites are not one site."""
    values = rows[column].where(~rows[column].str.lower().isin(["unknown", "nan"]), "")
    if "dataset_name" not in rows.columns:
        return values
    return values.where((values == "") | values.str.contains(" : ", regex=False), rows["dataset_name"] + " : " + values)
