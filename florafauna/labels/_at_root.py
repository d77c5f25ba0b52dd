"""Label files that lie among the photos, where data.labels names data.root: used if they name photos that are there."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from florafauna.base.errors import UserError
from florafauna.labels._parts import named_sets, sets_of
from florafauna.labels._paths import below_root, cannot_be_there
from florafauna.labels.columns import IDS, has_path, named
from florafauna.labels.found import Found
from florafauna.labels.labels import LabelFiles, Labels, NoLabelsError, Reader
from florafauna.labels.tabular import columns, is_table


class AtRoot(NamedTuple):
    """The format and rows of the label files to use, if there are any, and notes on those that are not used."""

    used: tuple[str, Labels] | None
    notes: tuple[str, ...]


def labels_at_root(
    files: LabelFiles, found: Found, root: Path, reader_of: Callable[[LabelFiles], Reader | None]
) -> AtRoot:
    """The label files at the top of the root, or in the folders of a split, that name photos below it.

    `UserError` where several do, or one names photos and none of them is there: its classes are meant, not the folders.
    """
    used: list[tuple[list[str], str, Labels]] = []
    notes, lost = [], ""
    for paths in sets_of(files.names):
        some = files.only(paths)
        reader = None if _is_another_table(some, paths[0]) else reader_of(some)
        if reader is None:
            continue
        try:
            labels = reader.read(some, found.photos)
            count, first = _count(labels, found, files.origin, root)
        except NoLabelsError:
            continue
        except UserError as error:
            notes.append(f"{paths[0]} was not used: {error}")
            continue
        if _of_a_machine(labels):
            notes.append(f"{paths[0]} has a machine's labels; name it in data.labels to use them")
        elif count:
            origin = labels.origin or f"{paths[0]} ({reader.name})"
            labels = replace(labels, origin=origin, notes=(*some.remarks, *labels.notes))
            used.append((paths, reader.name, labels))
        elif first:
            lost = f"{paths[0]} names none of the photos that are there (it has '{first}')"
    if len(used) > 1:
        raise UserError(
            f"data.labels: {root} has several label files, {named_sets([paths for paths, _, _ in used])}; "
            "name one in data.labels, or set data.format: folder where folder names are the labels."
        )
    if not used and lost:
        raise UserError(
            f"data.labels: in {root}, {lost}; correct it, or set data.format: folder where folder names are the labels."
        )
    return AtRoot(used[0][1:] if used else None, tuple(notes))


def _is_another_table(files: LabelFiles, path: str) -> bool:
    """Whether a table, or a text that is none, has nothing to tell photos by."""
    present = columns(files, path) if is_table(path) else ["path"]
    return not has_path(present) and not named(IDS, present)


def _count(labels: Labels, found: Found, origin: Path, root: Path) -> tuple[int, str]:
    """How many rows name a photo that is there, and the first path."""
    if labels.rows.empty:
        return 0, ""
    paths, _ = below_root(labels.rows["path"], labels.rows.get("_home"), found, origin, root)
    return int((cannot_be_there(paths, found)[0] == "").sum()), str(labels.rows["path"].iloc[0])


def _of_a_machine(labels: Labels) -> bool:
    return "weak" in labels.rows.columns and bool((labels.rows["weak"] == "machine").all())
