"""Photos → what the model sees of them, in the order asked, by several processes; a bad file becomes an error."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from florafauna.audit.examine import Content, examine
from florafauna.photos.budget import SECONDS, ended_when_slow, over_budget
from florafauna.photos.kinds import (
    LARGEST_PIXELS,
    Reason,
    Refusal,
    ends_in_zeros,
    known_formats,
    one_line,
    refuse_name,
    refuse_size,
    unreadable,
)
from florafauna.photos.sources import Source
from florafauna.photos.workers import Workers, map_despite_crashes, one_thread
from florafauna.pixels.centre import Resize, centre
from florafauna.predict._inputs import Photo
from florafauna.preprocess.decode import decode

CHUNK = 16  # photos a task: 2.4 MB of 224 px views to be sent back
WORTH_PROCESSES = 16 * CHUNK  # fewer photos are decoded before other processes have started
EXIF_IFD, TAKEN, OFFSET = 0x8769, 0x9003, 0x9011
MOMENT = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)")


@dataclass(frozen=True)
class Seen:
    """The view of a photo, uint8 (size, size, 3), or None and an error.

    `taken` is its EXIF time as ISO 8601 or ""; `stamp` is `Decoder.stamp` from before it was read.
    """

    pixels: np.ndarray | None
    error: str = ""
    taken: str = ""
    stamp: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Sight:
    """How a file becomes what a model sees: stored as in preprocessing, viewed as in evaluation."""

    store_size: int
    size: int
    crop_pct: float
    interpolation: str
    resize: Resize

    @classmethod
    def of_bundle(cls, info: dict[str, Any], resize: Resize) -> "Sight":
        """As bundle.json says; `resize` is torch's or numpy's, which agree."""
        data = info["data"]
        return cls(int(info["store_size"]), data["test_size"], data["crop_pct"], data["interpolation"], resize)

    def __call__(self, data: bytes) -> np.ndarray:
        """uint8 (size, size, 3); raises whatever a decoder stumbles over."""
        stored = decode(data, self.store_size, self.resize)
        return np.ascontiguousarray(centre(stored, self.size, self.crop_pct, self.interpolation, self.resize))


@dataclass(frozen=True)
class Decoder:
    """Reads, decodes and views photos as preprocessing and evaluation do; `times` asks for EXIF times, too."""

    sources: Sequence[Source]
    sight: Sight
    times: bool = False

    def stamp(self, photo: Photo) -> tuple[int, ...] | None:
        """Size and time of change, by which a changed file is told; None where no file can be asked."""
        if photo.error:
            return None
        try:
            return self.sources[photo.source].stat(photo.path)
        except Exception:  # besides OSError: a damaged archive raises errors of zipfile's and tarfile's own
            return None

    def see(self, photo: Photo) -> Seen:
        """Never raises for what a file holds."""
        if photo.error:
            return Seen(None, photo.error)
        source, stamp = self.sources[photo.source], self.stamp(photo)
        try:
            refused = refuse_name(photo.path) or refuse_size((stamp or source.stat(photo.path))[0])
            data = b"" if refused else source.read(photo.path)
        except Exception as error:  # as above
            refused = unreadable(error)
        seen = _refused(refused) if refused else see_bytes(data, self.sight, self.times)
        return replace(seen, stamp=stamp)

    def crashed(self, photo: Photo) -> Seen:
        """What is said of a photo that ends the process that decodes it."""
        content = Content(
            Reason.CORRUPT, f"it crashes the process that decodes it, or takes it over {SECONDS:g} seconds"
        )
        return replace(_refused(content), stamp=self.stamp(photo))


def see_bytes(data: bytes, sight: Sight, times: bool = False) -> Seen:
    """What is seen of a file's bytes; never raises for what they are."""
    try:
        taken = _inspect(data, times)
        return Seen(sight(data), taken=taken)
    except Exception as error:  # a plugin raises whatever its parser stumbles over
        found = examine(data)
        return _refused(found if found.reason else Refusal(Reason.CORRUPT, one_line(error)))


def see_all(decoder: Decoder, photos: Sequence[Photo], workers: int) -> Iterator[Seen]:
    """What is seen of each photo, in order, a bounded number ahead; the same whatever the number of workers."""
    if workers == 1:
        yield from map(decoder.see, photos)
        return
    chunks = [photos[start : start + CHUNK] for start in range(0, len(photos), CHUNK)]

    def start(count: int) -> Workers[Sequence[Photo], list[Seen]]:
        return Workers(count, [__name__, decoder.sight.resize.__module__], _SeeChunk(decoder), one_thread)

    for seen in map_despite_crashes(start, workers, len(chunks), chunks.__getitem__, decoder.crashed):
        yield from seen


class _RefusedError(Exception):
    """The audit would refuse the file; the reason is asked of it."""


def _inspect(data: bytes, times: bool) -> str:
    """Refuse what the audit refuses and `decode` would not; returns the time of the photo, if asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=known_formats()) as image:
            cut = image.format in ("JPEG", "MPO") and ends_in_zeros(data)
            if image.width * image.height > LARGEST_PIXELS or cut or over_budget(image, data):
                raise _RefusedError
            return _time(image) if times else ""


def _time(image: Image.Image) -> str:
    try:
        facts = image.getexif().get_ifd(EXIF_IFD)
    except Exception:  # damaged metadata do not make a photo useless
        return ""
    moment = MOMENT.match(str(facts.get(TAKEN, "")))
    if moment is None:
        return ""
    year, month, day, clock = moment.groups()
    offset = str(facts.get(OFFSET, ""))
    return f"{year}-{month}-{day}T{clock}" + (offset if re.fullmatch(r"[+-]\d\d:\d\d", offset) else "")


def _refused(why: Refusal | Content) -> Seen:
    return Seen(None, f"{why.reason}: {why.detail}")


@dataclass(frozen=True)
class _SeeChunk:
    """What each worker process does."""

    decoder: Decoder

    def __call__(self, photos: Sequence[Photo]) -> list[Seen]:
        return [self._see(photo) for photo in photos]

    def _see(self, photo: Photo) -> Seen:
        with ended_when_slow():
            return self.decoder.see(photo)
