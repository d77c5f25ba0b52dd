"""Labelled photos → the manifest, the quarantine and the counts: everything the split stage writes."""

from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from florafauna.audit import Audit, audit
from florafauna.duplicates import cluster
from florafauna.errors import UserError
from florafauna.examine import Reason
from florafauna.files import write_atomic, write_json
from florafauna.grouping import cluster_names, join
from florafauna.params import DataParams, SplitParams
from florafauna.photos import Photos, read_photos
from florafauna.photos.taxonomy import RANKS
from florafauna.sources import open_source
from florafauna.splits import SPLITS, assign, crossing, shares
from florafauna.suspects import canonical, mixed_clusters, seen_once, variants

FEWEST_PHOTOS = 3  # of a class: one to learn from, one to choose by, one to be tested on
COLUMNS = ["path", "label", "target", "split", "held_out", "group", "cluster", "sha256", "width", "height"]
ALSO_KEPT = [*RANKS, "location", "datetime"]
RESERVED = ["target", "held_out", "cluster", "sha256", "width", "height", "key"]
FACTS = ("photos", "classes", "imbalance", "splits", "shares", "groups", "duplicates", "quarantine", "suspects",
         "waivers", "leaks", "format", "per_class")  # fmt: skip
NAMED = 5  # examples in a sentence or a list of names


@dataclass(frozen=True)
class Dataset:
    """What became of every file: in `manifest` (COLUMNS, by path) or in `quarantine` (path, label, reason, detail)."""

    manifest: pd.DataFrame
    quarantine: pd.DataFrame
    facts: dict[str, Any]
    notes: tuple[str, ...]

    def write(self, manifest: Path, quarantine: Path, metrics: Path) -> None:
        """Write the three files, each whole or not at all."""
        write_atomic(manifest, _csv(self.manifest))
        write_atomic(quarantine, _csv(self.quarantine))
        write_json(metrics, self.facts)


@dataclass(frozen=True)
class Examined:
    """Photos read and audited, before any is split.

    `table` has the usable photos with their facts, `cluster`, `group` and `key`; `quarantine` the others; `unusable`
    those of the quarantine that cannot be read, of `listed` photos.
    """

    data: DataParams
    format: str
    table: pd.DataFrame
    quarantine: pd.DataFrame
    unusable: pd.DataFrame
    listed: int
    notes: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """What metrics/data.json says that does not depend on a split."""
        return _facts_of_photos(self.format, self.table, self.quarantine, self.table["label"])


def prepare(
    data: DataParams, split: SplitParams, corrections: Path, cache: Path | None = None, workers: int | None = None
) -> Dataset:
    """Read, audit, group and split the photos that `data` names.

    `corrections` is a table (path, label) whose labels win over the source's; an empty label takes the photo out.
    `cache` is where the audit remembers. Raises `UserError` for data that cannot be split.
    """
    photos = read_photos(Path(data.root), Path(data.labels), data.format, data.label)
    return split_photos(examine_photos(photos, data, split, corrections, cache, workers), split)


def examine_photos(
    photos: Photos,
    data: DataParams,
    split: SplitParams,
    corrections: Path | None,
    cache: Path | None = None,
    workers: int | None = None,
) -> Examined:
    """Correct, audit and group photos; the arguments are those of `prepare`, which also says more of them.

    Raises `UserError` where a setting names a column that the photos do not have: before the audit, which may take
    long.
    """
    table, out = _correct(photos, corrections) if corrections is not None else (photos.table, photos.omitted)
    _require_columns(table, data, split)
    source = open_source(Path(data.root))
    found = audit(source, list(table["path"]), str(Path(data.root).absolute()), cache, workers)
    listed = len(table)
    table, unreadable = _readable(table, found)
    missing = out["reason"].isin([str(reason) for reason in Reason])
    table, conflicts = _without_conflicts(table)
    groups = join(table, data.groups, table["cluster"])
    return Examined(
        data,
        photos.format,
        table.assign(group=groups["group"], key=groups["key"]),
        _listed([out, unreadable, conflicts]),
        pd.concat([unreadable, out[missing]]),
        listed + int(missing.sum()),
        photos.notes,
    )


def split_photos(examined: Examined, split: SplitParams) -> Dataset:
    """Split examined photos; `UserError` for too many unreadable ones and for classes that are too small."""
    _refuse_many(examined.unusable, examined.listed, examined.data)
    if examined.table.empty:
        raise UserError(f"no photo below {examined.data.root} can be used; `florafauna check` lists the reasons.")
    labels_as_read = examined.table["label"]
    table, waivers, notes = _split(examined.table, split)
    table, leaks = _without_leaks(table)
    table, untrained = _without_untrained(table)
    _assert_apart(table)
    quarantine = _listed([examined.quarantine, leaks, untrained])
    targets = {label: number for number, label in enumerate(sorted(table["label"].unique()))}
    table = table.assign(target=table["label"].map(targets)).sort_values("path", ignore_index=True)
    kept = [name for name in ALSO_KEPT if name in table.columns]
    notes = (*examined.notes, *notes, *_unused_columns(table, examined.data))
    facts = _facts(examined.format, table, quarantine, waivers, labels_as_read, _leaky_groups(leaks))
    return Dataset(table[[*COLUMNS, *kept]], quarantine, facts, notes)


def _listed(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Quarantined photos in one order."""
    quarantine = pd.concat(parts)[["path", "label", "reason", "detail"]]
    return quarantine.sort_values(["path", "reason"], ignore_index=True)


def _correct(photos: Photos, corrections: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table with the labels of `corrections`, and the omitted photos with those that it takes out."""
    try:
        fixes = pd.read_csv(corrections, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{corrections} is missing; make it with the single line `path,label`.") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{corrections} cannot be read as a CSV of path and label ({error}).") from None
    if list(fixes.columns[:2]) != ["path", "label"]:
        raise UserError(f"{corrections} must begin with the columns path,label, not {','.join(fixes.columns)}.")
    twice = fixes.loc[fixes["path"].duplicated(), "path"]
    if len(twice):
        raise UserError(f"{corrections} has several rows for {twice.iloc[0]}; leave one.")
    unknown = fixes.loc[~fixes["path"].isin(pd.concat([photos.table["path"], photos.omitted["path"]])), "path"]
    if len(unknown):
        raise UserError(f"{corrections} names {unknown.iloc[0]}, which is not among the photos; remove that row.")
    labels = photos.table["path"].map(fixes.set_index("path")["label"])
    table = photos.table.assign(label=labels.where(labels.notna(), photos.table["label"]))
    removed = table["label"] == ""
    gone = photos.table.loc[removed, ["path", "label"]].assign(reason="removed", detail=f"taken out by {corrections}")
    return table[~removed].reset_index(drop=True), pd.concat([photos.omitted, gone])


def _require_columns(table: pd.DataFrame, data: DataParams, split: SplitParams) -> None:
    wanted = {f"data.groups: '{name}'": name for name in data.groups}
    if split.after is not None:
        wanted["split.after"] = "datetime"
    if split.held_out_locations:
        wanted["split.held_out_locations"] = "location"
    for setting, name in wanted.items():
        if name in RESERVED:
            raise UserError(f"{setting}: the manifest has a column '{name}' of its own; rename yours in {data.labels}.")
        if name not in table.columns:
            known = ", ".join(column for column in table.columns if column not in ("path", "label"))
            raise UserError(
                f"{setting} needs a column '{name}' and {data.labels} has none; "
                + (f"its columns are {known}." if known else "it has no columns besides path and label.")
            )


def _readable(table: pd.DataFrame, found: Audit) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The photos that decode, with sha256, width, height and cluster; and the others."""
    bad = (found.table["reason"] != "").to_numpy()
    unreadable = table.loc[bad, ["path", "label"]].assign(
        reason=found.table.loc[bad, "reason"].to_numpy(), detail=found.table.loc[bad, "detail"].to_numpy()
    )
    facts = found.table.loc[~bad, ["sha256", "width", "height", "flat", "extension_matches"]].reset_index(drop=True)
    kept = table[~bad].drop(columns=set(facts.columns) & set(table.columns)).reset_index(drop=True).join(facts)
    numbers = cluster(facts["sha256"].tolist(), found.hashes[~bad], found.thumbnails[~bad], facts["flat"].tolist())
    return kept.assign(cluster=cluster_names(numbers, kept["sha256"])), unreadable


def _refuse_many(unreadable: pd.DataFrame, listed: int, data: DataParams) -> None:
    if listed and len(unreadable) > data.max_unreadable * listed:
        counts = ", ".join(f"{count} {reason}" for reason, count in unreadable["reason"].value_counts().items())
        first = unreadable.sort_values("path").iloc[0]
        raise UserError(
            f"{len(unreadable)} of {listed} photos below {data.root} cannot be used ({counts}; {first['path']}: "
            f"{first['detail']}), more than data.max_unreadable ({data.max_unreadable:.0%}) allows; "
            "repair or remove them, or raise it."
        )


def _without_conflicts(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Photos with equal bytes and different labels are taken out: nobody can tell which label is right."""
    several = table.groupby("sha256")["label"].transform("nunique") > 1
    rows = table[several]
    named = {
        sha256: " and ".join(f"{path} ({label})" for path, label in zip(same["path"], same["label"], strict=True))
        for sha256, same in rows.groupby("sha256")
    }
    conflicts = rows[["path", "label"]].assign(
        reason="label_conflict", detail="the same file under several labels: " + rows["sha256"].map(named).astype(str)
    )
    return table[~several].reset_index(drop=True), conflicts


def _split(
    table: pd.DataFrame, params: SplitParams
) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The table with `split` and `held_out`, classes with too few groups, and notes."""
    held_out = _held_out(table, params)
    given, notes = _given(table, params)
    rest = table[(given == "") & (held_out == "")]
    _refuse_small(table[held_out == ""], rest)
    given = given.mask(held_out != "", "test")
    inside = held_out == ""
    split = given.copy()
    if len(rest):
        has_test = bool((given[inside] == "test").any())
        # `keep` the user's own test set as it is: what is left is for train and val
        decided = assign(
            table.loc[inside, "label"],
            table.loc[inside, "key"],
            params.val,
            0.0 if has_test else params.test,
            params.seed,
            given[inside] if (given[inside] != "").any() else None,
        )
        split[inside] = given[inside].where(given[inside] != "", decided.split)
        waivers = decided.waivers
    else:
        waivers = _missing(table.loc[inside, "label"], split[inside])
    return table.assign(split=split, held_out=held_out), waivers, notes


def _held_out(table: pd.DataFrame, params: SplitParams) -> pd.Series:
    """`location` or `time` for photos of the second test set; whole groups, since nothing crosses."""
    held_out = pd.Series("", index=table.index)
    if params.after is not None:
        late = (table["datetime"] != "") & (table["datetime"].str[:10] >= params.after.isoformat())
        held_out = held_out.mask(table["key"].isin(table.loc[late, "key"]), "time")
    if params.held_out_locations:
        unknown = sorted(set(params.held_out_locations) - set(table["location"]))
        if unknown:
            raise UserError(
                f"split.held_out_locations: no photo has the location '{unknown[0]}'; "
                f"locations are {', '.join(sorted(set(table['location']) - {''})[:NAMED])}, …."
            )
        there = table["location"].isin(params.held_out_locations)
        held_out = held_out.mask(table["key"].isin(table.loc[there, "key"]), "location")
    if (held_out != "").all():
        raise UserError(
            "split.after and split.held_out_locations leave no photo to train on: every group has held-out photos; "
            "take the column that joins them out of data.groups."
        )
    return held_out


def _given(table: pd.DataFrame, params: SplitParams) -> tuple[pd.Series, tuple[str, ...]]:
    """The split that the source gives ("" where it gives none), and what was made of it.

    Without a test set val is the test set; without a val set photos are taken out of train for it.
    """
    if "split" not in table.columns or not (table["split"] != "").any():
        return pd.Series("", index=table.index), ()
    given = table["split"]
    if "train" not in set(given) and "" not in set(given):
        raise UserError("the split column has no train photos; name the split of every photo, or remove the column.")
    notes = []
    if "test" not in set(given):
        given = given.replace("val", "test")
        notes.append("the source has no test split: its val is the test set")
    if "val" not in set(given):
        given = given.replace("train", "")
        notes.append(f"the source has no val split: {params.val:.0%} of its train groups are taken for it")
    return given, tuple(notes)


def _refuse_small(table: pd.DataFrame, rest: pd.DataFrame) -> None:
    counts = table["label"].value_counts()
    if len(counts) < 2:
        raise UserError(
            f"all {len(table)} photos have the label '{table['label'].iloc[0]}'; classifying takes two classes."
        )
    small = sorted(label for label in rest["label"].unique() if counts[label] < FEWEST_PHOTOS)
    if small:
        alike = [name for name in counts.index if name != small[0] and canonical(name) == canonical(small[0])]
        spelling = f" (perhaps it is '{alike[0]}')" if alike else ""
        raise UserError(
            f"class '{small[0]}'{spelling} has {counts[small[0]]} usable photo{'s' if counts[small[0]] > 1 else ''} "
            f"and needs {FEWEST_PHOTOS} to be split"
            f"{f', as do {len(small) - 1} more classes' if len(small) > 1 else ''}; add photos, correct the label, or "
            "take it out in data/corrections.csv."
        )


def _missing(labels: pd.Series, split: pd.Series) -> dict[str, tuple[str, ...]]:
    got = split.groupby(labels).agg(set)
    return {
        str(label): tuple(name for name in SPLITS if name in places)
        for label, places in got.items()
        if len(places) < len(SPLITS)
    }


def _without_leaks(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A split that the source gives is kept, but photos of a group that is also tested on do not train."""
    order = table["split"].map({"train": 0, "val": 1, "test": 2})
    leak = order < order.groupby(table["key"]).transform("max")
    leaks = table[leak].assign(
        reason="leak",
        detail=("its split is " + table["split"] + " and its group " + table["key"] + " is also tested on")[leak],
    )
    return table[~leak].reset_index(drop=True), leaks


def _without_untrained(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Photos of classes that no training photo shows (by the source's split or at new sites) cannot be recognised."""
    trained = set(table.loc[table["split"] == "train", "label"])
    alien = ~table["label"].isin(trained)
    gone = table[alien].assign(reason="not_trained", detail="no photo of its class is left to train on")
    return table[~alien].reset_index(drop=True), gone


def _assert_apart(table: pd.DataFrame) -> None:
    for column in ("key", "cluster", "sha256"):
        named = table[table[column] != ""]
        across = crossing(named["split"], named[column])
        if across:
            raise AssertionError(f"{column} {across[0]} lies in several splits")
    empty = [name for name in SPLITS if not ((table["split"] == name) & (table["held_out"] == "")).any()]
    if empty:
        raise UserError(
            f"no photo is left for {' and '.join(empty)}; raise split.val or split.test, "
            "or join fewer photos by data.groups."
        )


def _unused_columns(table: pd.DataFrame, data: DataParams) -> tuple[str, ...]:
    useful = [
        name
        for name in ("individual", "sequence", "occurrence", "location", "observer")
        if name in table.columns and name not in data.groups and (table[name] != "").any()
    ]
    if not useful:
        return ()
    return (f"the source knows {', '.join(useful)}: name in data.groups what must not lie on both sides of the split",)


def _leaky_groups(leaks: pd.DataFrame) -> list[str]:
    return sorted(leaks["key"].unique()) if len(leaks) else []


def _facts(
    form: str,
    table: pd.DataFrame,
    quarantine: pd.DataFrame,
    waivers: dict[str, tuple[str, ...]],
    labels_as_read: pd.Series,
    leaky: list[str],
) -> dict[str, Any]:
    """metrics/data.json. `photos.input` = used + quarantined, in all and by class."""
    of_photos = _facts_of_photos(form, table, quarantine, labels_as_read)
    inside = table[table["held_out"] == ""]
    per_split = pd.crosstab(table["label"], table["split"].where(table["held_out"] == "", "held_out"))
    of_split = {
        "splits": {name: int((inside["split"] == name).sum()) for name in SPLITS}
        | ({"held_out": len(table) - len(inside)} if len(inside) < len(table) else {}),
        "shares": {name: round(share, 4) for name, share in shares(inside["split"]).items()},
        "waivers": {label: list(got) for label, got in sorted(waivers.items())},
        "leaks": leaky,
        "per_class": {
            label: counts
            | {name: int(per_split.loc[label, name]) if label in per_split.index else 0 for name in per_split.columns}
            for label, counts in of_photos["per_class"].items()
        },
    }
    merged = of_photos | of_split
    return {name: merged[name] for name in FACTS}


def _facts_of_photos(
    form: str, table: pd.DataFrame, quarantine: pd.DataFrame, labels_as_read: pd.Series
) -> dict[str, Any]:
    """Those of `_facts` that can be told without a split."""
    out = quarantine[quarantine["label"] != ""]["label"].value_counts()
    counts = table["label"].value_counts()
    classes = sorted(set(counts.index) | set(out.index))
    groups = table.loc[table["group"] != "", "group"]
    clusters = table.loc[table["cluster"] != "", "cluster"]
    return {
        "photos": {"input": len(table) + len(quarantine), "used": len(table), "quarantined": len(quarantine)},
        "classes": int(table["label"].nunique()),
        "imbalance": round(float(counts.max() / counts.min()), 2) if len(counts) else None,
        "groups": {"named": int(groups.nunique()), "photos": len(groups)},
        "duplicates": {
            "clusters": int(clusters.nunique()),
            "photos": len(clusters),
            "exact": int((table.groupby("sha256")["path"].transform("size") > 1).sum()),
        },
        "quarantine": {str(k): v for k, v in sorted(quarantine["reason"].value_counts().items())},
        "suspects": {
            "seen_once": seen_once(labels_as_read),
            "spelling": variants(labels_as_read),
            "near_duplicates_with_other_labels": mixed_clusters(table),
            "extension_is_not_the_format": sorted(table.loc[~table["extension_matches"].astype(bool), "path"]),
        },
        "format": form,
        "per_class": {
            label: {
                "input": int(counts.get(label, 0) + out.get(label, 0)),
                "used": int(counts.get(label, 0)),
                "quarantined": int(out.get(label, 0)),
            }
            for label in classes
        },
    }


def _csv(table: pd.DataFrame) -> str:
    text = StringIO()
    table.to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()
