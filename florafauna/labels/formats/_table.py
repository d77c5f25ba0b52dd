"""The native table: a row a (path, label), CSV, TSV or Parquet, under the column names that people use."""

from florafauna.base.errors import UserError
from florafauna.labels.columns import standardise
from florafauna.labels.labels import LabelFiles, Labels
from florafauna.labels.tabular import is_table, read_table


class Table:
    """A table of paths and labels."""

    name = "table"
    looks_like = "a CSV, TSV or Parquet table with a path and a label"

    def recognises(self, files: LabelFiles) -> bool:
        """See `Reader`."""
        return not files.is_root and the_table(files) is not None

    def read(self, files: LabelFiles, photos: list[str]) -> Labels:
        """See `Reader`. Columns without a standard meaning are kept."""
        path = the_table(files)
        if path is None:
            raise UserError(f"{files.origin} is not a table; data.format: table reads one .csv, .tsv or .parquet file.")
        name = files.describe(path)
        return Labels(standardise(read_table(files, path), name))


def the_table(files: LabelFiles) -> str | None:
    """The only table among the label files, or None."""
    tables = [path for path in files.names if is_table(path)]
    return tables[0] if len(tables) == 1 else None
