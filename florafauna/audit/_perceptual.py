"""One picture → what its copies still share: 64-bit hashes and a 16 × 16 thumbnail to confirm a match with.

The hash is the DCT hash of Zauner (2010, "Implementation and Benchmarking of Perceptual Image Hash Functions") with
three changes, which `python -m benchmarks duplicates` measures together: a bit is the sign of a coefficient (not its
side of the median), so that a mirrored picture's hash is the same hash with known bits flipped; the 64 coefficients
are those of lowest frequency, which survive crops best; and a picture has one hash for each of six views of it
(whole, and cropped by 5 % towards each corner and the centre), because a crop of 5 % alone moves half of plain hashes
by more than 7 bits, one in a hundred by more than 15.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dct
from scipy.ndimage import gaussian_filter

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]

SIDE = 48  # grey pixels a side that hashes are computed from
THUMBNAIL = 16  # pixels a side of the thumbnail that is kept
BITS = 64
BANDS = 4  # the hash as four fields of 16 bits, each with low and high frequencies

# A picture whose grey levels vary by less than this standard deviation (of 255) shows nothing to recognise it by:
# its hash is sensor noise. A lens cap or a night without a flash gives 0 to 2, the palest
# of 790 photos of the benchmark's set 17.
FLAT_BELOW = 2.5

# Views of a picture as (left, right) and (top, bottom) shares of its sides; the first is the whole of it.
_CORNERS = ((0.0, 0.95), (0.05, 1.0))
VIEWS = (
    ((0.0, 1.0), (0.0, 1.0)),
    ((0.025, 0.975), (0.025, 0.975)),
    *((across, down) for across in _CORNERS for down in _CORNERS),
)

# Thumbnails are compared under crops of up to 7 % a side: a view's hash tolerates a little more than its 5 %.
_CROPS = (0.02, 0.035, 0.05, 0.07)
_POSITIONS = (0.0, 0.5, 1.0)
_BLUR = 0.7  # pixels; lets thumbnails that are off by a fraction of a pixel agree

# Correlation above which two thumbnails show one picture; benchmarks/RESULTS.md says what it finds and what it merges.
# Unlike photographs whose hashes come close (a pale round flower on a dark ground, twice) just reach it.
SAME_ABOVE = 0.95


def grey_square(image: Image.Image) -> Bytes:
    """An upright RGB picture in grey, as SIDE × SIDE levels 0 to 255, whatever its aspect."""
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0))


def is_flat(square: Bytes) -> bool:
    """Whether a grey square shows nothing: black, white or grey all over."""
    return bool(square.std() < FLAT_BELOW)


def thumbnail(square: Bytes) -> Bytes:
    """The grey square reduced to THUMBNAIL × THUMBNAIL."""
    step = SIDE // THUMBNAIL
    return square.reshape(THUMBNAIL, step, THUMBNAIL, step).mean((1, 3)).round().astype(np.uint8)


def view_hashes(square: Bytes) -> Hashes:
    """The 64-bit hash of every view of a grey square; shape (views,)."""
    levels = square.astype(np.float64)
    signs = np.empty((len(VIEWS), BITS), dtype=bool)
    for view, (down, across) in enumerate(_view_transforms()):
        coefficients = down @ levels @ across.T
        signs[view] = coefficients[_rows(), _columns()] > 0
    packed = np.packbits(signs[:, _bit_order()], axis=1, bitorder="little")
    return np.ascontiguousarray(packed).view("<u8").astype(np.uint64).ravel()


def mirrored(hashes: Hashes) -> Hashes:
    """The hashes that the left-right mirrored pictures have: odd horizontal frequencies change their sign."""
    odd = np.packbits((_columns() % 2 == 1)[_bit_order()], bitorder="little").view("<u8").astype(np.uint64)[0]
    return hashes ^ odd


def same_picture(first: Bytes, second: Bytes) -> npt.NDArray[np.bool_]:
    """Whether the thumbnails of each pair show one picture, either being a crop of the other.

    `first` and `second` have shape (pairs, THUMBNAIL, THUMBNAIL); returns (pairs,).
    """
    first_levels, second_levels = _blurred(first), _blurred(second)
    same = _correlation(first_levels, second_levels) >= SAME_ABOVE
    for down, across in _crop_transforms():
        open_pairs = np.flatnonzero(~same)
        if len(open_pairs) == 0:
            break
        one, other = first_levels[open_pairs], second_levels[open_pairs]
        same[open_pairs] = (_correlation(down @ one @ across.T, other) >= SAME_ABOVE) | (
            _correlation(one, down @ other @ across.T) >= SAME_ABOVE
        )
    return same


def _blurred(thumbnails: Bytes) -> Floats:
    return gaussian_filter(thumbnails.astype(np.float64), (0, _BLUR, _BLUR))


def _correlation(first: Floats, second: Floats) -> Floats:
    first = first - first.mean((1, 2), keepdims=True)
    second = second - second.mean((1, 2), keepdims=True)
    norms = np.sqrt((first**2).sum((1, 2)) * (second**2).sum((1, 2)))
    return (first * second).sum((1, 2)) / np.maximum(norms, 1e-12)


@cache
def _frequencies() -> npt.NDArray[np.intp]:
    """The 64 lowest (row, column) frequencies without the constant, lowest sum first; shape (64, 2)."""
    pairs = [(row, column) for row in range(11) for column in range(11) if row or column]
    pairs.sort(key=lambda pair: (sum(pair), abs(pair[0] - pair[1]), pair))
    return np.array(pairs[:BITS])


def _rows() -> npt.NDArray[np.intp]:
    return _frequencies()[:, 0]


def _columns() -> npt.NDArray[np.intp]:
    return _frequencies()[:, 1]


@cache
def _bit_order() -> npt.NDArray[np.intp]:
    """Which frequency each bit takes: band b holds frequencies b, b + 4, b + 8, …, so that no band is all noise."""
    return np.arange(BITS).reshape(BITS // BANDS, BANDS).T.ravel()


@cache
def _view_transforms() -> tuple[tuple[Floats, Floats], ...]:
    """For each view the matrices that crop, resample to 32 × 32 and take the DCT of a grey square."""
    lowest = dct(np.eye(32), axis=0, norm="ortho")[: int(_frequencies().max()) + 1]
    return tuple((lowest @ _resample(*down, SIDE, 32), lowest @ _resample(*across, SIDE, 32)) for across, down in VIEWS)


@cache
def _crop_transforms() -> tuple[tuple[Floats, Floats], ...]:
    """For each crop tried the matrices that take it out of a thumbnail and stretch it to a thumbnail again."""
    return tuple(
        (
            _resample(top * crop, 1 - crop + top * crop, THUMBNAIL, THUMBNAIL),
            _resample(left * crop, 1 - crop + left * crop, THUMBNAIL, THUMBNAIL),
        )
        for crop in _CROPS
        for top in _POSITIONS
        for left in _POSITIONS
    )


def _resample(start: float, end: float, size: int, cells: int) -> Floats:
    """The matrix that averages the stretch [start, end] of `size` pixels into `cells` equal cells."""
    edges = np.linspace(start * size, end * size, cells + 1)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.clip(overlap, 0, None)
    return weights / weights.sum(axis=1, keepdims=True)
