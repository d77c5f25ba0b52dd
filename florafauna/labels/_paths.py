"""The paths that a label source gives → paths below the root, or the reason why there is no such photo."""

from collections.abc import Set
from pathlib import Path

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.labels.found import Found
from florafauna.labels.tabular import among
from florafauna.photos.archives import inner_path
from florafauna.photos.kinds import printable


def below_root(given: pd.Series, files: Set[str], origin: Path, root: Path) -> tuple[pd.Series, list[str]]:
    """The paths that the label source `origin` gives, relative to the root, and notes.

    They are taken to be relative to the root or, if more files are found so, to the folder of the label file.
    `UserError` where one leaves the root.
    """
    plain = _normal(given, origin, root)
    found = among(plain, files)
    if found.all() or root.is_file():
        return plain, []
    home = (origin if origin.is_dir() else origin.parent).absolute().as_posix()
    base = root.absolute().as_posix() + "/"
    beside = home + "/" + plain
    beside = beside.str.removeprefix(base).where(beside.str.startswith(base), plain)
    if among(beside, files).sum() > found.sum():
        return beside, [f"the paths in {origin} were taken relative to its own folder"]
    return plain, []


def _normal(given: pd.Series, origin: Path, root: Path) -> pd.Series:
    """The paths in the form of `inner_path`; absolute ones that lie below the root are made relative."""
    base = root.absolute().as_posix() + "/"
    plain = given.str.replace("\\", "/", regex=False).str.removeprefix(base)
    odd = plain.str.contains(r"^/|^[A-Za-z]:|(?:^|/)\.{0,2}(?:/|$)|\x00", regex=True) & (plain != "")
    inner = {path: inner_path(path) for path in plain[odd].unique()}
    outside = next((path for path, inside in inner.items() if inside is None), None)
    if outside is not None:
        raise UserError(
            f"{origin}: '{printable(outside)}' points outside {root}; "
            "its paths must be relative to data.root and stay below it."
        )
    return plain.where(~odd, plain.map(inner)).astype(str) if inner else plain


def cannot_be_there(paths: pd.Series, found: Found) -> tuple[pd.Series, pd.Series]:
    """Reason and detail for each path that is not a file below the root, "" for the rest."""
    known = {other.path: (other.reason, other.detail) for other in found.others}
    missing = ("missing_file", "listed, but there is no such file")
    there = zip(paths.to_numpy(object), among(paths, found.files), strict=True)
    facts = [("", "") if is_there else known.get(path, missing) for path, is_there in there]
    reason = pd.Series([reason for reason, _ in facts], index=paths.index, dtype=str)
    detail = pd.Series([detail for _, detail in facts], index=paths.index, dtype=str)
    control = paths.str.contains(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", regex=True)
    return reason.mask(control, "bad_name"), detail.mask(control, "the name holds a control character; rename the file")
