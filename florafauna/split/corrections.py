"""data/corrections.csv: what the user says of single photos, which wins over the source's labels."""

from pathlib import Path

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.photos.crops import split_name

CORRECTIONS = Path("data/corrections.csv")
REMOVE = ("remove", "")  # labels that take a photo out


def correct(
    table: pd.DataFrame, omitted: pd.DataFrame, corrections: Path, of_boxes: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table with the labels of `corrections`, and the omitted photos with those that it takes out.

    What is said of a photo holds for all of its boxes, what is said of one (`crops.name_of`) for that alone; the latter
    is done apart (`of_boxes`), since the names of boxes are only known where the photos have been looked at.

    A label in `corrections` is `confirmed`, also where it is the one that the photo had. `UserError` for a file that
    cannot be read or names a photo that is in neither.
    """
    fixes = _read(corrections)
    fixes = fixes[fixes["path"].map(lambda name: bool(split_name(name)[1])).astype(bool) == of_boxes]
    unknown = fixes.loc[~fixes["path"].isin(pd.concat([table["path"], omitted["path"]])), "path"]
    if len(unknown):
        raise UserError(f"{corrections} names {unknown.iloc[0]}, which is not among the photos; remove that row.")
    if fixes.empty:
        return table, omitted
    labels = table["path"].map(fixes.set_index("path")["label"])
    confirmed = labels.notna() | table["confirmed"]
    corrected = table.assign(label=labels.where(labels.notna(), table["label"]), confirmed=confirmed)
    removed = corrected["label"].str.strip().isin(REMOVE)
    gone = table.loc[removed, ["path", "label"]].assign(reason="removed", detail=f"taken out by {corrections}")
    return corrected[~removed].reset_index(drop=True), pd.concat([omitted, gone])


def _read(path: Path) -> pd.DataFrame:
    """The rows (path, label) of a table of corrections, one a photo."""
    try:
        fixes = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; make it with the single line `path,label`.") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a CSV of path and label ({error}).") from None
    if list(fixes.columns[:2]) != ["path", "label"]:
        raise UserError(f"{path} must begin with the columns path,label, not {','.join(fixes.columns)}.")
    twice = fixes.loc[fixes["path"].duplicated(), "path"]
    if len(twice):
        raise UserError(f"{path} has several rows for {twice.iloc[0]}; leave one.")
    return fixes
