"""From a file's bytes to upright 8-bit RGB at the stored size. Needs no torch unless the given `resize` does."""

import io
import warnings
from importlib.metadata import version

import numpy as np
from PIL import Image, ImageFile, features

from florafauna.base.code import code_hash
from florafauna.photos.crops import Rectangle, cut
from florafauna.photos.upright import TURNS, orientation, to_rgb
from florafauna.pixels.centre import Resize

LONGEST = 4  # of the shorter side: of a longer panorama the middle is kept, or one photo could fill the memory


def stored_size(width: int, height: int, store_size: int) -> tuple[int, int]:
    """(height, width) of the stored pixels of an upright photo: the shorter side `store_size`, the aspect kept.

    The longer side is at most `LONGEST` times as long.
    """
    shorter, longer = sorted((width, height))
    longer = round(min(longer, LONGEST * shorter) * store_size / shorter)
    return (longer, store_size) if height > width else (store_size, longer)


def decode(
    data: bytes,
    store_size: int,
    resize: Resize,
    crop: Rectangle | None = None,
    decoded: dict[tuple[int, int], Image.Image] | None = None,
) -> np.ndarray:
    """uint8 RGB of shape (*`stored_size`, 3), upright; of the whole photo or of a `crop` of it.

    A JPEG is decoded at the smallest of libjpeg's scales (1, 1/2, 1/4, 1/8) that is no smaller than needed: the
    inverse DCT of a fraction of the coefficients replaces most of the reduction. Raises what Pillow raises for an
    unreadable file; the audit has sorted those out before. `decoded` is for further crops of the same photo.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it, MegaDetector's does
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata and large photos, which the audit has judged
        with Image.open(io.BytesIO(data)) as image:
            if crop is not None:
                height, width = stored_size(crop.width, crop.height, store_size)
                picture, within = cut(image, _middle_of(crop), store_size, decoded)
                # Pillow's, since a crop may begin within a pixel of a reduced picture
                return np.array(picture.resize((width, height), Image.Resampling.BICUBIC, within))
            width, height = image.size
            drafted = image.draft(None, (store_size, store_size))
            columns, rows = drafted[1][2:] if drafted else image.size
            pixels = _middle(np.array(to_rgb(image)))
            turn = TURNS.get(orientation(image))  # asked for last: a TIFF is turned by Pillow when it is loaded
    extent = min(rows, pixels.shape[0]), min(columns, pixels.shape[1])
    pixels = resize(pixels, *stored_size(width, height, store_size), "bicubic", extent)
    return pixels if turn is None else np.array(Image.fromarray(pixels).transpose(turn))


def stored_box(box: Rectangle, width: int, height: int, store_size: int) -> Rectangle | None:
    """Where a box of an upright photo of `width` × `height` lies in its stored pixels; None where it was cut off."""
    kept = _middle_of(Rectangle(0, 0, width, height))
    rows, columns = stored_size(width, height, store_size)
    left, right = _stored(box.left - kept.left, box.width, columns, kept.width)
    top, bottom = _stored(box.top - kept.top, box.height, rows, kept.height)
    return Rectangle(left, top, right - left, bottom - top) if right > left and bottom > top else None


def _stored(start: int, length: int, stored: int, original: int) -> tuple[int, int]:
    first, last = start * stored // original, -(-(start + length) * stored // original)
    return max(first, 0), min(last, stored)


def decoder() -> str:
    """What the decoded pixels depend on besides the file and the stored size: this code and the libraries."""
    code = code_hash(__name__, *(f"florafauna.{name}" for name in ("photos.crops", "photos.upright", "pixels.resize")))
    jpeg = features.version("libjpeg_turbo") or features.version("jpg")
    torch = version("torch").partition("+")[0]  # builds for GPUs resize on the CPU as all others do
    return f"code {code}, Pillow {Image.__version__}, libjpeg {jpeg}, torch {torch}"


def _middle(pixels: np.ndarray) -> np.ndarray:
    left, top, width, height = _middle_of(Rectangle(0, 0, pixels.shape[1], pixels.shape[0]))
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def _middle_of(whole: Rectangle) -> Rectangle:
    longest = LONGEST * min(whole.width, whole.height)
    width, height = min(whole.width, longest), min(whole.height, longest)
    left, top = whole.left + (whole.width - width) // 2, whole.top + (whole.height - height) // 2
    return Rectangle(left, top, width, height)
