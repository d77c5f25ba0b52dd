"""data/corrections.csv: what the user says of single photos, which wins over the source's labels."""

import csv
from pathlib import Path
from unicodedata import normalize

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.tables import rows_where
from florafauna.photos.crops import split_name

CORRECTIONS = Path("data/corrections.csv")
REMOVE = ("remove", "")  # labels that take a photo out
# Why a photo is omitted before any is looked at, all for want of one label: another label here would change nothing
UNLABELLED = ("label_conflict", "ambiguous_box", "no_label", "no_animal", "unlisted")
PERSON, MODEL = "person", "model"  # who suspected the label: the third column, as the report writes it, may say model


def correct(
    table: pd.DataFrame, omitted: pd.DataFrame, corrections: Path, of_boxes: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table with the labels of `corrections`, and the omitted photos with those that it takes out.

    What is said of a photo holds for all of its boxes, what is said of one (`crops.name_of`) for that alone; the latter
    is done apart (`of_boxes`), since the names of boxes are only known where the photos have been looked at.

    A label in `corrections` is `confirmed`, also where it is the one that the photo had. Where it is another,
    `corrected` says on whose suspicion: test labels that are corrected on a model's advice favour that model.
    `UserError` for a file that cannot be read, names a photo that is in neither, or gives a label to one of UNLABELLED.
    """
    fixes = _read(corrections)
    fixes = fixes[fixes["path"].map(lambda name: bool(split_name(name)[1])).astype(bool) == of_boxes]
    if fixes.empty:
        return table, omitted
    known = pd.concat([table["path"], omitted["path"]])
    fixes = fixes.assign(path=_as_there(fixes["path"], known))
    unknown = fixes.loc[~fixes["path"].isin(known), "path"]
    if len(unknown):
        raise UserError(f"{corrections} names {unknown.iloc[0]}, which is not among the photos; remove that row.")
    _refuse_without_effect(fixes, omitted, corrections)
    by_path = fixes.set_index("path")
    labels, suspected = (table["path"].map(by_path[name]) for name in ("label", "by"))
    changed = labels.notna() & (labels != table["label"])
    corrected = table.assign(
        label=labels.where(labels.notna(), table["label"]),
        confirmed=labels.notna() | table["confirmed"],
        corrected=suspected.where(changed, table["corrected"]),
    )
    removed = corrected["label"].str.strip().isin(REMOVE)
    by = (suspected[removed] == MODEL).map({True: ", on a model's advice", False: ""})
    gone = table.loc[removed, ["path", "label"]].assign(reason="removed", detail=f"taken out by {corrections}" + by)
    return rows_where(corrected, ~removed).reset_index(drop=True), pd.concat([omitted, gone])


def _as_there(paths: pd.Series, known: pd.Series) -> pd.Series:
    """Paths in the Unicode form of the photos': é may be one character or two, and no keyboard tells."""
    lost = ~paths.isin(known) & ~paths.map(str.isascii).astype(bool)
    if not lost.any():
        return paths
    spelt = {normalize("NFC", path): path for path in known if not path.isascii()}
    return paths.where(~lost, [spelt.get(normalize("NFC", path), path) for path in paths])


def _refuse_without_effect(fixes: pd.DataFrame, omitted: pd.DataFrame, corrections: Path) -> None:
    """What else the source says of an omitted photo, such as its group, is not known, so it is not taken back here."""
    given = fixes[~fixes["label"].str.strip().isin(REMOVE)]
    idle = omitted[omitted["reason"].isin(UNLABELLED) & omitted["path"].isin(given["path"])]
    if len(idle):
        path, reason, detail = idle.iloc[0][["path", "reason", "detail"]]
        raise UserError(
            f"{corrections} has a label for {path}, which is left out ({reason}: {detail}); give it that one "
            "label where data.labels has its labels, and remove this row."
        )


def _read(path: Path) -> pd.DataFrame:
    """The rows (path, label, by) of a table of corrections, one a photo; `by` is PERSON or MODEL."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file) if any(map(str.strip, row))] or [[]]  # Excel's are empty
    except FileNotFoundError:
        raise UserError(f"{path} is missing; make it with the single line `path,label`.") from None
    except (csv.Error, ValueError) as error:
        raise UserError(f"{path} cannot be read as a CSV of path and label ({error}).") from None
    if header[:2] != ["path", "label"]:
        raise UserError(f"{path} must begin with the columns path,label, not {','.join(header)}.")
    short = next((row for row in rows if len(row) < 2), None)
    if short is not None:
        raise UserError(f"{path} has a row without a label ({short[0]}); write `remove` to take the photo out.")
    whole = [(row[0], row[1], MODEL if row[2:3] == [MODEL] else PERSON) for row in rows]
    fixes = pd.DataFrame(whole, columns=["path", "label", "by"], dtype=str)
    twice = fixes.loc[fixes["path"].duplicated(), "path"]
    if len(twice):
        raise UserError(f"{path} has several rows for {twice.iloc[0]}; leave one.")
    return fixes
