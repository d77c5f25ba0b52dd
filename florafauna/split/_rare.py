"""Classes with too few photos to be split: left out, gathered as one class, or the end of the run."""

from typing import NamedTuple

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.tables import rows_where
from florafauna.photos.settings import DataParams
from florafauna.split._assign import given_split, held_out_photos
from florafauna.split._suspects import canonical
from florafauna.split.settings import SplitParams

OTHER = "other"  # the class that gathers the rare ones
NAMED = 5


class Frequent(NamedTuple):
    """The photos to split, those that were left out as `rare` (with reason and detail), and notes."""

    table: pd.DataFrame
    rare: pd.DataFrame
    notes: tuple[str, ...]


def without_rare(table: pd.DataFrame, data: DataParams, split: SplitParams) -> Frequent:
    """What `data.rare` makes of classes with fewer than `data.least` photos, or groups where `data.groups` names any.

    Held-out photos do not count; a class whose photos all have a split that the source gives is not rare. `UserError`
    where `data.rare` is stop, or too few classes are left.
    """
    unit = "group" if data.groups else "photo"
    counts = _counts(table, data, split)
    few = counts[counts < data.least]
    if few.empty:
        return Frequent(table, table.iloc[:0].assign(reason="", detail=""), ())
    if data.rare == "stop":
        raise UserError(_sentence(few, counts, data.least, unit))
    notes = []
    if data.rare == "other":
        gathered = table["label"].isin(few.index)
        table = table.assign(label=table["label"].mask(gathered, OTHER))
        notes.append(f"{len(few)} classes with fewer than {data.least} {unit}s are '{OTHER}': {_some(few)}")
        counts = _counts(table, data, split)
        few = counts[counts < data.least]
    rare = table["label"].isin(few.index)
    detail = "its class has " + table["label"].map(counts).astype("Int64").astype(str) + f" usable {unit}(s), fewer "
    left_out = table[rare].assign(reason="rare_class", detail=detail[rare] + f"than data.least ({data.least})")
    table = rows_where(table, ~rare).reset_index(drop=True)
    if table["label"].nunique() < 2 and len(few):
        raise UserError(
            f"{table['label'].nunique()} classes have {data.least} {unit}s or more, and classifying takes two "
            f"({len(few)} have fewer: {_some(few)}); add photos, lower data.least"
            + (", or join fewer photos by data.groups." if data.groups else ".")
        )
    if len(few):
        notes.append(f"{len(few)} classes with fewer than {data.least} {unit}s are left out: {_some(few)}")
    return Frequent(table, left_out, tuple(notes))


def _counts(table: pd.DataFrame, data: DataParams, split: SplitParams) -> pd.Series:
    """For each class that has a photo to be drawn the number of its photos or groups."""
    inside = held_out_photos(table, split) == ""
    drawn = inside & (given_split(table, split)[0] == "")
    of_boxes = "crop" in table.columns  # of which a photo may have several
    what, count = ("key", "nunique") if data.groups else ("sha256", "nunique") if of_boxes else ("key", "size")
    counts = table.loc[inside, ["label", what]].groupby("label")[what].agg(count)
    return counts[counts.index.isin(set(table.loc[drawn, "label"]))].sort_index()


def _sentence(few: pd.Series, counts: pd.Series, least: int, unit: str) -> str:
    name, number = str(few.index[0]), int(few.iloc[0])
    alike = [other for other in counts.index if other != name and canonical(other) == canonical(name)]
    spelling = f" (perhaps it is '{alike[0]}')" if alike else ""
    others = f", as do {len(few) - 1} more classes" if len(few) > 1 else ""
    return (
        f"class '{name}'{spelling} has {number} usable {unit}{'s' if number > 1 else ''} and needs {least} "
        f"(data.least) to be split{others}; add photos, correct the label, or set data.rare to omit or other."
    )


def _some(counts: pd.Series) -> str:
    names = [f"{name} ({number})" for name, number in counts.items()]
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
