"""The rows of a label source and the photos that are there → one table with one row a photo."""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from florafauna.base.components import SEVERAL
from florafauna.base.errors import UserError
from florafauna.base.split_names import SPLIT_OF, split_of
from florafauna.base.tables import repeated, rows_where, sorted_by
from florafauna.base.texts import Texts
from florafauna.labels._boxed import PRIVATE, boxes_of_photos, named_by_box, with_boxes_apart
from florafauna.labels._moments import to_iso
from florafauna.labels._paths import below_root, cannot_be_there
from florafauna.labels.formats._folders import splits_of_photos
from florafauna.labels.found import Found
from florafauna.labels.labels import Labels
from florafauna.labels.tabular import among
from florafauna.labels.taxonomy import RANKS
from florafauna.photos.archives import Refused
from florafauna.photos.crops import split_name
from florafauna.photos.kinds import printable
from florafauna.photos.settings import BoxParams

STANDARD = ("location", "observer", "occurrence", "sequence", "individual", "datetime", "latitude", "longitude",
            "split", *RANKS, "licence", "weak")  # fmt: skip

# What a photo has one of; of any other column it may have several values
SINGLE = ("label", "location", "sequence", "datetime", "latitude", "longitude", "split", *RANKS, "licence", "weak",
          "_reason", "_detail")  # fmt: skip

# Labels given to a whole event, and by a machine: they count only where a photo has no other.
WEAK = ("event", "machine")

# These say that a row has no label to train on; any other reason says that the photo cannot be used.
ABOUT_THE_LABEL = ("no_animal", "no_label")


@dataclass(frozen=True)
class Photos:
    """Labelled photos.

    `table`: path, label and what else the source knows, one row a photo, sorted by path, all text, "" for missing.
    Where crops are shown, one row a (path, `_box`), a `crops.box_text` or "" for a whole photo; where whole photos are
    shown and boxes known, `_boxes` has those of the photo, with spaces between them.
    `omitted`: path, label, reason, detail of every other file or listed photo, one row each, sorted by path, of a box
    under its `crops.name_of`.
    `notes` are sentences about what was assumed or left empty; the first says what gave the labels and the split.
    """

    table: pd.DataFrame
    omitted: pd.DataFrame
    format: str
    notes: tuple[str, ...] = ()


def assemble(
    labels: Labels,
    found: Found,
    rank: str,
    name: str,
    origin: Path,
    root: Path,
    boxes: BoxParams | None = None,
    drawn: pd.DataFrame | None = None,
) -> Photos:
    """The table of the format `name`, its policies applied.

    A photo with several labels is omitted (label_conflict), as is one without any (no_label), one that shows no animal
    (no_animal), one that is listed but not there (missing_file) and one that is there but not listed (unlisted). Labels
    of whole events and of machines count only where a photo has no other. Rows of one photo that agree on the label
    become one. With `boxes` the same is said of each box: one that has no label of its own takes those of its photo,
    and if they are several, it is omitted (ambiguous_box). `drawn` are boxes (path, `_box`, `_category`, `_confidence`)
    that do not come with the labels. `UserError`: a path leaves the root, none of the listed photos is there, no photo
    is left.
    """
    if not found.files:
        raise UserError(f"data.root: {root} holds no photos.")
    rows = labels.rows.reset_index(drop=True)
    rows = rows.assign(**{column: "" for column in ("_reason", "_detail") if column not in rows.columns})
    homes = rows.pop("_home") if "_home" in rows.columns else None
    paths, path_notes = below_root(rows["path"], homes, found, origin, root)
    rows, gone = _take_out(rows.assign(path=paths), *cannot_be_there(paths, found))
    if rows.empty and not gone.empty:
        raise UserError(
            f"{origin}: none of the {len(gone)} photos that it lists lies below {root}: it has "
            f"'{gone['path'].iloc[0]}', the root '{printable(min(found.files))}'; "
            "set data.root to the folder that the listed paths start from."
        )
    there = len(rows)
    rows = _at_rank(_without_blanks(rows), labels.ranked, rank, origin)
    rows = rows.assign(_box="") if boxes is not None and "_box" not in rows.columns else rows
    taken, regions = frozenset[str](), None
    if boxes is not None and boxes.use == "crop":
        rows, taken = named_by_box(rows, drawn, boxes)
    elif boxes is not None:
        regions = boxes_of_photos(rows, drawn, boxes)
    rows, omitted = _one_row_a_photo(rows.drop(columns=PRIVATE, errors="ignore"))
    omitted = _with_ambiguous(omitted, taken)
    rows, split_origin = _with_split(rows, labels)
    rows, value_notes = _standard_values(rows, origin)
    table = _ordered(rows)
    if boxes is not None and boxes.use == "crop":
        table = with_boxes_apart(table)
    elif regions is not None:
        table = table.assign(_boxes=table["path"].map(regions).fillna("").astype(str))
    omitted = _with_the_rest(table, pd.concat([gone, omitted], ignore_index=True), found, origin)
    notes = (_evidence(labels, there, split_origin), *labels.notes, *path_notes, *value_notes, *_unmatched(omitted))
    if table.empty:
        counts = omitted["reason"].value_counts().sort_index()
        facts = [", ".join(f"{count} {reason}" for reason, count in counts.items()), *notes]
        raise UserError(f"{origin}: no photo with a label is left below {root} ({'; '.join(facts)}).")
    return Photos(table, omitted, name, notes)


def _without_blanks(rows: pd.DataFrame) -> pd.DataFrame:
    """A label, or the name of a rank, of nothing but white space made empty."""
    names = [name for name in ("label", *RANKS) if name in rows.columns and len(rows)]  # no rows may be no text
    return rows.assign(**{name: rows[name].mask(rows[name].str.strip() == "", "") for name in names})


def _at_rank(rows: pd.DataFrame, ranked: bool, rank: str, origin: Path) -> pd.DataFrame:
    """The rows with the label of the column `rank`; "species" is the source's own label where it has no ranks."""
    marked = rows["_reason"] != ""
    if rank == "label" or (rank == "species" and not ranked) or marked.all():
        return rows
    if rank not in rows.columns or not (rows[rank] != "").any():
        known = [column for column in RANKS if column in rows.columns and (rows[column] != "").any()]
        raise UserError(
            f"data.label: {origin} has no '{rank}' for its photos; "
            + (f"the ranks that it has are {', '.join(known)}" if known else "it has no ranks, leave the default")
            + ("; data.label: label takes the labels as they are." if (rows["label"] != "").any() else ".")
        )
    lacking = (rows[rank] == "") & ~marked
    only = (", only " + rows["label"]).where(rows["label"] != "", "")
    return rows.assign(
        label=rows[rank].where(~marked, rows["label"]),
        _reason=rows["_reason"].mask(lacking, "no_label"),
        _detail=rows["_detail"].mask(lacking, f"no {rank} given" + only),
    )


def _take_out(rows: pd.DataFrame, reason: pd.Series, detail: pd.Series) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows without a reason, and the others as omitted photos."""
    out = reason != ""
    gone = rows.loc[out, ["path", "label"]].assign(reason=reason[out], detail=detail[out])
    gone["path"] = gone["path"].map(printable)
    return rows_where(rows, ~out), gone.drop_duplicates("path")


def _one_row_a_photo(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row for each photo that has one label, and the photos omitted."""
    about_photo = (rows["_reason"] != "") & ~rows["_reason"].isin(ABOUT_THE_LABEL)
    unusable = rows[about_photo].drop_duplicates("path")
    rows = rows_where(rows, ~among(rows["path"], set(unusable["path"])))
    if "weak" in rows.columns:
        weak = rows["weak"].isin(WEAK)
        rows = rows[~weak | ~among(rows["path"], set(rows.loc[~weak & (rows["label"] != ""), "path"]))]
    has_label = (rows["label"] != "") & (rows["_reason"] != "no_label")
    labelled, unlabelled = rows_where(rows, has_label), rows[~has_label]
    also_labelled = labelled.loc[among(labelled["path"], set(unlabelled["path"])), "path"]
    unlabelled = unlabelled[~among(unlabelled["path"], set(also_labelled))].drop_duplicates("path")
    unlabelled = unlabelled.assign(
        _reason="no_label", _detail=unlabelled["_detail"].mask(unlabelled["_detail"] == "", "the label is empty")
    )
    pairs = labelled[repeated(labelled["path"])].drop_duplicates(["path", "label"]).sort_values(["path", "label"])
    several = pairs[pairs["path"].duplicated(keep=False)].groupby("path")["label"].agg(list)
    clash = pd.DataFrame({"path": several.index, "label": several.str.join(" | ").astype(str)})
    clash = clash.assign(_reason="label_conflict", _detail="it has several labels: " + clash["label"])
    single = _merge(rows_where(labelled, ~among(labelled["path"], set(clash["path"]))))
    no_animal = single["_reason"] != ""
    omitted = pd.concat([unusable, unlabelled, clash, single[no_animal]], ignore_index=True)
    omitted = omitted[["path", "label", "_reason", "_detail"]].rename(
        columns={"_reason": "reason", "_detail": "detail"}
    )
    return rows_where(single, ~no_animal).drop(columns=["_reason", "_detail"]), omitted


def _with_ambiguous(omitted: pd.DataFrame, taken: frozenset[str]) -> pd.DataFrame:
    """Omitted photos, with a reason of its own where several labels of a photo might be that of a box."""
    unclear = (omitted["reason"] == "label_conflict") & omitted["path"].isin(taken)
    detail = "its photo has several labels and its box none: " + omitted["label"]
    return omitted.assign(
        reason=omitted["reason"].mask(unclear, "ambiguous_box"), detail=omitted["detail"].mask(unclear, detail)
    )


def _merge(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one photo and one label made one: its first value in each column, but no rank on which they disagree, and
    SEVERAL individuals and the like: the photo has to stay with the others of each."""
    several = repeated(rows["path"])
    if not several.any():
        return rows
    groups = rows[several].mask(rows[several] == "").groupby("path", sort=False)
    merged = groups.first()
    for rank in RANKS:
        if rank in merged.columns:
            merged[rank] = merged[rank].where(groups[rank].nunique() <= 1)
    for name in merged.columns.difference([*SINGLE]):
        disagree = groups[name].nunique() > 1
        if disagree.any():
            values = rows[rows["path"].isin(disagree.index[disagree]) & (rows[name] != "")].groupby("path")[name]
            merged.loc[disagree, name] = values.agg(lambda texts: SEVERAL.join(sorted(set(texts))))
    return pd.concat([rows[~several], merged.fillna("").astype(str).reset_index()[list(rows.columns)]])


def _with_split(rows: pd.DataFrame, labels: Labels) -> tuple[pd.DataFrame, str]:
    """The rows with a split where something gives one, and what: a column, the label files, the photos' folders."""
    if "split" in rows.columns:
        return rows, labels.split_origin or "the column split"
    splits, origin = splits_of_photos(Texts.of(rows["path"]))
    return (rows.assign(split=splits), origin) if splits else (rows, "")


def _standard_values(rows: pd.DataFrame, origin: Path) -> tuple[pd.DataFrame, list[str]]:
    """Splits as train, val and test, times as ISO 8601."""
    notes = []
    if "split" in rows.columns:
        splits = {name: split_of(name) for name in rows["split"].unique()}
        unknown = rows.loc[rows["split"].map(lambda name: name.strip() != "" and not splits[name]), "split"]
        if not unknown.empty:
            raise UserError(
                f"{origin}: the split '{unknown.iloc[0]}' of {rows.loc[unknown.index[0], 'path']} is not one of "
                f"{', '.join(SPLIT_OF)}."
            )
        rows = rows.assign(split=rows["split"].map(splits))
    if "datetime" in rows.columns:
        moments, understood = to_iso(rows["datetime"])
        if not understood.all():
            values = rows.loc[~understood, "datetime"]
            notes.append(
                f"{len(values)} times of {origin} are not understood, for example '{values.iloc[0]}'; "
                "they were left empty"
            )
        rows = rows.assign(datetime=moments)
    return rows, notes


def _evidence(labels: Labels, there: int, split_origin: str) -> str:
    """What gave the labels and the split, in one line."""
    listed = labels.listed if labels.listed is not None else len(labels.rows)
    facts = [f"labels from {labels.origin}"]
    facts += [f"{there} of {listed} rows found"] if listed else []
    facts += [f"split from {split_origin}"] if split_origin else []
    return "; ".join(facts)


def _unmatched(omitted: pd.DataFrame) -> list[str]:
    """A sentence where rows lack photos and photos rows: perhaps they are the same under other names."""
    first = {reason: omitted.loc[omitted["reason"] == reason, "path"] for reason in ("missing_file", "unlisted")}
    missing, unlisted = first["missing_file"], first["unlisted"]
    if missing.empty or unlisted.empty:
        return []
    return [
        f"{len(missing)} listed photos are not there ('{missing.iloc[0]}') and {len(unlisted)} that are there are not "
        f"listed ('{unlisted.iloc[0]}'); if they are the same, correct the paths"
    ]


def _ordered(rows: pd.DataFrame) -> pd.DataFrame:
    first = ["path", "label", *(name for name in STANDARD if name in rows.columns)]
    columns = [*first, *(name for name in rows.columns if name not in first)]
    return sorted_by(rows[columns].astype(str), "path")


def _with_the_rest(table: pd.DataFrame, omitted: pd.DataFrame, found: Found, origin: Path) -> pd.DataFrame:
    """The omitted photos and whatever else lies below the root."""
    without_box = [split_name(name)[0] for name in omitted["path"]]
    alien = {other.path: other for other in found.others}
    listed = np.zeros(len(found.photos), dtype=bool)  # a set of all paths would be most of the memory of reading them
    for path in chain(Texts.of(table["path"]), without_box):
        alien.pop(path, None)
        at = bisect_left(found.photos, path)
        if found.photos[at : at + 1] == [path]:
            listed[at] = True
    rest = list(alien.values())
    unlisted = (found.photos[at] for at in np.flatnonzero(~listed))
    rest += [Refused(path, "unlisted", f"{origin.name} has no row for it") for path in unlisted]
    others = pd.DataFrame(rest, columns=["path", "reason", "detail"]).assign(label="")
    omitted = pd.concat([omitted, others], ignore_index=True)[["path", "label", "reason", "detail"]]
    return omitted.astype(str).sort_values(["path", "reason"], ignore_index=True)
