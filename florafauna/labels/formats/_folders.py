"""Folder names as labels.

Told by the folders alone: `label/**`, `{train,val,test}/label/**`, and `site/label/**` where the folders are named like
sites (site_03). What the names do not tell is asked for: `north/deer` may be a site and a label or the reverse, and a
wrong guess would train a classifier of cameras.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.split_names import SPLIT_OF, split_of
from florafauna.labels._words import some
from florafauna.labels.labels import WRAPPERS, Labels
from florafauna.photos.archives import ARCHIVE

# The position of the label and of the site among the folders of a photo.
LAYOUTS: dict[str, tuple[int, int | None]] = {"folder": (0, None), "site/label": (1, 0), "label/site": (0, 1)}

# Named like a site: a word for it with or without a suffix, or a shorter word with a number or one or two letters.
SITE = re.compile(
    r"(site|station|camera|location|deployment)s?([ _.-].*|\d.*|(?-i:[A-Z]{0,2}))"
    r"|(cam|ct|loc|plot|transect|trap|point|grid)s?([ _.-]*\d.*|[ _.-]+[a-z]{1,2}|(?-i:[A-Z]{0,2}))",
    re.IGNORECASE,
)
# What cameras call folders of photos (100MEDIA, DCIM), and people (part_2)
CARD = re.compile(r"\d{3}[a-z_]{3,5}\d*|dcim|(part|batch|session|visit|set)[ _.-]*\d+", re.IGNORECASE)
# Numbers and dates may be labels; below other folders they are rather not.
NUMBER = re.compile(r"[\d ._-]+")

Folders = tuple[str, ...]


def read(photos: Sequence[str], root: Path, layout: str | None = None) -> tuple[str, Labels]:
    """The layout, one of `LAYOUTS` (given, or recognised by the names), and the label of each photo by its folders.

    The site becomes `location`. With train, val and test as top folders, `split` is given; without a test folder val is
    the test set, as in archives that call their held-out part so. `UserError`: no folders, an ambiguous layout.
    """
    folders = _of_photos(photos, root.is_file())
    splits: list[str] = []
    tops = ""
    if layout in (None, "folder") and _are_splits(folders):
        splits, tops = [split_of(parts[0]) for parts in folders], _tops(folders)
        folders = _without_wrappers([parts[1:] for parts in folders], False)
    if not any(folders):
        below = f"only in the folders of a split ({tops})" if tops else "not in a label folder"
        raise UserError(
            f"data.root: the photos of {root} are {below}, for example {photos[0]}; "
            "move them into one folder a label, or name a table in data.labels."
        )
    chosen = layout or _told_by_names(folders, root)
    label, site = LAYOUTS[chosen]
    rows = pd.DataFrame({"path": list(photos), "label": [_at(parts, label) for parts in folders]}, dtype=str)
    if layout is None:
        _refuse_sites_and_cards(rows["label"], root)
    rows["_detail"] = ""
    rows.loc[rows["label"] == "", "_detail"] = f"it is not in a label folder (layout {chosen})"
    if site is not None:
        rows["location"] = [_at(parts, site) for parts in folders]
    names = sorted(set(rows["label"]) - {""})
    labels = Labels(rows, origin=f"the names of {len(names)} folders ({some(names)})", listed=0)
    if len(set(splits)) < 2:
        return chosen, labels
    if "test" not in splits:
        splits = ["test" if split == "val" else split for split in splits]
    return chosen, replace(labels, rows=rows.assign(split=splits), split_origin=f"the folders {tops}")


def splits_of_photos(photos: Sequence[str]) -> tuple[list[str], str]:
    """The split of each photo by the folders that all lie in, and these in words; [] and "" where they give none."""
    folders = _of_photos(photos, archive=False)
    if not folders or not _are_splits(folders):
        return [], ""
    splits = [split_of(parts[0]) for parts in folders]
    return (splits, f"the folders {_tops(folders)}") if len(set(splits)) > 1 else ([], "")


def _of_photos(photos: Sequence[str], archive: bool) -> list[Folders]:
    inside = lru_cache(maxsize=None)(_folders)  # few folders hold many photos
    return _without_wrappers([inside(posixpath.dirname(path)) for path in photos], archive)


def _tops(folders: list[Folders]) -> str:
    """The top folders, train before val before test."""
    tops = {parts[0] for parts in folders if parts}
    return ", ".join(sorted(tops, key=lambda top: (list(SPLIT_OF).index(top.strip().lower()), top)))


def _refuse_sites_and_cards(labels: pd.Series, root: Path) -> None:
    """A classifier of cameras or of memory cards would be trained without a word."""
    names = sorted(set(labels) - {""})
    if names and all(SITE.fullmatch(name) or CARD.fullmatch(name) for name in names):
        raise UserError(
            f"data.root: the folders of {root} are named like cameras, sites or memory cards ({some(names)}), which "
            "are not labels; name a table in data.labels, or set data.format to site/label where the labels are "
            "folders below them, to folder where they are labels all the same."
        )


def _folders(path: str) -> Folders:
    """The folders of a path. An archive is not one, unless photos lie in it without folders: then its name is."""
    parts = path.split("/") if path else []
    kept = [part for part in parts if not ARCHIVE.fullmatch(part)]
    if parts and len(kept) < len(parts) and ARCHIVE.fullmatch(parts[-1]):
        kept.append(parts[-1][: parts[-1].index(".", 1)])
    return tuple(kept)


def _without_wrappers(folders: list[Folders], archive: bool) -> list[Folders]:
    """The folders but for those at the top that all photos share and that only wrap the layout."""
    while folders and folders[0]:
        top = folders[0][0]
        if any(parts[:1] != (top,) for parts in folders):
            return folders
        inner = [parts[1:] for parts in folders]
        wraps = archive or top.lower() in WRAPPERS or (split_of(top) == "" and _are_splits(inner))
        if not wraps or not (all(inner) or top.lower() in WRAPPERS):
            return folders
        folders = inner
    return folders


def _are_splits(folders: list[Folders]) -> bool:
    """Whether the top folders are named as those of a split, and are not labels."""
    tops = {parts[0] if parts else "" for parts in folders}
    several = len({split_of(top) for top in tops}) > 1
    return all(map(split_of, tops)) and (several or all(len(parts) > 1 for parts in folders))


def _at(parts: Folders, position: int) -> str:
    return parts[position] if position < len(parts) else ""


def _told_by_names(folders: list[Folders], root: Path) -> str:
    """The layout that the folder names tell.

    Sites and labels cross: the same second folder lies in several top folders. Where two or more do, names decide which
    are the sites; where they do not either, the user has to.
    """
    tops = {parts[:1] for parts in folders}
    if any(len(parts) < 2 for parts in folders):
        return "folder"
    pairs = {parts[:2] for parts in folders}
    tops_are_sites = all(SITE.fullmatch(top) for top, _ in pairs)
    seconds_are_sites = all(SITE.fullmatch(second) for _, second in pairs)
    if tops_are_sites and not seconds_are_sites:
        return "site/label"
    if len(tops) < 2:
        return "folder"
    if seconds_are_sites and not tops_are_sites:
        return "label/site"
    counts = Counter(second for _, second in pairs if not (NUMBER.fullmatch(second) or CARD.fullmatch(second)))
    crossing = sorted(second for second, count in counts.items() if count > 1)
    if len(crossing) > 1:
        top = min(top for top, second in pairs if second == crossing[0])
        raise UserError(
            f"data.root: {root} has {top}/{crossing[0]} and others that repeat in several folders, so it is not clear "
            "which folder is the label; set data.format to site/label, label/site, or folder (the top folder alone)."
        )
    return "folder"
