"""A box around an animal → the rectangle that is cut out of the photo, and the cut, made while the photo is decoded.

Boxes are those of the upright picture: MegaDetector turns a photo by its EXIF orientation before it looks, and COCO's
boxes are drawn on what a viewer shows. Rectangles are whole pixels of that picture.
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from florafauna.base.files import sha256_bytes
from florafauna.photos.settings import BoxParams
from florafauna.photos.upright import TURNS, orientation, to_rgb

FRAGMENT = "#xywh="  # as in W3C's Media Fragments: photo.jpg#xywh=160,120,320,240
NAME = re.compile(rf"(.*){FRAGMENT}([-+.\daefinpx]*(?:,[-+.\daefinpx]*){{3}})", re.DOTALL)  # numbers, inf, nan, px
PIXELS = "px"


class Rectangle(NamedTuple):
    """Pixels of an upright photo, from its top left."""

    left: int
    top: int
    width: int
    height: int

    @property
    def text(self) -> str:
        """As tables hold it."""
        return ",".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> "Rectangle":
        """The rectangle of a `text`."""
        left, top, width, height = map(int, text.split(","))
        return cls(left, top, width, height)


class BoxError(ValueError):
    """A box that cannot be cut out; `reason` is one word for the quarantine."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def name_of(path: str, box: str) -> str:
    """The name of what is seen of a photo: its path, and the box as a fragment where there is one."""
    return f"{path}{FRAGMENT}{box}" if box else path


def split_name(name: str) -> tuple[str, str]:
    """The path and the box (or "") of a `name_of`."""
    found = NAME.fullmatch(name)
    return (found[1], found[2]) if found else (name, "")


def content_of(sha256: str, crop: str) -> str:
    """What tells the content of a crop, by the SHA-256 of the photo's file: that itself for a whole photo."""
    return sha256_bytes(name_of(sha256, crop).encode()) if crop else sha256


def box_text(box: Sequence[float], relative: bool = True) -> str:
    """A box (x, y, width, height) as text; `relative` to the sides of the upright photo, or pixels: "1,2,30,40px"."""
    return ",".join(map(repr, box)) + ("" if relative else PIXELS)


def parse_boxes(texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """float64 (n, 4) of `box_text`s, NaN for what is no number, and whether each is relative, bool (n,)."""
    texts = list(texts)
    boxes = [[_number(value) for value in text.removesuffix(PIXELS).split(",")] for text in texts]
    relative = np.array([not text.endswith(PIXELS) for text in texts], dtype=bool)
    return np.array(boxes, dtype=np.float64).reshape(-1, 4), relative


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def place(
    box: tuple[float, float, float, float], width: int, height: int, relative: bool = True, smallest: int = 1
) -> Rectangle:
    """The pixels that a box (x, y, width, height) covers of an upright photo of `width` × `height`.

    `relative` boxes are shares of its sides, others pixels. What reaches beyond the edge is clipped. `BoxError`: it is
    not made of finite numbers, has no extent, lies outside, or its longer side has fewer than `smallest` pixels.
    """
    shown = ", ".join(f"{value:.6g}" for value in box)
    if not all(map(math.isfinite, box)):
        raise BoxError("bad_box", f"its box ({shown}) is not four finite numbers")
    if min(box[2:]) <= 0:
        raise BoxError("bad_box", f"its box ({shown}) has no width or no height")
    across, down = (width, height) if relative else (1, 1)
    left, right = _clipped(box[0] * across, box[2] * across, width)
    top, bottom = _clipped(box[1] * down, box[3] * down, height)
    if left >= right or top >= bottom:
        raise BoxError("bad_box", f"its box ({shown}) lies outside the photo of {width} × {height} pixels")
    found = Rectangle(left, top, right - left, bottom - top)
    if max(found.width, found.height) < smallest:
        raise BoxError("small_box", f"its box has {found.width} × {found.height} pixels; boxes.smallest is {smallest}")
    return found


def _clipped(start: float, length: float, end: int) -> tuple[int, int]:
    """Where a stretch begins and ends in whole pixels, at least one of those within the photo that it touches."""
    first, last = max(start, 0.0), min(start + length, float(end))
    if not first < last:  # as for what overflows to NaN
        return 0, 0
    low = min(round(first), end - 1)
    return low, max(round(last), low + 1)


def crop_of(box: Rectangle, width: int, height: int, params: BoxParams) -> Rectangle:
    """What is cut out for a box: grown by `padding` of its side on each side and, if so set, to a square.

    A crop that would leave the photo is moved into it, and no larger than it.
    """
    across, down = (side * (1 + 2 * params.padding) for side in (box.width, box.height))
    if params.square:
        across = down = max(across, down)
    left, columns = _within(box.left + box.width / 2, across, width)
    top, rows = _within(box.top + box.height / 2, down, height)
    return Rectangle(left, top, columns, rows)


def _within(centre: float, length: float, end: int) -> tuple[int, int]:
    whole = min(round(length), end)
    return min(max(round(centre - whole / 2), 0), end - whole), whole


def cut(
    image: Image.Image, crop: Rectangle, side: int, decoded: dict[tuple[int, int], Image.Image] | None = None
) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """The upright RGB cut of an opened, not yet loaded picture, and the crop's (left, top, right, bottom) in it.

    A JPEG is decoded at the smallest of libjpeg's scales at which the crop's shorter side keeps `side` pixels: a small
    box at full resolution. The crop then begins and ends within pixels of the cut; else it is the whole of it.
    `decoded` holds what was decoded of the same photo for other crops, by size.
    """
    scale = side / min(crop.width, crop.height)
    width = image.width
    drafted = image.draft(None, (math.ceil(width * scale), math.ceil(image.height * scale)))
    reduced = width / drafted[1][2] if drafted else 1.0
    scaled = image.size
    picture = decoded.get(scaled) if decoded is not None else None
    if picture is None:
        picture = to_rgb(image)
        turn = TURNS.get(orientation(image))  # asked for last: a TIFF is turned by Pillow when it is loaded
        picture = picture if turn is None else picture.transpose(turn)
        if decoded is not None:
            decoded[scaled] = picture
    left, top = crop.left / reduced, crop.top / reduced
    right, bottom = (crop.left + crop.width) / reduced, (crop.top + crop.height) / reduced
    first, above = math.floor(left), math.floor(top)
    outer = (first, above, min(math.ceil(right), picture.width), min(math.ceil(bottom), picture.height))
    return picture.crop(outer), (left - first, top - above, right - first, bottom - above)
