"""What the reader of a format hands on, and the files that it reads."""

import gzip
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.photos.archives import ARCHIVE
from florafauna.photos.sources import FolderSource, Source, open_source


@dataclass(frozen=True)
class Labels:
    """The rows of a label source as text, several a photo if it has several.

    `rows` has `path`, `label` and what else the source knows under the table's standard names. `weak` is "event" where
    the label was given to a whole event, "machine" where by no person. `_reason` and `_detail` say why a row cannot be
    trained on: no_animal and no_label are about the label of the row, any other reason about the photo. `ranked` says
    that `species` and the other ranks are the labels to train on, and `label` only the finest name known.
    """

    rows: pd.DataFrame
    ranked: bool = False
    notes: tuple[str, ...] = ()


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
        """The files by path, those nearest to the top first; of data.root only those at its top."""
        if self.single is not None:
            return [self.single]
        if self.is_root:
            return [path for path in self.source.files() if "/" not in path]
        return sorted(self.source.files(), key=lambda path: (path.count("/"), path))

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
