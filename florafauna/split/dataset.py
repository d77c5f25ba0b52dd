"""Labelled photos → the manifest, the quarantine and the counts: everything the split stage writes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from florafauna.audit.audit import Audit, audit
from florafauna.audit.duplicates import cluster
from florafauna.base.errors import UserError
from florafauna.base.files import atomic_path, write_json
from florafauna.base.tables import parts_of, rows_where, sorted_by, spilled
from florafauna.base.texts import Texts
from florafauna.labels.columns import without_unknown
from florafauna.labels.detections import read_detections
from florafauna.labels.read import Photos, read_photos
from florafauna.labels.taxonomy import RANKS
from florafauna.photos.crops import FRAGMENT, content_of, name_of, split_name
from florafauna.photos.kinds import Reason
from florafauna.photos.settings import WHOLE_PHOTOS, BoxParams, DataParams
from florafauna.photos.sources import open_source
from florafauna.split._assign import assert_apart, assign, without_leaks, without_untrained
from florafauna.split._bursts import bursts
from florafauna.split._crops import placed, rectangles, seen
from florafauna.split._examples import write_examples
from florafauna.split._facts import facts_of_dataset, facts_of_photos
from florafauna.split._grouping import cluster_names, join
from florafauna.split._rare import without_rare
from florafauna.split._suspects import label_conflicts
from florafauna.split.corrections import correct
from florafauna.split.kept_places import KeptPlaces, read_places
from florafauna.split.settings import SplitParams

COLUMNS = ["path", "label", "target", "split", "held_out", "group", "cluster", "sha256", "width", "height", "corrected"]
OF_BOXES = ["box", "crop", "boxes"]  # where there are any
ALSO_KEPT = [*OF_BOXES, *RANKS, "location", "sequence", "datetime"]
ROWS_AT_ONCE = 10_000  # of a table that is written: pandas makes objects of them
LINE_BREAK = "[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]"  # all at which a reader may end a line
FACTS = ["sha256", "pixels", "width", "height", "flat", "taken", "extension_matches"]  # of the audit, that are kept
RESERVED = ["target", "held_out", "cluster", "confirmed", "corrected", "picture", "content", "key", *OF_BOXES, *FACTS]


@dataclass(frozen=True)
class Dataset:
    """What became of every file, or box: in `manifest` (COLUMNS, by name) or in `quarantine` (path, label, reason,
    detail), where a box is under its `crops.name_of`."""

    manifest: pd.DataFrame
    quarantine: pd.DataFrame
    facts: dict[str, Any]
    notes: tuple[str, ...]
    root: Path
    places: KeptPlaces

    def write(self, manifest: Path, quarantine: Path, examples: Path, metrics: Path, places: Path) -> None:
        """Write the five files, each whole or not at all; print what the reader of the log should know."""
        for note in self.notes:
            print(f"split: {note}", flush=True)
        nameless = self.facts["suspects"]["look_like_none"]
        if nameless:
            print(f"split: labels that look like none are classes: {', '.join(nameless)}", flush=True)
        mixed = self.facts["suspects"]["near_duplicates_with_other_labels"]
        write_examples(examples, open_source(self.root), _named(self.manifest), self.quarantine, mixed)
        for path, table in ((manifest, self.manifest), (quarantine, self.quarantine)):
            with atomic_path(path) as temporary:
                table.to_csv(temporary, index=False, lineterminator="\n", chunksize=ROWS_AT_ONCE)
        write_json(metrics, self.facts)
        self.places.write(places)


@dataclass(frozen=True)
class Examined:
    """Photos read and audited, before any is split.

    `table` has the usable photos with their facts, `cluster`, `group` and `key`, those of boxes under their
    `crops.name_of`; `quarantine` the others; `unusable` those of the quarantine that cannot be read, of `listed`. The
    manifest is to have `kept_columns`, where there are such.
    """

    data: DataParams
    format: str
    table: pd.DataFrame
    quarantine: pd.DataFrame
    unusable: pd.DataFrame
    listed: int
    notes: tuple[str, ...]
    kept_columns: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """What metrics/data.json says that does not depend on a split."""
        return facts_of_photos(self.format, self.table, self.quarantine, self.table["label"])


def prepare(
    data: DataParams,
    split: SplitParams,
    corrections: Path,
    places: Path | None = None,
    cache: Path | None = None,
    workers: int | None = None,
    boxes: BoxParams = WHOLE_PHOTOS,
    by: str | None = None,
) -> Dataset:
    """Read, audit, group and split the photos that `data` names.

    `corrections` is a table (path, label) whose labels win over the source's and are no longer suspected; the label
    `remove` (or none) takes the photo out. `places` is the file with the places of the last run, which need not exist.
    `cache` is where the audit remembers. `boxes` says whether crops are shown, and of what; `by` is a column that the
    manifest is to keep. Raises `UserError` for data that cannot be split.

    >>> data = DataParams(root="data/raw", labels="data/raw")  # doctest: +SKIP
    >>> prepare(data, SplitParams(), Path("data/corrections.csv")).manifest["split"].value_counts()  # doctest: +SKIP
    """
    kept = read_places(places) if places is not None else None
    photos = read_with_boxes(data, boxes)
    photos = replace(photos, table=spilled(partial(parts_of, photos.table), cache))
    return split_photos(examine_photos(photos, data, split, corrections, cache, workers, boxes, by), split, kept)


def read_with_boxes(data: DataParams, boxes: BoxParams) -> Photos:
    """The photos that `data` names, and their boxes where these are wanted."""
    root, labels = Path(data.root), Path(data.labels)
    detections = None
    if data.boxes is not None and data.boxes != data.labels:
        file = Path(data.boxes).absolute()
        if not any(file.is_relative_to(watched.absolute()) for watched in (root, labels)):
            raise UserError(
                f"data.boxes: {data.boxes} lies outside {root} and {labels}, so that DVC would not see it change; "
                f"move it into {root if root.is_dir() else labels}."
            )
        detections = read_detections(file)
    wanted = boxes if boxes.use == "crop" or data.boxes is not None else None
    return read_photos(root, labels, data.format, data.label, wanted, detections)


def examine_photos(
    photos: Photos,
    data: DataParams,
    split: SplitParams,
    corrections: Path | None,
    cache: Path | None = None,
    workers: int | None = None,
    boxes: BoxParams = WHOLE_PHOTOS,
    by: str | None = None,
) -> Examined:
    """Correct, audit and group photos; the arguments are those of `prepare`, which also says more of them.

    Raises `UserError` where a setting names a column that the photos do not have: before the audit, which may take
    long.
    """
    _require_columns(photos.table, data, split, by)
    own = photos.table.columns.intersection(OF_BOXES)
    table, out = photos.table.drop(columns=own).assign(confirmed=False, corrected=""), photos.omitted
    if corrections is not None:
        table, out = correct(table, out, corrections)
    kept_columns = tuple(dict.fromkeys([*ALSO_KEPT, *([by] if by else [])]))
    table, line_notes = _on_one_line(table, ["label", *kept_columns, *data.groups])
    table, unknown_notes = without_unknown(table, data.groups)
    source = open_source(Path(data.root))
    origin = str(Path(data.root).absolute())
    paths = table["path"].drop_duplicates() if "_box" in table.columns else table["path"]
    found = audit(source, Texts.of(paths), origin, cache, workers)
    if "_box" in table.columns:
        table, no_boxes = placed(table, found, boxes)
        out = pd.concat([out, no_boxes])
        if corrections is not None:
            table, out = correct(table, out, corrections, of_boxes=True)
        look = partial(audit, source, origin=f"{origin}{FRAGMENT}", cache=cache, workers=workers)
        found = seen(table, found, paths, look)
    listed = len(table)
    table, unreadable, conflicts = _readable(table, found, cache)
    if "_boxes" in table.columns:
        table = table.assign(boxes=rectangles(table["_boxes"], table["width"], table["height"]))
    missing = out["reason"].isin([str(reason) for reason in Reason])
    table = table.assign(_burst=bursts(table, data.groups, data.burst))
    groups = join(table, data.groups, table["cluster"], table["_burst"])
    table = table.assign(group=groups["group"], key=groups["key"])
    return Examined(
        data,
        photos.format,
        spilled(partial(parts_of, table), cache),
        _listed([out, unreadable, conflicts]),
        pd.concat([unreadable, out[missing]]),
        listed + int(missing.sum()),
        (*photos.notes, *line_notes, *unknown_notes),
        kept_columns,
    )


def split_photos(examined: Examined, split: SplitParams, kept: KeptPlaces | None = None) -> Dataset:
    """Split examined photos; those with a `kept` place keep it.

    `UserError` for too many unreadable ones and, if `data.rare` says so, for classes that are too small.
    """
    _refuse_many(examined.unusable, examined.listed, examined.data)
    if examined.table.empty:
        raise UserError(f"no photo below {examined.data.root} can be used; `florafauna check` lists the reasons.")
    labels_as_read = examined.table["label"]
    frequent = without_rare(examined.table, examined.data, split)
    assigned = assign(frequent.table, split, examined.data.groups, kept)
    table, leaks = without_leaks(assigned.table)
    table, untrained = without_untrained(table)
    assert_apart(table)
    quarantine = _listed([examined.quarantine, frequent.rare, leaks, untrained])
    targets = {label: number for number, label in enumerate(sorted(table["label"].unique()))}
    table = sorted_by(table.assign(target=table["label"].map(targets)), "path")
    also = [name for name in examined.kept_columns if name in table.columns and name not in COLUMNS]
    notes = (*examined.notes, *frequent.notes, *assigned.notes, *_unused_columns(table, examined.data))
    facts = facts_of_dataset(examined.format, table, quarantine, assigned.waivers, labels_as_read, _leaky_groups(leaks))
    return Dataset(
        _apart(table)[[*COLUMNS, *also]], quarantine, facts, notes, Path(examined.data.root), assigned.places
    )


def _apart(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the path of a photo where the name of a box was."""
    if "box" not in table.columns:
        return table
    return table.assign(path=pd.Series([split_name(name)[0] for name in table["path"]], index=table.index, dtype=str))


def _named(manifest: pd.DataFrame) -> pd.DataFrame:
    """The inverse of `_apart`."""
    if "box" not in manifest.columns:
        return manifest
    names = [name_of(path, box) for path, box in zip(manifest["path"], manifest["box"], strict=True)]
    return manifest.assign(path=pd.Series(names, index=manifest.index, dtype=str))


def _on_one_line(table: pd.DataFrame, names: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Line breaks in columns made spaces, and a note on that: pandas does not quote all of them in a CSV."""
    breaks = {name: table[name].str.contains(LINE_BREAK) for name in table.columns.intersection(names)}
    broken = {name: found for name, found in breaks.items() if found.any()}
    if not broken:
        return table, []
    plain = {name: table[name].mask(found, table[name].str.split().str.join(" ")) for name, found in broken.items()}
    count = sum(int(found.sum()) for found in broken.values())
    return table.assign(**plain), [f"{count} values of {', '.join(broken)} hold line breaks, which were made spaces"]


def _listed(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Quarantined photos in one order."""
    quarantine = pd.concat(parts)[["path", "label", "reason", "detail"]]
    return quarantine.sort_values(["path", "reason"], ignore_index=True)


def _require_columns(table: pd.DataFrame, data: DataParams, split: SplitParams, by: str | None) -> None:
    wanted = {f"data.groups: '{name}'": name for name in data.groups}
    if by is not None:
        wanted["evaluate.by"] = by
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


def _readable(
    table: pd.DataFrame, found: Audit, folder: Path | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The photos that decode, with FACTS, picture and cluster; those that do not; and label conflicts.

    Nobody can tell which label of a picture with two is right: both files are taken out. `folder` is for temporary
    files.
    """
    bad = (found.table["reason"] != "").to_numpy()
    unreadable = table.loc[bad, ["path", "label"]].assign(
        reason=found.table.loc[bad, "reason"].to_numpy(), detail=found.table.loc[bad, "detail"].to_numpy()
    )
    kept = spilled(partial(_with_facts, table, found.table, ~bad), folder)
    clusters = cluster(kept["picture"], found.hashes, found.thumbnails, kept["flat"], np.flatnonzero(~bad))
    detail = label_conflicts(kept)
    clash = (detail != "").to_numpy()
    conflicts = kept.loc[clash, ["path", "label"]].assign(reason="label_conflict", detail=detail[clash])
    kept, clusters = rows_where(kept, ~clash).reset_index(drop=True), clusters[~clash]
    return kept.assign(cluster=cluster_names(clusters, kept["content"])), unreadable, conflicts


def _with_facts(table: pd.DataFrame, facts: pd.DataFrame, chosen: npt.NDArray[np.bool_]) -> Iterator[pd.DataFrame]:
    """The `chosen` photos, in parts, with FACTS, content and picture.

    `picture` is equal for files that certainly show the same: their pixels are equal or, since all black frames are
    alike, their bytes where they are flat.
    """
    own = table.drop(columns=set(FACTS) & set(table.columns))
    for photos, known in zip(parts_of(own, chosen), parts_of(facts[FACTS], chosen), strict=True):
        part = photos.reset_index(drop=True).join(known.reset_index(drop=True))
        part = part.assign(content=_contents(part))
        yield part.assign(picture=part["pixels"].where(~part["flat"], part["content"]))


def _contents(table: pd.DataFrame) -> pd.Series:
    """What tells the content of what is shown: the file's SHA-256, and that of a crop."""
    if "crop" not in table.columns:
        return table["sha256"]
    contents = [content_of(sha256, crop) for sha256, crop in zip(table["sha256"], table["crop"], strict=True)]
    return pd.Series(contents, index=table.index, dtype=str)


def _refuse_many(unreadable: pd.DataFrame, listed: int, data: DataParams) -> None:
    if listed and len(unreadable) > data.max_unreadable * listed:
        counts = ", ".join(f"{count} {reason}" for reason, count in unreadable["reason"].value_counts().items())
        first = unreadable.sort_values("path").iloc[0]
        raise UserError(
            f"{len(unreadable)} of {listed} photos below {data.root} cannot be used ({counts}; {first['path']}: "
            f"{first['detail']}), more than data.max_unreadable ({data.max_unreadable:.0%}) allows; "
            "repair or remove them, or raise it."
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
