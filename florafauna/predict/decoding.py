"""Photos → model inputs, in order, decoded by several processes; a bad file becomes an error."""

import io
import math
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from florafauna.audit.examine import Content, examine
from florafauna.base.cores import usable_cores
from florafauna.photos.budget import SECONDS, ended_when_slow, over_budget
from florafauna.photos.crops import BoxError, Rectangle, crop_of, place
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
from florafauna.photos.settings import BoxParams
from florafauna.photos.sources import Source
from florafauna.photos.taken import time_taken
from florafauna.photos.upright import ON_THE_SIDE, orientation
from florafauna.photos.workers import AHEAD, Workers, in_flight, map_despite_crashes, one_thread
from florafauna.pixels.centre import Resize, centre
from florafauna.predict._inputs import Box, Photo
from florafauna.preprocess.decode import decode

CHUNK = 16  # photos per task: 2.4 MB of 224 px views to send back
WORTH_PROCESSES = 1024  # photos: starting processes, which import torch, takes 1.5 to 4 s; a crash then costs one photo


@dataclass(frozen=True)
class DecodedPhoto:
    """The view of a photo, uint8 (size, size, 3), or None and an error (none where what it shows is known).

    `taken` is its EXIF time as ISO 8601 or ""; `size` its width and height, upright; `stamp` is its `Decoder.stamp`
    before it was read.
    """

    pixels: np.ndarray | None
    error: str = ""
    taken: str = ""
    size: tuple[int, int] | None = None
    stamp: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Preprocessor:
    """Turns a file into a model's input: stored as in preprocessing, viewed as in evaluation."""

    store_size: int
    size: int
    crop_pct: float
    interpolation: str
    resize: Resize

    @classmethod
    def of_bundle(cls, info: dict[str, Any], resize: Resize) -> "Preprocessor":
        """From bundle.json; `resize` is torch's or numpy's, which agree."""
        data = info["data"]
        return cls(int(info["store_size"]), data["test_size"], data["crop_pct"], data["interpolation"], resize)

    def __call__(
        self, data: bytes, crop: Rectangle | None = None, decoded: dict[tuple[int, int], Image.Image] | None = None
    ) -> np.ndarray:
        """uint8 (size, size, 3) of the whole photo or a `crop` of it; raises whatever a decoder raises."""
        stored = decode(data, self.store_size, self.resize, crop, decoded)
        return np.ascontiguousarray(centre(stored, self.size, self.crop_pct, self.interpolation, self.resize))


@dataclass
class _Opened:
    """The photo of the last box, since most have several: what was read and decoded of it."""

    photo: tuple[int, str] = (-1, "")
    stamp: tuple[int, ...] | None = None
    data: bytes = b""
    decoded: dict[tuple[int, int], Image.Image] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        return _Opened().__dict__  # other processes open photos for themselves


@dataclass(frozen=True)
class Decoder:
    """Reads and decodes photos as preprocessing and evaluation do; with `times`, also reads EXIF times.

    `boxes` says how the crop of a box is made.
    """

    sources: Sequence[Source]
    preprocessor: Preprocessor
    times: bool = False
    boxes: BoxParams = field(default_factory=BoxParams)
    _opened: _Opened = field(default_factory=_Opened, repr=False, compare=False)

    def stamp(self, photo: Photo) -> tuple[int, ...] | None:
        """Size and modification time, which reveal a changed file; None if the file cannot be accessed, or need not."""
        if not self._is_read(photo):
            return None
        try:
            return self.sources[photo.source].stat(photo.path)
        except Exception:  # besides OSError: a damaged archive raises errors of zipfile and tarfile
            return None

    def decode(self, photo: Photo) -> DecodedPhoto:
        """Never raises because of a file's content."""
        if not self._is_read(photo):
            return DecodedPhoto(None, photo.error)
        source, stamp, data = self.sources[photo.source], self.stamp(photo), b""
        try:
            refused = refuse_name(photo.path) or refuse_size((stamp or source.stat(photo.path))[0])
            data = b"" if refused else self._read(source, photo, stamp)
        except Exception as error:  # as above
            refused = unreadable(error)
        if photo.known:
            seen = look_at_bytes(data)
        elif refused:
            seen = _refused(refused)
        else:
            crop = partial(self._crop, photo.box) if photo.box else None
            seen = decode_bytes(data, self.preprocessor, self.times, crop, self._opened.decoded)
        return replace(seen, stamp=stamp)

    def _read(self, source: Source, photo: Photo, stamp: tuple[int, ...] | None) -> bytes:
        if photo.box is None:
            return source.read(photo.path)
        opened, name = self._opened, (photo.source, photo.path)
        if (opened.photo, opened.stamp) != (name, stamp) or stamp is None:
            opened.data, opened.decoded = source.read(photo.path), {}
            opened.photo, opened.stamp = name, stamp
        return opened.data

    def _is_read(self, photo: Photo) -> bool:
        in_pixels = photo.box is not None and not photo.box.relative
        return not photo.error and (self.times or in_pixels or not photo.known)

    def _crop(self, box: Box, width: int, height: int) -> Rectangle:
        return crop_of(place(box[:4], width, height, box.relative), width, height, self.boxes)

    def crashed(self, photo: Photo) -> DecodedPhoto:
        """The error for a photo that kills the process that decodes it."""
        content = Content(
            Reason.CORRUPT, f"it crashes the process that decodes it, or takes it over {SECONDS:g} seconds"
        )
        return replace(_refused(content), stamp=self.stamp(photo))


def decode_bytes(
    data: bytes,
    preprocessor: Preprocessor,
    times: bool = False,
    crop: Callable[[int, int], Rectangle] | None = None,
    decoded: dict[tuple[int, int], Image.Image] | None = None,
) -> DecodedPhoto:
    """The view of a file's bytes, or of the `crop` for its upright width and height; never raises for their content.

    `decoded` is what was decoded of the same file for other crops, see `photos.crops.cut`.
    """
    try:
        taken, size = _inspect(data, times)
        return DecodedPhoto(preprocessor(data, crop(*size) if crop else None, decoded), taken=taken, size=size)
    except BoxError as error:
        return DecodedPhoto(None, f"{error.reason}: {error}", taken, size)
    except Exception as error:  # Pillow's plugins raise all kinds of errors
        found = examine(data)
        return _refused(found if found.reason else Refusal(Reason.CORRUPT, one_line(error)))


def look_at_bytes(data: bytes) -> DecodedPhoto:
    """Time and size of a photo that needs no decoding."""
    try:
        taken, size = _inspect(data, times=True)
    except Exception:  # as above
        return DecodedPhoto(None)
    return DecodedPhoto(None, taken=taken, size=size)


def decode_all(
    decoder: Decoder, photos: Sequence[Photo], workers: int | None = None, first: int = 0
) -> Iterator[DecodedPhoto]:
    """The view of each photo from number `first` on, in order, decoded a bounded number ahead.

    It is the same for any number of `workers`, which are processes, or none (1: nothing is decoded ahead). By default
    there are as many as cores, or threads where photos are too few for processes.
    """
    if workers == 1:
        for number in range(first, len(photos)):
            yield decoder.decode(photos[number])
        return

    def chunk(number: int) -> Sequence[Photo]:
        return photos[first + number * CHUNK : first + (number + 1) * CHUNK]

    def start(count: int) -> Workers[Sequence[Photo], list[DecodedPhoto]]:
        return Workers(count, [__name__, decoder.preprocessor.resize.__module__], _DecodeChunk(decoder), one_thread)

    chunks = math.ceil((len(photos) - first) / CHUNK)
    if workers is None and len(photos) - first < WORTH_PROCESSES:
        decoded = _by_threads(decoder, usable_cores(), map(chunk, range(chunks)))
    else:
        decoded = map_despite_crashes(start, workers or usable_cores(), chunks, chunk, decoder.crashed)
    for seen in decoded:
        yield from seen


def _by_threads(decoder: Decoder, count: int, chunks: Iterable[Sequence[Photo]]) -> Iterator[list[DecodedPhoto]]:
    """Pillow and torch release Python's lock while they decode and resize."""
    own = threading.local()

    def decode_chunk(photos: Sequence[Photo]) -> list[DecodedPhoto]:
        if not hasattr(own, "decoder"):
            own.decoder = deepcopy(decoder)  # with open archives of its own
        return [own.decoder.decode(photo) for photo in photos]

    threads = ThreadPoolExecutor(count, "decode")
    try:
        with warnings.catch_warnings():  # which decoders change, all at once
            yield from in_flight(lambda photos: threads.submit(decode_chunk, photos), chunks, AHEAD * count)
    finally:
        threads.shutdown(cancel_futures=True)


class _RefusedError(Exception):
    """The audit would refuse the file, and is asked for the reason."""


def _inspect(data: bytes, times: bool) -> tuple[str, tuple[int, int]]:
    """Refuse what the audit refuses but `decode` would accept; returns time, if requested, and size, upright."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=known_formats()) as image:
            cut = image.format in ("JPEG", "MPO") and ends_in_zeros(data)
            if image.width * image.height > LARGEST_PIXELS or cut or over_budget(image, data):
                raise _RefusedError
            if image.format == "PNG":
                Image.open(io.BytesIO(data), formats=["PNG"]).verify()  # decoding passes over the checksums
            on_its_side = orientation(image) in ON_THE_SIDE
            return time_taken(image) if times else "", (image.size[::-1] if on_its_side else image.size)


def _refused(why: Refusal | Content) -> DecodedPhoto:
    return DecodedPhoto(None, f"{why.reason}: {why.detail}")


@dataclass(frozen=True)
class _DecodeChunk:
    """The task of a worker process."""

    decoder: Decoder

    def __call__(self, photos: Sequence[Photo]) -> list[DecodedPhoto]:
        return [self._decode(photo) for photo in photos]

    def _decode(self, photo: Photo) -> DecodedPhoto:
        with ended_when_slow():
            return self.decoder.decode(photo)
