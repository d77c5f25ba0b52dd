"""data/places.csv: the split that every photo was drawn into, which photos that are added later leave as it is.

The first line is a comment, JSON of what the places were drawn with; then a CSV of `sha256` (of the photo's bytes, the
first DIGITS digits) and `split`, sorted. The file belongs into git: it is what the next run starts from.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from florafauna.errors import UserError
from florafauna.params import SplitParams
from florafauna.split_names import SPLITS

DIGITS = 16  # 64 bits: two of a million photos share them once in 37 million sets
HEADER = "sha256,split"
LINE = re.compile(rf"([0-9a-f]{{{DIGITS}}}),({'|'.join(SPLITS)})")
Setting = int | float | list[str]


@dataclass(frozen=True)
class Places:
    """`drawn_with` has the settings that places depend on; `split` the split by photo (the digits of its SHA-256)."""

    drawn_with: dict[str, Setting]
    split: dict[str, str]

    def text(self) -> str:
        """The file's content."""
        lines = [f"{digits},{split}" for digits, split in sorted(self.split.items())]
        return "\n".join([f"# {json.dumps(self.drawn_with, ensure_ascii=False)}", HEADER, *lines]) + "\n"


def settings(groups: tuple[str, ...], split: SplitParams) -> dict[str, Setting]:
    """What places are drawn with: where one of these changes all are drawn anew."""
    return {"groups": list(groups), "seed": split.seed, "test": split.test, "val": split.val}


def digits_of(sha256: pd.Series) -> pd.Series:
    """The part of a SHA-256 that names a photo in the file."""
    return sha256.str[:DIGITS]


def read_places(path: Path) -> Places | None:
    """The places in `path`, None where there is no such file; `UserError` where it is not what `Places.text` writes."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(path, f"cannot be read ({error})") from None
    drawn_with = _drawn_with(path, lines)
    split: dict[str, str] = {}
    for number, line in enumerate(lines[2:], start=3):
        entry = LINE.fullmatch(line)
        if entry is None:
            raise _bad(path, f"line {number} is '{line[:60]}', not {DIGITS} digits of a SHA-256, a comma and a split")
        digits, place = entry.groups()
        if split.setdefault(digits, place) != place:
            raise _bad(path, f"line {number} puts {digits} into {place} and an earlier one into {split[digits]}")
    return Places(drawn_with, split)


def _drawn_with(path: Path, lines: list[str]) -> dict[str, Setting]:
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
