"""data/places.csv: the split that every photo was drawn into, which photos that are added later leave as it is.

The first line is a comment, JSON of what the places were drawn with; then a CSV of `sha256` (of the photo's bytes, the
first DIGITS digits) and `split`, sorted. The file belongs in git: it is what the next run starts from.
"""

import json
import re
from array import array
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.files import atomic_path
from florafauna.base.split_names import SPLITS
from florafauna.base.texts import Texts
from florafauna.split._stratify import waivers
from florafauna.split.settings import SplitParams

PLACES = Path("data/places.csv")
DIGITS = 16  # 64 bits: two of a million photos share them once in 37 million sets
HEADER = "sha256,split"
FIRST = 3  # the line of the first photo
LINE = re.compile(rf"([0-9a-f]{{{DIGITS}}}),({'|'.join(SPLITS)})")
NAMED = 5  # groups or classes named in a note
Setting = int | float | list[str]


@dataclass(frozen=True)
class KeptPlaces:
    """`drawn_with` has the settings that places depend on, `photos` the digits of SHA-256 as sorted numbers (uint64),
    `split` the index in SPLITS of each (int8): millions of them are held."""

    drawn_with: dict[str, Setting]
    photos: npt.NDArray[np.uint64]
    split: npt.NDArray[np.int8]

    @classmethod
    def of(cls, settings: dict[str, Setting], sha256: pd.Series, split: pd.Series) -> "KeptPlaces":
        """The places of photos."""
        photos, first = np.unique(_numbers(sha256), return_index=True)
        return cls(settings, photos, pd.Index(SPLITS).get_indexer(pd.Index(split.iloc[first])).astype(np.int8))

    def split_of(self, sha256: pd.Series) -> pd.Series:
        """The split of each photo, "" where it has none here."""
        found = np.full(len(sha256), len(SPLITS))
        if len(self.photos):
            numbers = _numbers(sha256)
            at = np.searchsorted(self.photos, numbers).clip(max=len(self.photos) - 1)
            found = np.where(self.photos[at] == numbers, self.split[at], found)
        return pd.Series(pd.array([*SPLITS, ""], dtype="str").take(found), index=sha256.index)

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(f"# {json.dumps(self.drawn_with, ensure_ascii=False)}\n{HEADER}\n")
            for number, split in zip(self.photos, self.split, strict=True):
                file.write(f"{number:0{DIGITS}x},{SPLITS[split]}\n")


def drawn_with(groups: tuple[str, ...], split: SplitParams) -> dict[str, Setting]:
    """The settings that places depend on: where one of them changes, all places are drawn anew."""
    return {"groups": list(groups), "seed": split.seed, "test": split.test, "val": split.val}


def _numbers(sha256: pd.Series) -> npt.NDArray[np.uint64]:
    """The part of each SHA-256 that names a photo in the file."""
    return np.fromiter((int(text[:DIGITS], 16) for text in Texts.of(sha256)), np.uint64, len(sha256))


def match(
    kept: KeptPlaces | None, table: pd.DataFrame, drawn: pd.Series, settings: dict[str, Setting]
) -> tuple[pd.Series, tuple[str, ...]]:
    """The kept split of each photo that is `drawn` ("" where it has none), and notes on those that cannot be kept.

    `table` has sha256, key and, where the source gives it, split; `settings` are those of this run.
    """
    nothing = pd.Series("", index=table.index)
    if kept is None:
        return nothing, ()
    changed = [name for name, value in settings.items() if kept.drawn_with.get(name) != value]
    if changed or kept.drawn_with.keys() != settings.keys():
        what = ", ".join(f"{'data' if name == 'groups' else 'split'}.{name}" for name in changed) or "the settings"
        return nothing, (f"{what} changed since the places in {PLACES} were drawn: all are drawn anew",)
    known = kept.split_of(table["sha256"])
    notes = []
    overruled = (known[~drawn] != "") & (known[~drawn] != table.loc[~drawn].get("split", nothing[~drawn]))
    if overruled.any():
        notes.append(f"{overruled.sum()} photos follow the split that is given or held out, not their earlier place")
    known = known.where(drawn, "")
    several = known[known != ""].groupby(table["key"]).nunique()
    joined = sorted(several.index[several > 1])
    if joined:
        notes.append(
            f"{len(joined)} groups join photos that earlier lay in several splits and go to test before val before "
            f"train ({_some(joined)}); if they are too many, delete {PLACES} to draw all places anew"
        )
    settled = table.loc[drawn, "key"].isin(table.loc[known != "", "key"])
    notes.append(f"{settled.sum()} photos keep the places of earlier groups, {(~settled).sum()} are drawn")
    return known, tuple(notes)


def kept_from_splits(table: pd.DataFrame, split: pd.Series, known: pd.Series) -> tuple[str, ...]:
    """A note on classes that would be in every split if kept places did not bind."""
    if (known == "").all():
        return ()
    groups = table["key"].groupby(table["label"]).nunique()
    lacking = sorted(name for name in waivers(table["label"], split) if groups[name] >= len(SPLITS))
    if not lacking:
        return ()
    return (
        f"{len(lacking)} classes with groups for every split lack one ({_some(lacking)}); earlier places are kept: "
        f"delete {PLACES} to draw all anew",
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def read_places(path: Path) -> KeptPlaces | None:
    """The places in `path`, None where there is no file; `UserError` where it is not what `KeptPlaces.text` writes."""
    photos, split = array("Q"), array("b")
    try:
        with path.open(encoding="utf-8-sig") as file:
            settings = _settings(path, [line.rstrip("\n") for line in islice(file, 2)])
            for number, line in enumerate(file, start=FIRST):
                entry = LINE.fullmatch(line.rstrip("\n"))
                if entry is None:
                    what = f"'{line.rstrip()[:60]}', not {DIGITS} digits of a SHA-256, a comma and a split"
                    raise _bad(path, f"line {number} is {what}")
                photos.append(int(entry[1], 16))
                split.append(SPLITS.index(entry[2]))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(path, f"cannot be read ({error})") from None
    known, first, same = np.unique(np.asarray(photos, np.uint64), return_index=True, return_inverse=True)
    places = np.asarray(split, np.int8)
    differ = np.flatnonzero(places != places[first][same])
    if len(differ):
        row = differ[0]
        digits, place, earlier = f"{photos[row]:0{DIGITS}x}", places[row], places[first[same[row]]]
        raise _bad(
            path, f"line {row + FIRST} puts {digits} into {SPLITS[place]} and an earlier one into {SPLITS[earlier]}"
        )
    return KeptPlaces(settings, known, places[first])


def _settings(path: Path, lines: list[str]) -> dict[str, Setting]:
    if len(lines) < 2 or not lines[0].startswith("#") or lines[1] != HEADER:
        raise _bad(path, f"does not begin with a line of settings and the line {HEADER}")
    try:
        found = json.loads(lines[0][1:])
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _bad(path, "has no settings in its first line")
    return found


def _bad(path: Path, what: str) -> UserError:
    return UserError(
        f"{path} {what}; take it from git (`git checkout {path}`, after a merge with the conflict resolved), or delete "
        "it to draw all places anew."
    )
