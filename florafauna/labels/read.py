"""Labelled photos in the layouts people have → one table."""

from dataclasses import replace
from pathlib import Path

from florafauna.base.errors import UserError
from florafauna.labels._assemble import Photos, assemble
from florafauna.labels._at_root import labels_at_root
from florafauna.labels._boxed import located
from florafauna.labels._readers import READERS
from florafauna.labels.detections import Detections, detections_of
from florafauna.labels.formats import _folders
from florafauna.labels.formats._machines import MegaDetector, SpeciesNet
from florafauna.labels.found import Found, find_photos, without_videos
from florafauna.labels.labels import LabelFiles, Labels, Reader
from florafauna.labels.tabular import is_spreadsheet
from florafauna.photos.settings import BoxParams
from florafauna.photos.sources import open_source

FORMATS = (*_folders.LAYOUTS, *(reader.name for reader in READERS))


def read_photos(
    root: Path,
    labels: Path,
    format: str = "auto",  # noqa: A002
    rank: str = "species",
    boxes: BoxParams | None = None,
    detections: Detections | None = None,
) -> Photos:
    """The photos below `root` (a folder or an archive) with their labels.

    `labels` is a table or metadata file, a folder or archive of such, or `root` itself where folder names are the
    labels. `format` is "auto" or one of `FORMATS`. `rank` is the column that gives the label: a taxonomic rank, or
    "species", which is also the source's own label where it has no ranks. docs/formats.md states the policies.
    `boxes` says what is shown of photos that have boxes: those of the labels and, if given, of `detections`.

    Raises `UserError` for a missing path, a format that is not recognised or not as it should be, paths that leave the
    root, a rank that the source does not have, and where no labelled photo is left.

    >>> read_photos(Path("data/raw"), Path("data/raw")).table[["path", "label"]]  # doctest: +SKIP
    """
    if format not in ("auto", *FORMATS):
        raise UserError(f"data.format: '{format}' is not one of auto, {', '.join(FORMATS)}.")
    source = open_source(root)
    files = LabelFiles.open(labels, root, source)
    found = without_videos(find_photos(source))
    crops = boxes is not None and boxes.use == "crop"
    name, read = _read(files, found, root, format, crops)
    if boxes is not None and detections is None and name in (MegaDetector.name, SpeciesNet.name):
        detections = detections_of(files, found.photos)
    if detections is None and "_box" not in read.rows.columns:
        if crops:
            raise UserError(f"boxes.use is crop, but {labels} has no boxes; name the file that has them in data.boxes.")
        boxes = None
    drawn, notes = located(detections, found, root) if boxes is not None and detections is not None else (None, [])
    return assemble(replace(read, notes=(*read.notes, *notes)), found, rank, name, labels, root, boxes, drawn)


def _read(files: LabelFiles, found: Found, root: Path, name: str, crops: bool) -> tuple[str, Labels]:
    """The name of the format and the rows."""
    reader = _reader(files, name)
    if reader is not None:
        of_boxes = crops and isinstance(reader, MegaDetector)
        labels = MegaDetector().read_boxes(files) if of_boxes else reader.read(files, found.photos)
        origin = labels.origin or f"{files.origin.name} ({reader.name})"
        return reader.name, replace(labels, origin=origin, notes=(*files.remarks, *labels.notes))
    if not files.is_root:
        if name in _folders.LAYOUTS:
            raise UserError(f"data.format: {name} takes the labels from folder names; set data.labels to {root}, too.")
        sheet = next((path for path in files.names if is_spreadsheet(path)), None)
        if sheet is not None:
            raise UserError(f"data.labels: {files.describe(sheet)} is a spreadsheet; save it as CSV (UTF-8).")
        known = "; ".join(reader.looks_like for reader in READERS)
        raise UserError(
            f"data.labels: {files.origin} is not in a recognised format; looked for {known}; "
            f"set data.format to one of {', '.join(FORMATS)} to learn what it lacks."
        )
    if not found.photos:
        raise UserError(f"data.root: {root} holds no photos; expected one folder of photos for each label.")
    if name != "auto":
        return _folders.read(found.photos, root, name)
    used, notes = labels_at_root(files, found, root, _reader)
    name, labels = used or _folders.read(found.photos, root)
    return name, replace(labels, notes=(*labels.notes, *notes))


def _reader(files: LabelFiles, name: str = "auto") -> Reader | None:
    """The reader of that name, or the first that recognises the files."""
    fitting = (reader for reader in READERS if name == reader.name or (name == "auto" and reader.recognises(files)))
    return next(fitting, None)


__all__ = ["FORMATS", "Photos", "open_source", "read_photos"]
