"""The photos named on the command line: folders, files, globs, archives, tables of paths, URLs → one list."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.labels.columns import SYNONYMS, boxes_of, has_path, named, standard_paths
from florafauna.labels.found import find_photos
from florafauna.labels.labels import LabelFiles
from florafauna.labels.tabular import is_table, read_table
from florafauna.photos.archives import ARCHIVE, Archive
from florafauna.photos.crops import box_text, name_of
from florafauna.photos.kinds import EXTENSIONS, printable
from florafauna.photos.settings import WHOLE_PHOTOS, BoxParams
from florafauna.photos.sources import FolderSource, Source, open_source
from florafauna.predict._remote import RemoteSource, is_url

UNREAD_ARCHIVE = "unreadable: a damaged archive, or one within an archive; fetch it again, or unpack it"
PASSED_OVER = ("not_a_photo", "linked_folder", "not_a_file")


class Box(NamedTuple):
    """A part of an upright photo: its place in shares of the sides (`relative`) or in pixels, and what drew it.

    `confidence` is NaN and `category` "" where that was a person; `detection` is its number among those of the photo.
    """

    x: float
    y: float
    width: float
    height: float
    confidence: float
    relative: bool = True
    category: str = ""
    detection: int = -1


class Photo(NamedTuple):
    """One row of the result: a photo, or a box of it.

    `name` is the path shown, `id` its identifier in a competition (as in the table, else the file's name), `path` its
    place in source number `source`, `error` why it cannot be read. `known` is what it shows where no model has to say
    so: person, vehicle, blank. `entry` is the number of the photo in a detector's file.
    """

    name: str
    id: str
    source: int
    path: str
    error: str = ""
    box: Box | None = None
    known: str = ""
    sequence: str = ""
    entry: int = -1

    @property
    def shown(self) -> str:
        """The name, with the box where it is of one."""
        return name_of(self.name, "" if self.box is None else box_text(self.box[:4], self.box.relative))


@dataclass
class Inputs:
    """The rows in the given order, and the sources that their photos are read from.

    `results` is the detector's file that they are of, if it is in MegaDetector's format; `boxes` how boxes are cut;
    `linked` are links to folders, which are not searched.
    """

    photos: Sequence[Photo]
    sources: list[Source]
    results: Path | None = None
    boxes: BoxParams = WHOLE_PHOTOS
    linked: Sequence[Path] = ()

    @property
    def fingerprint(self) -> str:
        """Identifies the rows."""
        digest = sha256()
        for photo in self.photos:
            digest.update(repr(photo).encode())
        return digest.hexdigest()


def find_inputs(arguments: Sequence[str], id_column: str | None = None, part: Path | None = None) -> Inputs:
    """The photos that the arguments name; folders, archives and URLs are searched, in sorted order.

    A table of paths has a column path (or one of its synonyms, or `id_column`); paths are relative to the table's
    folder if the first is found there, else to the working directory. A listed file that is missing becomes a row with
    an error. `part`, what an interrupted call has left, is no photo that a glob finds. `UserError` for an argument that
    names nothing, and where two photos would have one name.
    """
    photos: dict[tuple[str, str], Photo] = {}
    sources: list[Source] = []
    folders: dict[str, int] = {}
    for argument in arguments:
        for photo in _named(argument, sources, folders, id_column, part):
            # a competition wants a row for each of its identifiers, also where two are of one photo
            known = photos.setdefault((photo.name, photo.id if id_column else ""), photo)
            if known != photo and _file_of(known, sources) != _file_of(photo, sources):
                one, other = (_file_of(each, sources) for each in (known, photo))
                raise UserError(
                    f"{one} and {other} would both be '{photo.name}' in the result; predict one after the other."
                )
    searched = [source for number, source in enumerate(sources) if number not in folders.values()]
    linked = [path for source in searched for path in _linked_folders(source)]
    if not photos:
        raise UserError(f"there is no photo in {', '.join(arguments)}{not_searched(linked)}.")
    return Inputs([*photos.values()], sources, linked=linked)


def not_searched(linked: Sequence[Path]) -> str:
    """What is said of links to folders, "" where there is none."""
    if not linked:
        return ""
    links = "1 link to a folder is" if len(linked) == 1 else f"{len(linked)} links to folders are"
    return f"; {links} not searched: name {printable(linked[0].as_posix())} itself among PHOTOS for what it leads to"


def _linked_folders(source: Source) -> list[Path]:
    if not isinstance(source, FolderSource):
        return []
    return [source.root / other.path for other in source.refused() if other.reason == "linked_folder"]


def _file_of(photo: Photo, sources: Sequence[Source]) -> str:
    """Where a photo lies, whatever it is called."""
    source = sources[photo.source]
    return str((source.root / photo.path).resolve()) if isinstance(source, FolderSource | Archive) else photo.name


def _named(
    argument: str, sources: list[Source], folders: dict[str, int], id_column: str | None, part: Path | None
) -> Iterator[Photo]:
    if is_url(argument):
        source = RemoteSource(argument)
        sources.append(source)
        yield from _of_source(source, len(sources) - 1, source.url)
        return
    for path in expanded(argument):
        if path != part:
            yield from _below(path, sources, folders, id_column)


def expanded(argument: str) -> list[Path]:
    """The files and folders that an argument names, by their name or by a glob."""
    if os.path.lexists(argument):
        return [Path(argument)]
    matches = sorted(glob.iglob(_pattern(argument), recursive=True)) if glob.has_magic(argument) else []  # noqa: PTH207 absolute, too
    if not matches:
        raise UserError(f"{argument} does not exist; name a folder, a photo, a glob, an archive or a CSV of paths.")
    return [Path(match) for match in matches]


def _pattern(argument: str) -> str:
    """The glob, with existing folders such as "site [2]" taken literally."""
    folder, rest = Path(argument).parts[:1], Path(argument).parts[1:]
    literal = Path(*folder)
    if not literal.exists():
        return argument
    for number, part in enumerate(rest):
        if not (literal / part).exists():
            return str(Path(glob.escape(str(literal)), *rest[number:]))
        literal /= part
    return glob.escape(str(literal))


def _below(path: Path, sources: list[Source], folders: dict[str, int], id_column: str | None) -> Iterator[Photo]:
    if path.is_dir() or ARCHIVE.fullmatch(path.name):
        source = open_source(path, "PHOTOS")
        sources.append(source)
        yield from _of_source(source, len(sources) - 1, path.as_posix())
    elif is_table(path.name):
        for name, identifier, listed, sequence in _listed(path, id_column):
            yield _single(name, identifier, listed, sources, folders)._replace(sequence=sequence)
    else:
        yield _single(path.as_posix(), path.name, path, sources, folders)


def _of_source(source: Source, number: int, root: str) -> Iterator[Photo]:
    prefix = "" if root == "." else f"{root}/"
    found = find_photos(source)
    photos = [
        Photo(printable(prefix + path), printable(PurePosixPath(path).name), number, path) for path in found.photos
    ]
    photos += [
        Photo(
            prefix + other.path, PurePosixPath(other.path).name, number, other.path, f"{other.reason}: {other.detail}"
        )
        for other in found.others
        if other.reason not in PASSED_OVER
    ]
    photos += [
        Photo(prefix + path, PurePosixPath(path).name, number, path, UNREAD_ARCHIVE)
        for path in found.files
        if ARCHIVE.fullmatch(path) and path == printable(path)  # else it is among the others
    ]
    yield from sorted(photos, key=lambda photo: photo.path)


def _single(name: str, identifier: str, path: Path, sources: list[Source], folders: dict[str, int]) -> Photo:
    folder = str(path.parent)
    if folder not in folders:
        sources.append(FolderSource(path.parent))
        folders[folder] = len(sources) - 1
    return Photo(printable(name), printable(identifier), folders[folder], path.name)


def _listed(table: Path, id_column: str | None) -> Iterator[tuple[str, str, Path, str]]:
    """Path as given, identifier (or the path), file and sequence (or "") of each line."""
    source = FolderSource(table.parent)
    files = LabelFiles.open(table, table.parent, source)
    rows = read_table(files, table.name)
    columns = list(rows.columns)
    identifier = next(iter(named((id_column,) if id_column else (), columns)), None)
    sequence = next(iter(named(SYNONYMS["sequence"], columns)), None)
    # Timelapse divides paths into two columns
    given = standard_paths(rows, str(table), []) if has_path(columns) else rows.get(identifier)
    paths = [path for path in given if path] if given is not None else _without_heading(table, rows)
    if paths is None:
        raise UserError(f"{table} has no column of paths; name it 'path' (its columns are {', '.join(rows.columns)}).")
    if not paths:
        raise UserError(f"{table} lists no photo in its column of paths.")
    if "".join(boxes_of(rows).get("_box", [])):
        raise UserError(
            f"{table} has boxes; name the folder of its photos with --photos, or, for whole photos, take out the "
            "columns of boxes."
        )
    base = table.parent if _file(table.parent, paths[0]).exists() or not _file(Path(), paths[0]).exists() else Path()
    rows = rows[given != ""] if given is not None else pd.DataFrame({"path": paths})
    ids = rows[identifier] if identifier else paths
    sequences = rows[sequence] if sequence else [""] * len(paths)
    for path, of_photo, of_sequence in zip(paths, ids, sequences, strict=True):
        yield path, of_photo, _file(base, path), of_sequence


def _without_heading(table: Path, rows: pd.DataFrame) -> list[str] | None:
    """The lines of a plain list without a header, recognised by its first line, which names a file."""
    first = str(rows.columns[0])
    if len(rows.columns) != 1 or not ((table.parent / first).is_file() or Path(first).is_file()):
        return None
    return [first, *(path for path in rows[first] if path)]


def _file(base: Path, path: str) -> Path:
    """The file of that name, or the only photo with that name and an extension, as in many tables of ids."""
    file = base / path
    if file.exists() or not file.name:
        return file
    if "\\" in path:  # of Windows
        return _file(base, path.replace("\\", "/"))
    suffixes = {suffix for known in EXTENSIONS.values() for suffix in known}
    near = [
        each for suffix in suffixes for each in (suffix, suffix.upper()) if file.with_name(file.name + each).exists()
    ]
    return file.with_name(file.name + near[0]) if len(near) == 1 else file
