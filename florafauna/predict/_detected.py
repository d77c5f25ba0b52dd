"""The photos and boxes of a detector's file, of which a model is shown the animals."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import overload

import numpy as np
import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.texts import Texts
from florafauna.labels.detections import Detections, read_detections
from florafauna.photos.kinds import printable
from florafauna.photos.settings import BoxParams
from florafauna.photos.sources import Source, open_source
from florafauna.predict._inputs import Box, Inputs, Photo
from florafauna.predict._results import Results

RESULTS = "megadetector"
BLANK = "blank"
SEQUENCE = ("seq_id", "sequence_id", "sequence", "event_id")  # of a photo in results, beside the format's own keys
VIDEOS = (".mp4", ".avi", ".mov", ".mpg", ".mpeg", ".m4v", ".mkv", ".asf", ".flv", ".wmv", ".webm")
TRIED = 100  # photos, before it is said that none is there


def find_detected(file: Path, root: Path, params: BoxParams) -> Inputs:
    """A row for every box of `file` that is sure enough, and one for each photo without any; photos are below `root`.

    Boxes of `params.category`, and those that a person drew, are for the model; what others show is known. `UserError`
    where the file has no boxes, or those of videos, or where no photo is there.
    """
    found, source = read_detections(file), open_source(root, "--photos")
    results = Results(file) if found.format == RESULTS else None
    photos, table = _photos_and_boxes(found, results)
    above = f"{root.absolute().as_posix().rstrip('/')}/"
    _refuse(photos["path"], table, source, file, root, above)
    rows = Detected(photos, table[~(table["confidence"] < params.confidence)], params.category, above)
    return Inputs(rows, [source], file if results is not None else None, params)


def _photos_and_boxes(found: Detections, results: Results | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """path, error and sequence of every photo, and the boxes, of which `image` is the row of the photo."""
    if results is None:
        image = pd.factorize(found.table["path"])[0]
        photos = found.table.drop_duplicates("path").assign(error="")[["path", "error", "sequence"]]
        return photos, found.table.assign(image=image).sort_values("image", kind="stable")
    photos = pd.DataFrame(
        (
            (
                str(entry.get("file") or ""),
                f"failure: {entry['failure']}" if entry.get("failure") else "",
                next((str(entry[key]) for key in SEQUENCE if entry.get(key) is not None), ""),
            )
            for entry in results.entries()
        ),
        columns=["path", "error", "sequence"],
        dtype=str,
    )
    return photos, found.table


def _refuse(paths: pd.Series, table: pd.DataFrame, source: Source, file: Path, root: Path, above: str) -> None:
    if paths.empty:
        raise UserError(f"there is no photo in {file}.")
    videos = paths[paths.str.lower().str.endswith(VIDEOS)].tolist() or table.loc[table["frame"] >= 0, "path"].tolist()
    if videos:
        raise UserError(
            f"{file} has boxes of videos such as {printable(videos[0])}; extract frames as photos "
            "(`ffmpeg -i VIDEO -vf fps=1 VIDEO-%04d.jpg`), run the detector on those, and give its results."
        )
    tried = paths.iloc[:TRIED]
    if not any(_is_there(source, _place(path, above)) for path in tried):
        raise UserError(
            f"{root} has none of the first {len(tried)} photos of {file}, such as {printable(tried.iloc[0])}; "
            "name the folder that their paths start from with --photos."
        )


def _is_there(source: Source, path: str) -> bool:
    try:
        source.stat(path)
    except Exception:  # besides OSError: a damaged archive raises errors of zipfile and tarfile
        return False
    return True


def _place(path: str, above: str) -> str:
    """As a `Source` has it; Windows writes backslashes, and MegaDetector absolute paths, with what is `above` them."""
    return path.replace("\\", "/").removeprefix("./").removeprefix(above)


class Detected(Sequence[Photo]):
    """The rows, in the order of the file, each made where it is asked for: 100,000 objects would take 50 MB."""

    def __init__(self, photos: pd.DataFrame, boxes: pd.DataFrame, category: str, above: str) -> None:
        """Every photo has a row, and one for each of its `boxes`, whose `image` increases; `above`: see `_place`."""
        self._above = above
        self._paths, self._errors, self._sequences = (Texts.of(photos[name]) for name in photos)
        image = boxes["image"].to_numpy()
        without = np.setdiff1d(np.arange(len(photos)), image)
        order = np.argsort(np.concatenate([image, without]), kind="stable")
        self._image = np.concatenate([image, without])[order]
        self._box = np.where(order < len(image), order, -1)
        self._numbers = boxes[["x", "y", "width", "height", "confidence"]].to_numpy()
        self._relative, self._detection = boxes["relative"].to_numpy(), boxes["detection"].to_numpy()
        self._categories = pd.Categorical(boxes["category"])
        self._animals = {category, ""}

    def __len__(self) -> int:
        return len(self._image)

    @overload
    def __getitem__(self, at: int) -> Photo: ...
    @overload
    def __getitem__(self, at: slice) -> list[Photo]: ...
    def __getitem__(self, at: int | slice) -> Photo | list[Photo]:
        if isinstance(at, slice):
            return [self[row] for row in range(*at.indices(len(self)))]
        image, number = int(self._image[at]), int(self._box[at])
        path = self._paths[image]
        place = _place(path, self._above)
        photo = Photo(printable(path), printable(PurePosixPath(place).name), 0, place)
        photo = photo._replace(error=self._errors[image], sequence=self._sequences[image], entry=image)
        if number < 0:
            return photo._replace(known="" if photo.error else BLANK)
        category = str(self._categories[number])
        x, y, width, height, confidence = self._numbers[number].tolist()
        relative, detection = bool(self._relative[number]), int(self._detection[number])
        box = Box(x, y, width, height, confidence, relative, category, detection)
        return photo._replace(box=box, known="" if category in self._animals else category)
