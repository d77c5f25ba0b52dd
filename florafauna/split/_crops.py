"""Boxes of photos whose size is known: the crops that are shown of them, audited as photos are."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from florafauna.audit.audit import Audit
from florafauna.base.texts import Texts
from florafauna.photos.crops import BoxError, crop_of, name_of, parse_boxes, place, split_name
from florafauna.photos.settings import BoxParams

# What the audit says of what is shown; the rest is said of the photo's file
SHOWN = ["reason", "detail", "pixels", "width", "height", "flat"]


def placed(table: pd.DataFrame, photos: Audit, params: BoxParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row for what is shown of each photo, and the boxes that are none (path, label, reason, detail).

    `table` has path, `_box` and label, `photos` the facts of its paths in the order in which it has them first. `path`
    becomes the name of what is shown; `box` and `crop` are texts of a `Rectangle`, "" for a whole photo.
    """
    facts = photos.table.iloc[pd.Index(table["path"].unique()).get_indexer(table["path"])].reset_index(drop=True)
    known = ((facts["reason"] == "") & (table["_box"] != "")).to_numpy()
    box, crop, reason, detail = (pd.Series("", index=table.index, dtype=object) for _ in range(4))
    boxes, relative = parse_boxes(table.loc[known, "_box"])
    sizes = zip(facts.loc[known, "width"].tolist(), facts.loc[known, "height"].tolist(), strict=True)
    rows = zip(table.index[known], boxes.tolist(), relative.tolist(), sizes, strict=True)
    for row, (x, y, across, down), is_relative, (width, height) in rows:
        try:
            found = place((x, y, across, down), width, height, is_relative, params.smallest)
        except BoxError as error:
            box[row], reason[row], detail[row] = table.loc[row, "_box"], error.reason, str(error)
            continue
        box[row], crop[row] = found.text, crop_of(found, width, height, params).text
    names = [name_of(path, text) for path, text in zip(table["path"], box, strict=True)]
    named = table.drop(columns="_box").assign(path=names, box=box, crop=crop, reason=reason, detail=detail)
    named = _once(named.astype(dict.fromkeys(("path", "box", "crop", "reason", "detail"), "str")))
    out = named["reason"] != ""
    kept = named[~out].drop(columns=["reason", "detail"]).reset_index(drop=True)
    return kept, named.loc[out, ["path", "label", "reason", "detail"]]


def _once(named: pd.DataFrame) -> pd.DataFrame:
    """Boxes that are the same to the pixel once; where their labels differ nobody can tell which is right."""
    named = named.drop_duplicates(["path", "label"]).copy()
    clash = named["path"].duplicated(keep=False) & (named["reason"] == "") & (named["crop"] != "")
    if not clash.any():
        return named
    labels = named[clash].groupby("path")["label"].transform(" and ".join)
    named.loc[clash, "reason"] = "label_conflict"
    named.loc[clash, "detail"] = "the same box under several labels: " + labels
    return named


def seen(table: pd.DataFrame, photos: Audit, paths: pd.Series, look: Callable[[Texts], Audit]) -> Audit:
    """The facts of each row of `placed`: of its crop, which `look` audits, or of its photo; `photos` are of `paths`."""
    files = [split_name(name)[0] for name in table["path"]]
    photo = pd.Index(paths).get_indexer(files)
    of_crop = np.flatnonzero(table["crop"] != "")
    crops = pd.Series([name_of(files[row], table["crop"].iloc[row]) for row in of_crop], dtype=str)
    found = look(Texts.of(crops.drop_duplicates()))
    at = pd.Index(crops.unique()).get_indexer(crops)
    facts = photos.table.iloc[photo].reset_index(drop=True)
    for name in SHOWN:
        values = facts[name].to_numpy(copy=True)
        values[of_crop] = found.table[name].to_numpy()[at]
        facts[name] = pd.Series(values, dtype=facts[name].dtype)
    hashes, thumbnails = photos.hashes[photo], photos.thumbnails[photo]
    hashes[of_crop], thumbnails[of_crop] = found.hashes[at], found.thumbnails[at]
    return Audit(facts, hashes, thumbnails)


def rectangles(texts: pd.Series, width: pd.Series, height: pd.Series) -> pd.Series:
    """The boxes of whole photos, `box_text`s with spaces between them, as texts of a `Rectangle`.

    What is no box is left out.
    """
    return pd.Series(
        [" ".join(_placed(*row)) for row in zip(texts, width, height, strict=True)], index=texts.index, dtype=str
    )


def _placed(texts: str, width: int, height: int) -> list[str]:
    boxes, relative = parse_boxes(texts.split())
    found = []
    for (x, y, across, down), is_relative in zip(boxes.tolist(), relative.tolist(), strict=True):
        try:
            found.append(place((x, y, across, down), int(width), int(height), is_relative).text)
        except BoxError:
            continue
    return found
