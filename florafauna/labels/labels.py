"""What the reader of a format hands on, and the files that it reads."""

import gzip
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.split_names import split_of
from florafauna.photos.archives import ARCHIVE
from florafauna.photos.sources import FolderSource, Source, open_source

# Folders around a layout that are not part of it, and those in which data sets keep their label files
WRAPPERS = ("images", "photos", "pictures", "img", "data", "dataset", "raw", "media")
ANNOTATIONS = ("annotations", "labels", "metadata")


@dataclass(frozen=True)
class Labels:
    """The rows of a label source as text, several a photo if it has several.

    `rows` has `path`, `label` and what else the source knows under the table's standard names. `weak` is "event" where
    the label was given to a whole event, "machine" where by no person. `_reason` and `_detail` say why a row cannot be
    trained on: no_animal and no_label are about the label of the row, any other reason about the photo. `_home` is the
    folder of the file that has the row, where there are several. `_box` is the box that the row is about (see
    `_boxes`), with `_category` and `_confidence`, where a format has boxes. `ranked` says that `species` and
    the other ranks are the labels to train on, and `label` only the finest name known.

    `origin` says in words which files and columns gave the labels, `split_origin` what gave the split. `listed` is the
    number of rows before those without a photo were left out (None: none were; 0: the photos themselves are the rows).
    """

    rows: pd.DataFrame
    ranked: bool = False
    notes: tuple[str, ...] = ()
    origin: str = ""
    split_origin: str = ""
    listed: int | None = None


class NoLabelsError(UserError):
    """A file that is not a label file at all: it has no column of paths or none of labels."""


class Reader(Protocol):
    """A format: its name, how it is recognised, and how its rows are read."""

    name: str
    looks_like: str  # completes the sentence 'looked for ...'

    def recognises(self, files: "LabelFiles") -> bool:
        """Whether the files are of this format."""

    def read(self, files: "LabelFiles", photos: list[str]) -> Labels:
        """The rows, given the paths of the photos that there are."""


@dataclass(frozen=True)
class LabelFiles:
    """The files that hold the labels: the one that data.labels names, or those of the folder or archive it names."""

    origin: Path
    source: Source
    single: str | None = None
    is_root: bool = False  # data.labels is data.root: labels may be folder names
    chosen: tuple[str, ...] = ()  # of all files those to look at
    remarks: list[str] = field(default_factory=list)  # what was assumed to read them
    _contents: dict[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, labels: Path, root: Path, photos: Source) -> "LabelFiles":
        """The files at `labels`; `UserError` where there is nothing. `photos` is the source at `root`."""
        if not labels.exists():
            raise UserError(
                f"data.labels: {labels} does not exist; correct the path, "
                "or give the same as data.root where folder names are the labels."
            )
        if labels.samefile(root):
            return cls(labels, photos, is_root=True)
        if labels.is_dir() or ARCHIVE.fullmatch(labels.name):
            return cls(labels, open_source(labels, "data.labels"))
        return cls(labels, FolderSource(labels.parent), single=labels.name)

    @cached_property
    def names(self) -> list[str]:
        """The files by path, those nearest to the top first; of data.root only those at its top or of a split."""
        if self.single is not None:
            return [self.single]
        if self.chosen:
            return list(self.chosen)
        files = self.source.files()
        if self.is_root:
            top = _common_folders(files)
            files = [path for path in files if all(map(_is_around, path.split("/")[top:-1]))]
        return sorted(files, key=lambda path: (path.count("/"), path))

    def only(self, chosen: Sequence[str]) -> "LabelFiles":
        """Some of these files, as if data.labels named them."""
        return replace(self, chosen=tuple(chosen), is_root=False, remarks=[])

    def home(self, path: str) -> str:
        """The absolute path of a file's folder (inside an archive: as if it were unpacked under its own name)."""
        top = self.origin.parent if self.single is not None else self.origin
        return f"{top.absolute().as_posix()}/{path.rpartition('/')[0]}".rstrip("/")

    def find(self, name: str) -> str | None:
        """The file of that name (also gzipped) nearest to the top, or None."""
        return next((path for path in self.names if base_name(path) == name), None)

    def beside(self, path: str, name: str) -> str | None:
        """The path of the file `name`, given relative to the folder of the file at `path`, or None."""
        folder = path.rpartition("/")[0]
        wanted = f"{folder}/{name}" if folder else name
        here = self.source.files() if self.single is None else self._beside_single(name)
        return next((candidate for candidate in (wanted, f"{wanted}.gz") if candidate in here), None)

    def _beside_single(self, name: str) -> list[str]:
        return [name for name in (name, f"{name}.gz") if (self.origin.parent / name).is_file()]

    def neighbours(self, path: str, extension: str) -> list[str]:
        """The files with an extension in the folder of the file at `path`."""
        if self.single is not None:
            return sorted(file.name for file in self.origin.parent.glob(f"*{extension}"))
        folder = path.rpartition("/")[0]
        return [file for file in self.source.files() if file.endswith(extension) and file.rpartition("/")[0] == folder]

    def read(self, path: str) -> bytes:
        """The bytes of a file, unpacked where its name ends in .gz; remembered, since recognising also reads."""
        if path not in self._contents:
            try:
                data = self.source.read(path)
                self._contents[path] = gzip.decompress(data) if path.lower().endswith(".gz") else data
            except (OSError, EOFError) as error:
                raise UserError(f"{self.describe(path)} cannot be read: {error}.") from None
        return self._contents[path]

    def text(self, path: str) -> str:
        """A file as UTF-8 text, with or without byte order mark; `UserError` names the first byte that is not."""
        return decode(self.read(path), self.describe(path))

    def describe(self, path: str) -> str:
        """How messages name a file."""
        return str(self.origin) if self.single == path else f"{self.origin}/{path}"


def _common_folders(paths: Sequence[str]) -> int:
    """How many folders all of some paths share at their beginning."""
    if not paths:
        return 0
    first, last = (path.split("/")[:-1] for path in (min(paths), max(paths)))
    return len(posixpath.commonprefix([first, last]))


def _is_around(folder: str) -> bool:
    return bool(split_of(folder)) or folder.lower() in (*WRAPPERS, *ANNOTATIONS)


def base_name(path: str) -> str:
    """The name of a file without its folders and without .gz."""
    return path.rpartition("/")[2].removesuffix(".gz")


def decode(data: bytes, name: str) -> str:
    """UTF-8 → text; `UserError` that names the file and the byte where it is something else."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{name} is UTF-16, not UTF-8 (byte 0 is 0x{data[0]:02x}); save it as UTF-8.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # with the mark, positions count from behind it
        position = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        line = data.count(b"\n", 0, position) + 1
        raise UserError(
            f"{name} is not UTF-8: byte {position} (0x{data[position]:02x}, line {line}); save it as UTF-8."
        ) from None
