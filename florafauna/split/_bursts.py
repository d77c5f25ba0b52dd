"""Bursts that nobody declared: photos of one place that were taken within seconds of each other."""

import numpy as np
import pandas as pd

from florafauna.photos.crops import split_name
from florafauna.photos.taken import UNKNOWN


def bursts(table: pd.DataFrame, groups: tuple[str, ...], seconds: int) -> pd.Series:
    """The name of each photo's burst, "" where it is in none or has a value in one of the columns `groups`.

    A burst is a chain of photos of one place (`location`, or else the folder), each taken at most `seconds` after the
    one before, by `taken` (seconds, by EXIF). It is named after its place and beginning. 0 seconds: there are none.
    """
    nothing = pd.Series("", index=table.index, dtype=str)
    declared = pd.concat([table[name] != "" for name in groups], axis=1).any(axis=1) if groups else nothing != ""
    rows = np.flatnonzero((table["taken"] != UNKNOWN) & ~declared)
    if seconds == 0 or len(rows) == 0:
        return nothing
    photos = pd.DataFrame({"place": _places(table.iloc[rows]), "taken": table["taken"].iloc[rows], "row": rows})
    photos = photos.sort_values(["place", "taken", "row"], ignore_index=True)
    begins = (photos["place"] != photos["place"].shift()) | (photos["taken"].diff() > seconds)
    photos["chain"] = begins.cumsum()
    photos["sha256"] = table["sha256"].to_numpy()[photos["row"]]
    several = photos.groupby("chain")["sha256"].transform("nunique") > 1
    first = photos.groupby("chain")["taken"].transform("min")
    moment = pd.to_datetime(first, unit="s").dt.strftime("%Y-%m-%dT%H:%M:%S")
    names = (photos["place"] + " " + moment)[several]
    found = np.full(len(table), "", dtype=object)
    found[photos.loc[several, "row"]] = names
    return pd.Series(found, index=table.index, dtype=str)


def _places(table: pd.DataFrame) -> pd.Series:
    folders = [split_name(name)[0].rpartition("/")[0] or "." for name in table["path"]]
    folder = pd.Series(folders, index=table.index, dtype=str)
    return table["location"].where(table["location"] != "", folder) if "location" in table.columns else folder
