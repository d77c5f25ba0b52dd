"""Timelapse CSV (Greenberg's image analyser): a row a file, its own columns, and a flag for what is to be deleted."""

from dataclasses import replace

from florafauna.base.errors import UserError
from florafauna.labels.columns import standardise
from florafauna.labels.formats._table import the_table
from florafauna.labels.labels import LabelFiles, Labels
from florafauna.labels.tabular import columns, read_table
from florafauna.labels.taxonomy import set_aside_non_animals

REQUIRED = {"File", "RelativePath"}


class Timelapse:
    """The table that Timelapse exports."""

    name = "timelapse"
    looks_like = "a Timelapse CSV (File, RelativePath)"

    def recognises(self, files: LabelFiles) -> bool:
        """See `Reader`."""
        path = None if files.is_root else the_table(files)
        return path is not None and set(columns(files, path)) >= REQUIRED

    def read(self, files: LabelFiles, photos: list[str]) -> Labels:
        """See `Reader`. Files with the delete flag are left out (deleted)."""
        path = the_table(files)
        if path is None:
            raise UserError(f"{files.origin} is not a Timelapse CSV; give the one that Timelapse exported.")
        table = read_table(files, path)
        missing = sorted(REQUIRED - set(table.columns))
        if missing:
            raise UserError(f"{files.describe(path)} is not a Timelapse CSV: it has no column {missing[0]}.")
        if "DateTime" not in table.columns and {"Date", "Time"} <= set(table.columns):
            table["DateTime"] = table["Date"] + " " + table["Time"]  # as Timelapse wrote it before version 2.3
        labels = standardise(table, files.describe(path), photos)
        rows = set_aside_non_animals(labels.rows)
        if "DeleteFlag" in rows.columns:
            flagged = rows["DeleteFlag"].str.lower() == "true"
            rows["_reason"] = rows["_reason"].mask(flagged, "deleted")
            rows["_detail"] = rows["_detail"].mask(flagged, "its delete flag is set in Timelapse")
        return replace(labels, rows=rows, origin=f"{path}: {labels.origin}")
