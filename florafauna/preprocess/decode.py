"""From a file's bytes to upright 8-bit RGB at the stored size. Needs no torch unless the given `resize` does."""

import io
import warnings
from importlib.metadata import version

import numpy as np
from PIL import Image, features

from florafauna.photos.upright import TURNS, orientation, to_rgb
from florafauna.pixels.centre import Resize

VERSION = 2  # to be raised when `decode` gives other pixels: pixels of earlier versions are then not reused
LONGEST = 4  # of the shorter side: of a longer panorama the middle is kept, or one photo could fill the memory


def stored_size(width: int, height: int, store_size: int) -> tuple[int, int]:
    """(height, width) of the stored pixels of an upright photo: the shorter side `store_size`, the aspect kept.

    The longer side is at most `LONGEST` times as long.
    """
    shorter, longer = sorted((width, height))
    longer = round(min(longer, LONGEST * shorter) * store_size / shorter)
    return (longer, store_size) if height > width else (store_size, longer)


def decode(data: bytes, store_size: int, resize: Resize) -> np.ndarray:
    """uint8 RGB of shape (*`stored_size`, 3), upright.

    A JPEG is decoded at the smallest of libjpeg's scales (1, 1/2, 1/4, 1/8) that is no smaller than needed: the
    inverse DCT of a fraction of the coefficients replaces most of the reduction. Raises what Pillow raises for an
    unreadable file; the audit has sorted those out before.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata and large photos, which the audit has judged
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            drafted = image.draft(None, (store_size, store_size))
            columns, rows = drafted[1][2:] if drafted else image.size
            pixels = _middle(np.array(to_rgb(image)))
            turn = TURNS.get(orientation(image))  # asked for last: a TIFF is turned by Pillow when it is loaded
    extent = min(rows, pixels.shape[0]), min(columns, pixels.shape[1])
    pixels = resize(pixels, *stored_size(width, height, store_size), "bicubic", extent)
    return pixels if turn is None else np.array(Image.fromarray(pixels).transpose(turn))


def decoder() -> str:
    """What the decoded pixels depend on besides the file and the stored size."""
    jpeg = features.version("libjpeg_turbo") or features.version("jpg")
    return f"{VERSION}, Pillow {Image.__version__}, libjpeg {jpeg}, torch {version('torch')}"


def _middle(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    longest = LONGEST * min(height, width)
    top, left = max(0, height - longest) // 2, max(0, width - longest) // 2
    return np.ascontiguousarray(pixels[top : top + longest, left : left + longest])
