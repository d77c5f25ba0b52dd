"""`resize` without torch: the arithmetic of torch's kernel for 8-bit pixels in numpy, equal to the last bit.

The fixed-point filter is Pillow's: 16-bit integer taps with as many fractional bits as fit, rows first, the
intermediate result rounded to 8 bits. It is ten times slower than torch's, which is why photos are stored with
`florafauna.pixels.resize`; this one is for machines without torch.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array

from florafauna.base.errors import UserError

MOST_BITS = 22
Filter = Callable[[np.ndarray], np.ndarray]


def resize(
    pixels: np.ndarray, height: int, width: int, mode: str, extent: tuple[float, float] | None = None
) -> np.ndarray:
    """See `florafauna.pixels.resize.resize`."""
    if mode not in FILTERS:
        raise UserError(f"interpolation '{mode}' is not known here; set the model's interpolation to bicubic.")
    rows, columns = extent or pixels.shape[:2]
    if (rows, columns) == (height, width) == pixels.shape[:2]:
        return pixels
    given = (rows, columns) != pixels.shape[:2]
    for size, covered in ((width, columns), (height, rows)):  # each pass brings the other axis to the front
        pixels = pixels.transpose(1, 0, 2)
        if given or size != len(pixels):
            # torch is given the inverse of an extent, as the next float up
            scale = 1 / math.nextafter(size / covered, math.inf) if given else len(pixels) / size
            pixels = _resampled(pixels, size, scale, *FILTERS[mode])
    return np.ascontiguousarray(pixels)


def _resampled(pixels: np.ndarray, size: int, scale: float, kernel: Filter, reach: float) -> np.ndarray:
    """uint8 (size, n, 3) of uint8 (any, n, 3); `scale` is input per output pixels, `reach` the radius of the filter."""
    weights = _weights(len(pixels), size, scale, kernel, reach)
    bits = _bits(float(weights.data.max()))
    fixed = weights * float(1 << bits)
    fixed.data = np.trunc(fixed.data + np.copysign(0.5, fixed.data))
    sums = fixed.astype(np.int32) @ pixels.reshape(len(pixels), -1).astype(np.int32)
    return (((sums + (1 << (bits - 1))) >> bits).clip(0, 255)).astype(np.uint8).reshape(size, *pixels.shape[1:])


def _weights(length: int, size: int, scale: float, kernel: Filter, reach: float) -> csr_array:
    """float64 (size, length), each row normalised."""
    stretch = max(scale, 1.0)
    support = reach * stretch
    centres = scale * (np.arange(size) + 0.5)
    first = (centres - support + 0.5).astype(np.int64).clip(0)
    counts = (centres + support + 0.5).astype(np.int64).clip(None, length) - first
    counts = counts.clip(0, math.ceil(support) * 2 + 1)
    taps = np.arange(counts.max())
    there = taps < counts[:, None]
    values = np.where(there, kernel((taps + first[:, None] - centres[:, None] + 0.5) * (1 / stretch)), 0.0)
    total = np.zeros(size)
    for column in values.T:  # one after the other, in torch's order of summation
        total += column
    values /= total[:, None]
    ends = np.concatenate([[0], np.cumsum(counts)])
    return csr_array((values[there], (taps + first[:, None])[there], ends), shape=(size, length))


def _bits(largest: float) -> int:
    """The number of fractional bits with which the largest weight still fits into 16 bits."""
    return next((bits for bits in range(MOST_BITS) if int(0.5 + largest * (1 << (bits + 1))) >= 1 << 15), MOST_BITS)


def _bilinear(x: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1 - np.abs(x))


def _bicubic(x: np.ndarray) -> np.ndarray:
    """Keys (1981) with a = -0.5, as in Pillow."""
    x, a = np.abs(x), -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


FILTERS: dict[str, tuple[Filter, float]] = {"bilinear": (_bilinear, 1.0), "bicubic": (_bicubic, 2.0)}
