"""Folder names as labels.

Told by the folders alone: `label/**`, `{train,val,test}/label/**`, and `site/label/**` where the folders are named like
sites (site_03). What the names do not tell is asked for: `north/deer` may be a site and a label or the reverse, and a
wrong guess would train a classifier of cameras.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.labels._assemble import SPLIT_NAMES
from florafauna.labels.labels import Labels
from florafauna.photos.archives import ARCHIVE

# The position of the label and of the site among the folders of a photo.
LAYOUTS: dict[str, tuple[int, int | None]] = {"folder": (0, None), "site/label": (1, 0), "label/site": (0, 1)}

# Named like a site: a word for it with or without a suffix, or a shorter word with a number or one or two letters.
SITE = re.compile(
    r"(site|station|camera|location|deployment)s?([ _.-].*|\d.*|[a-z]{0,2})"
    r"|(cam|ct|loc|plot|transect|trap|point|grid)s?[ _.-]*(\d.*|[a-z]{0,2})",
    re.IGNORECASE,
)
# Neither site nor label: numbers, dates and what cameras (100MEDIA, DCIM) and people (part_2) call folders of photos.
NEUTRAL = re.compile(r"[\d ._-]+|\d{3}[a-z_]{3,5}\d*|dcim|(part|batch|session|visit|set)[ _.-]*\d+", re.IGNORECASE)
# Folders around a layout that are no part of it. An archive may be packed with one of any name.
WRAPPERS = ("images", "photos", "pictures", "img", "data", "dataset", "raw", "media")

Folders = tuple[str, ...]


def read(photos: Sequence[str], root: Path, layout: str | None = None) -> tuple[str, Labels]:
    """The layout, one of `LAYOUTS` (given, or recognised by the names), and the label of each photo by its folders.

    The site becomes `location`. With train, val and test as top folders, `split` is given; without a test folder val is
    the test set, as in archives that call their held-out part so. `UserError`: no folders, an ambiguous layout.
    """
    inside = lru_cache(maxsize=None)(_folders)  # few folders hold many photos
    folders = _without_wrappers([inside(posixpath.dirname(path)) for path in photos], root.is_file())
    splits: list[str] = []
    if layout in (None, "folder") and _are_splits(folders):
        splits = [SPLIT_NAMES[parts[0].lower()] for parts in folders]
        folders = [parts[1:] for parts in folders]
    if not any(folders):
        raise UserError(
            f"data.root: the photos of {root} are not in a label folder, for example {photos[0]}; "
            "move them into one folder a label, or name a table in data.labels."
        )
    layout = layout or _told_by_names(folders, root)
    label, site = LAYOUTS[layout]
    rows = pd.DataFrame({"path": list(photos), "label": [_at(parts, label) for parts in folders]}, dtype=str)
    rows["_detail"] = f"it is not in a label folder (layout {layout})"
    if site is not None:
        rows["location"] = [_at(parts, site) for parts in folders]
    if len(set(splits)) > 1:
        rows["split"] = splits
        if "test" not in splits:
            rows["split"] = rows["split"].replace("val", "test")
    return layout, Labels(rows)


def _folders(path: str) -> Folders:
    """The folders of a path. An archive is not one, unless photos lie in it without folders: then its name is."""
    parts = path.split("/") if path else []
    kept = [part for part in parts if not ARCHIVE.fullmatch(part)]
    if parts and len(kept) < len(parts) and ARCHIVE.fullmatch(parts[-1]):
        kept.append(parts[-1][: parts[-1].index(".", 1)])
    return tuple(kept)


def _without_wrappers(folders: list[Folders], archive: bool) -> list[Folders]:
    """The folders but for those at the top that all photos share and that only wrap the layout."""
    while True:
        top = folders[0][:1]
        if not top or any(parts[:1] != top or len(parts) < 2 for parts in folders):
            return folders
        inner = [parts[1:] for parts in folders]
        if not (archive or top[0].lower() in WRAPPERS or _are_splits(inner)):
            return folders
        folders = inner


def _are_splits(folders: list[Folders]) -> bool:
    return all(len(parts) > 1 and parts[0].lower() in SPLIT_NAMES for parts in folders)


def _at(parts: Folders, position: int) -> str:
    return parts[position] if position < len(parts) else ""


def _told_by_names(folders: list[Folders], root: Path) -> str:
    """The layout that the folder names tell.

    Sites and labels cross: the same second folder lies in several top folders. Where two or more do, names decide which
    are the sites; where they do not either, the user has to.
    """
    pairs = {parts[:2] for parts in folders if len(parts) > 1}
    if len({parts[:1] for parts in folders}) < 2 or any(len(parts) < 2 for parts in folders):
        return "folder"
    counts = Counter(second for _, second in pairs if not NEUTRAL.fullmatch(second))
    crossing = sorted(second for second, count in counts.items() if count > 1)
    tops_are_sites = all(SITE.fullmatch(top) for top, _ in pairs)
    seconds_are_sites = all(SITE.fullmatch(second) for _, second in pairs)
    if tops_are_sites and not seconds_are_sites:
        return "site/label"
    if seconds_are_sites and not tops_are_sites:
        return "label/site"
    if len(crossing) > 1:
        top = min(top for top, second in pairs if second == crossing[0])
        raise UserError(
            f"data.root: {root} has {top}/{crossing[0]} and others that repeat in several folders, so it is not clear "
            "which folder is the label; set data.format to site/label, label/site, or folder (the top folder alone)."
        )
    return "folder"
