"""Labels and boxes together: what is shown of a photo has a name, its path with or without a box, and has labels.

A row with a box of its own labels that box. A box without a label takes the labels of its photo, and a photo with
boxes is not shown as a whole.
"""

from pathlib import Path

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.labels._paths import below_root
from florafauna.labels.detections import Detections
from florafauna.labels.found import Found
from florafauna.labels.tabular import among
from florafauna.photos.crops import box_text, name_of, split_name
from florafauna.photos.settings import BoxParams

PRIVATE = ["_box", "_category", "_confidence"]


def located(detections: Detections, found: Found, root: Path) -> tuple[pd.DataFrame, list[str]]:
    """The detections on photos that are there, `path` below the root and PRIVATE columns added, and notes."""
    table = detections.table
    paths, notes = below_root(table["path"], None, found, detections.origin, root)
    there = among(paths, set(found.photos))
    if len(table) and not there.any():
        raise UserError(
            f"data.boxes: {detections.origin}: none of its {len(table)} boxes is on a photo below {root}: it has "
            f"'{table['path'].iloc[0]}'; set data.root to the folder that its paths start from."
        )
    facts = f"boxes from {detections.origin.name} ({detections.format}): {int(there.sum())} of {len(table)} on photos"
    table = table.assign(path=paths, _category=table["category"], _confidence=table["confidence"])[there]
    columns = (table[name] for name in ("x", "y", "width", "height", "relative"))
    texts = [box_text(box, relative) for *box, relative in zip(*columns, strict=True)]
    return table.assign(_box=pd.Series(texts, index=table.index, dtype=str)), [facts, *notes]


def sure(rows: pd.DataFrame, params: BoxParams) -> pd.Series:
    """Which rows have a box of the category that counts, sure enough; one without category or confidence counts."""
    nothing = pd.Series("", index=rows.index)
    confidence = pd.to_numeric(rows.get("_confidence", nothing), errors="coerce")
    category = rows.get("_category", nothing)
    return (rows["_box"] != "") & category.isin(["", params.category]) & ~(confidence < params.confidence)


def named_by_box(
    rows: pd.DataFrame, drawn: pd.DataFrame | None, params: BoxParams
) -> tuple[pd.DataFrame, frozenset[str]]:
    """The label rows with the name of what they label as `path`, and the names of boxes with their photo's labels.

    `rows` have `_reason`, `_detail` and `_box` ("" for a label of the photo), `drawn` (path, `_box`, …) boxes without
    labels. Photos without a box that counts keep their path or, if `params.empty` says so, get the reason no_box.
    """
    own = rows["_box"].where((rows["_reason"] != "no_animal") & sure(rows, params), "")
    guessed = (rows["_box"] != own) & (rows["weak"] == "machine" if "weak" in rows.columns else False)
    rows, own = rows.assign(_box=own)[~guessed], own[~guessed]
    labelled = rows[(own != "") & (rows["label"] != "")]
    others = [rows[(own != "") & (rows["label"] == "")]]
    if drawn is not None:  # boxes that come with the labels win
        others.append(drawn[sure(drawn, params) & ~among(drawn["path"], set(rows.loc[own != "", "path"]))])
    unlabelled = pd.concat([part[["path", "_box"]] for part in others]).drop_duplicates()
    whole = rows[~among(rows["path"], {*labelled["path"], *unlabelled["path"]})]
    if params.empty == "omit":
        out = (whole["_reason"] == "") & (whole["label"] != "")
        detail = f"no box of the category '{params.category}' with confidence {params.confidence:g} or more"
        whole = whole.assign(_reason=whole["_reason"].mask(out, "no_box"), _detail=whole["_detail"].mask(out, detail))
    shared = rows.drop(columns="_box").merge(unlabelled, on="path")[list(rows.columns)]
    together = pd.concat([whole, labelled, shared], ignore_index=True)
    names = [name_of(path, box) for path, box in zip(together["path"], together["_box"], strict=True)]
    taken = frozenset(names[len(whole) + len(labelled) :]) - frozenset(names[: len(whole) + len(labelled)])
    return together.assign(path=pd.Series(names, index=together.index, dtype=str)), taken


def boxes_of_photos(rows: pd.DataFrame, drawn: pd.DataFrame | None, params: BoxParams) -> pd.Series:
    """The boxes that count of each photo, by path, with spaces between them."""
    parts = [part[sure(part, params)][["path", "_box"]] for part in (rows, drawn) if part is not None]
    return pd.concat(parts).drop_duplicates().groupby("path")["_box"].agg(" ".join)


def with_boxes_apart(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `path` and `_box` where `path` names both."""
    names = [split_name(name) for name in table["path"]]
    return table.assign(
        path=pd.Series([path for path, _ in names], index=table.index, dtype=str),
        _box=pd.Series([box for _, box in names], index=table.index, dtype=str),
    )
