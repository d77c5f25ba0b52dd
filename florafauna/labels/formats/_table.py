"""The native table: a row a (path, label), CSV, TSV, JSON lines or Parquet, under the column names that people use."""

from dataclasses import replace

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.labels._matching import locate
from florafauna.labels._parts import join_parts, one_set
from florafauna.labels.columns import IDS, LABELS, has_path, named, standardise
from florafauna.labels.formats._coco import category_names
from florafauna.labels.labels import LabelFiles, Labels
from florafauna.labels.tabular import among, is_table, read_table


class Table:
    """A table of paths and labels, or one for each split."""

    name = "table"
    looks_like = "a CSV, TSV or Parquet table with a path and a label"

    def recognises(self, files: LabelFiles) -> bool:
        """See `Reader`."""
        return not files.is_root and any(map(is_table, files.names))

    def read(self, files: LabelFiles, photos: list[str]) -> Labels:
        """See `Reader`. Columns without a standard meaning are kept."""
        paths = [path for path in files.names if is_table(path)]
        if not paths:
            raise UserError(f"{files.origin} is not a table; data.format: table reads one .csv, .tsv or .parquet file.")
        return join_parts(files, one_set(files, paths), lambda path: _read(files, path, photos))


def _read(files: LabelFiles, path: str, photos: list[str]) -> Labels:
    table, name = _with_category_names(files, path, read_table(files, path)), files.describe(path)
    present = list(table.columns)
    ids = named(IDS, present)
    if has_path(present) or not ids:
        return standardise(table, name, photos)
    rows, notes = locate(table, photos, ids=ids)
    labels = standardise(rows, name, photos)
    return replace(labels, notes=(*notes, *labels.notes), listed=len(table))


def _with_category_names(files: LabelFiles, path: str, table: pd.DataFrame) -> pd.DataFrame:
    """A table with `category_id` alone, as iWildCam's, with the names that a JSON beside it has for the numbers."""
    present = list(table.columns)
    column = next(iter(named(("category_id",), present)), None)
    if column is None or any(named(names, present) for names in LABELS):
        return table
    for json_path in files.neighbours(path, ".json"):
        names = category_names(files.read(json_path))
        if names and among(table[column], {*names, ""}).all():
            files.remarks.append(f"the names of {column} are from {json_path}")
            return table.assign(category_name=table[column].map(names).fillna("").astype(str))
    return table


def the_table(files: LabelFiles) -> str | None:
    """The only table among the label files, or None."""
    tables = [path for path in files.names if is_table(path)]
    return tables[0] if len(tables) == 1 else None
