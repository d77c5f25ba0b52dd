"""data/places.csv: the split that every photo was drawn into, which photos that are added later leave as it is.

The first line is a comment, JSON of what the places were drawn with; then a CSV of `sha256` (of the photo's bytes, the
first DIGITS digits) and `split`, sorted. The file belongs in git: it is what the next run starts from.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.split_names import SPLITS
from florafauna.split._stratify import waivers
from florafauna.split.settings import SplitParams

PLACES = Path("data/places.csv")
DIGITS = 16  # 64 bits: two of a million photos share them once in 37 million sets
HEADER = "sha256,split"
LINE = re.compile(rf"([0-9a-f]{{{DIGITS}}}),({'|'.join(SPLITS)})")
NAMED = 5  # groups or classes named in a note
Setting = int | float | list[str]


@dataclass(frozen=True)
class KeptPlaces:
    """`drawn_with` has the settings that places depend on; `split` the split by photo (the digits of its SHA-256)."""

    drawn_with: dict[str, Setting]
    split: dict[str, str]

    def text(self) -> str:
        """The file's content."""
        lines = [f"{digits},{split}" for digits, split in sorted(self.split.items())]
        return "\n".join([f"# {json.dumps(self.drawn_with, ensure_ascii=False)}", HEADER, *lines]) + "\n"


def drawn_with(groups: tuple[str, ...], split: SplitParams) -> dict[str, Setting]:
    """The settings that places depend on: where one of them changes, all places are drawn anew."""
    return {"groups": list(groups), "seed": split.seed, "test": split.test, "val": split.val}


def digits_of(sha256: pd.Series) -> pd.Series:
    """The part of a SHA-256 that names a photo in the file."""
    return sha256.str[:DIGITS]


def keep(table: pd.DataFrame, settings: dict[str, Setting]) -> KeptPlaces:
    """The places of photos (sha256, split), for the next run."""
    return KeptPlaces(settings, dict(zip(digits_of(table["sha256"]), table["split"], strict=True)))


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
    known = digits_of(table["sha256"]).map(lambda digits: kept.split.get(digits, ""))
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
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(path, f"cannot be read ({error})") from None
    settings = _settings(path, lines)
    split: dict[str, str] = {}
    for number, line in enumerate(lines[2:], start=3):
        entry = LINE.fullmatch(line)
        if entry is None:
            raise _bad(path, f"line {number} is '{line[:60]}', not {DIGITS} digits of a SHA-256, a comma and a split")
        digits, place = entry.groups()
        if split.setdefault(digits, place) != place:
            raise _bad(path, f"line {number} puts {digits} into {place} and an earlier one into {split[digits]}")
    return KeptPlaces(settings, split)


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
