"""What a model is shown of a photo when it is not trained: the centre, and how many photos at once. Needs no torch."""

import math
from collections.abc import Callable

import numpy as np

PREDICTION_BATCH = 64  # one size everywhere: a batch's size decides how a matrix product is summed

# (pixels, height, width, mode, extent) → pixels: pixels.resize, or predict._resample where there is no torch
Resize = Callable[..., np.ndarray]


def centre(photo: np.ndarray, size: int, crop_pct: float, interpolation: str, resize: Resize) -> np.ndarray:
    """uint8 (size, size, 3) of a uint8 (height, width, 3) photo, as timm evaluates.

    The shorter side becomes size / crop_pct, of which the centre square is cut.
    """
    height, width = photo.shape[:2]
    shorter = math.floor(size / crop_pct)
    longer = int(shorter * max(height, width) / min(height, width))
    height, width = (longer, shorter) if height > width else (shorter, longer)
    pixels = resize(np.array(photo), height, width, interpolation)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return pixels[top : top + size, left : left + size]
