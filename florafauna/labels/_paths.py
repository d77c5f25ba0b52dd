"""The paths that a label source gives → paths below the root, or the reason why there is no such photo.

What is not there as it is written is looked for in the ways in which such lists go wrong: written on another computer,
in other case or form, or as the bare name of a photo that lies in a folder. A path that fits several photos fits none.
"""

import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.tables import ROWS
from florafauna.labels.found import Found
from florafauna.labels.tabular import among
from florafauna.photos.archives import inner_path
from florafauna.photos.kinds import printable

SAME_FORMAT = {"jpeg": "jpg", "jpe": "jpg", "tiff": "tif"}
# Label Studio: a file that was uploaded, under a new name, or one of a folder that it was given
UPLOADED = r"^/?data/upload/(?:\d+/)?[0-9a-f]{8}-"
LOCAL = r"^/?data/local-files/\?d="
CONTROL = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"


def below_root(
    given: pd.Series, homes: pd.Series | None, found: Found, origin: Path, root: Path
) -> tuple[pd.Series, list[str]]:
    """The paths that the label source `origin` gives, relative to the root, and notes on how they were found.

    They are taken to be relative to the root or, if more files are found so, to the folder of the label file (`homes`,
    or that of `origin`). Of those that are not there, a beginning that all share is stripped; the rest is matched
    without regard to case, Unicode form, blanks and .jpeg for .jpg, or as the end of a photo's path. `UserError` where
    one leaves the root and is not found in these ways.
    """
    base = root.absolute().as_posix() + "/"
    plain = given
    if plain.str.contains("\\", regex=False).any():  # else either of these would be a copy for nothing
        plain = plain.str.replace("\\", "/", regex=False)
    if plain.str.startswith(base).any():
        plain = plain.str.removeprefix(base)
    odd = plain.str.contains(r"(?:^|/)\.{0,2}(?:/|$)", regex=True) & (plain != "")
    if odd.any():
        forms = {path: inner_path(path) or path for path in plain[odd].unique()}
        plain = plain.where(~odd, plain.map(forms)).astype(str)
    there = among(plain, found.files)
    if there.all():
        return plain, []
    notes = []
    home = (origin if origin.is_dir() else origin.parent).absolute().as_posix()
    beside = _beside(plain, home if homes is None else homes, base)
    if _count(beside, found) > _count(plain, found):
        plain = beside
        notes.append("the paths were taken relative to the label file's own folder")
    lost = ~among(plain, found.files) & (plain != "")
    if lost.any():
        plain, more = _looked_for(plain, lost, found)
        notes += more
    _refuse_outside(plain, found, origin, root)
    return plain, notes


def _count(paths: pd.Series, found: Found) -> tuple[int, int]:
    """How many paths are there as they are written; where none is, in another spelling."""
    there = int(among(paths, found.files).sum())
    if there:
        return there, 0
    known = {_spelling(path) for path in found.photos}
    return 0, sum(_spelling(path) in known for path in paths)


def _beside(plain: pd.Series, home: str | pd.Series, base: str) -> pd.Series:
    beside = home + "/" + plain
    dotted = beside.str.contains("/../", regex=False)
    beside = beside.where(~dotted, beside.map(posixpath.normpath)) if dotted.any() else beside
    return beside.str.removeprefix(base).where(beside.str.startswith(base), plain)


def _looked_for(plain: pd.Series, lost: pd.Series, found: Found) -> tuple[pd.Series, list[str]]:
    """The paths, with the `lost` ones found where they can be, and notes."""
    wanted = list(dict.fromkeys(plain[lost]))
    taken = set(plain[~lost])
    files = [path for path in found.photos if path not in taken]
    notes, moved = [], {}
    addresses = {path: _address(path) for path in wanted}
    prefix = _needless_prefix(list(addresses.values()), files, any_path=not taken)
    if prefix is not None:
        moved = {
            path: address.removeprefix(prefix) for path, address in addresses.items() if address.startswith(prefix)
        }
        notes.append(f"'{printable(prefix)}' was taken off the paths, which are relative to data.root without it")
    names = {path: moved.get(path, addresses[path]) for path in wanted}
    known = set(files)
    result = {path: name for path, name in names.items() if name in known}
    for described, match in (
        ("in case, form or extension", partial(_unique_pairs, form=_spelling)),
        ("by the folder they lie in", partial(_by_end, bare_names=not taken)),
    ):
        rest = {path: name for path, name in names.items() if path not in result}
        pairs = match(rest, known - set(result.values()))
        if pairs:
            first = min(pairs)
            notes.append(
                f"{len(pairs)} paths differ from the photos' {described}, "
                f"for example '{printable(first)}' from '{printable(pairs[first])}'"
            )
        result |= pairs
    final = {path: result.get(path, moved.get(path, path)) for path in wanted}
    return plain.where(~lost, plain.map(final)).astype(str), notes


def _address(path: str) -> str:
    """A path without what Label Studio puts before it."""
    for pattern in (UPLOADED, LOCAL):
        match = re.match(pattern, path)
        if match:
            return unquote(path[match.end() :])
    return path


def _needless_prefix(paths: list[str], files: Iterable[str], any_path: bool) -> str | None:
    """The longest beginning (whole folders) that paths share and without which most of them are there, or None.

    Relative paths are only tried where `any_path`; else a photo of another folder could be taken for a missing one.
    """
    candidates = [path for path in paths if (any_path or _is_absolute(path)) and ".." not in path.split("/")]
    if not candidates:
        return None
    known = {_spelling(path) for path in files}
    least, greatest = min(candidates), max(candidates)
    shared = posixpath.commonprefix([least.split("/")[:-1], greatest.split("/")[:-1]])
    best, most = None, sum(_spelling(path) in known for path in candidates)
    for depth in range(len(shared), 0, -1):
        prefix = "/".join(shared[:depth]) + "/"
        there = sum(_spelling(path.removeprefix(prefix)) in known for path in candidates)
        if there > most:
            best, most = prefix, there
    return best


def _is_absolute(path: str) -> bool:
    return path.startswith("/") or path[1:2] == ":"


def _spelling(path: str) -> str:
    """A path without what other computers do not see as a difference."""
    parts = unicodedata.normalize("NFC", path).casefold().split("/")
    name, dot, extension = "/".join(part.strip() for part in parts).rpartition(".")
    return f"{name.rstrip()}{dot}{SAME_FORMAT.get(extension, extension)}"


def _unique_pairs(names: Mapping[str, str], files: Iterable[str], form: Callable[[str], str]) -> dict[str, str]:
    """Given path → file of the same form, where each is the only one of it."""
    given = _only_ones((form(name), path) for path, name in names.items())
    there = _only_ones((form(file), file) for file in files)
    return {path: there[key] for key, path in given.items() if key in there}


def _only_ones(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The pairs whose first value no other pair has."""
    together: dict[str, list[str]] = {}
    for key, value in pairs:
        together.setdefault(key, []).append(value)
    return {key: values[0] for key, values in together.items() if len(values) == 1 and key}


def _by_end(names: Mapping[str, str], files: Iterable[str], bare_names: bool) -> dict[str, str]:
    """Given path → the only file whose path ends so; a name without an extension is that of a photo without its own.

    Names without a folder only count where `bare_names`: else the photo of another folder may have the same name.
    """
    files = list(files)
    pairs: dict[str, str] = {}
    shapes: dict[tuple[int, bool], dict[str, str]] = {}
    for path, name in names.items():
        depth, has_extension = name.count("/") + 1, "." in name.rpartition("/")[2]
        if name and not _is_absolute(name) and (bare_names or depth > 1):
            shapes.setdefault((depth, has_extension), {})[path] = name
    for (depth, has_extension), some in shapes.items():
        pairs |= _unique_pairs(some, files, partial(_end, depth=depth, extension=has_extension))
    return pairs


def _end(path: str, depth: int, extension: bool) -> str:
    last = "/".join(_spelling(path).split("/")[-depth:])
    return last if extension else posixpath.splitext(last)[0]


def _refuse_outside(plain: pd.Series, found: Found, origin: Path, root: Path) -> None:
    odd = plain.str.contains(r"^/|^[A-Za-z]:|(?:^|/)\.\.(?:/|$)|\x00", regex=True)
    outside = next((path for path in plain[odd].unique() if inner_path(path) is None), None)
    if outside is not None:
        raise UserError(
            f"{origin}: '{printable(outside)}' points outside {root}; "
            "its paths must be relative to data.root and stay below it."
        )


def cannot_be_there(paths: pd.Series, found: Found) -> tuple[pd.Series, pd.Series]:
    """Reason and detail for each path that is not a photo below the root, "" for the rest."""
    known = {other.path: (other.reason, other.detail) for other in found.others}
    missing = ("missing_file", "listed, but there is no such file")
    reason, detail = (pd.Series("", index=paths.index, dtype=str) for _ in range(2))
    odd = ~among(paths, found.files) | among(paths, known.keys())
    if odd.any():
        facts = [known.get(path, missing) for path in paths[odd]]
        reason[odd], detail[odd] = (pd.array([fact[part] for fact in facts], dtype="str") for part in range(2))
    parts = (paths.iloc[start : start + ROWS] for start in range(0, len(paths), ROWS))
    control = pd.concat([paths[:0] == "", *(part.str.contains(CONTROL, regex=True) for part in parts)])
    if control.any():
        reason[control], detail[control] = "bad_name", "the name holds a control character; rename the file"
    return reason, detail
