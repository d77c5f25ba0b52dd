"""Two files → whether they hold one exposure: saved again, scaled, mirrored, cropped, in other colours, or all of it.

The pictures, SIDE × SIDE each, are laid over each other by a crop and scale of each axis: the best of a grid, then
Gauss and Newton's steps on the grey levels, coarse to fine (Lucas and Kanade 1981, "An iterative image registration
technique"). What is left of each channel after the best tone curve, in both directions, is averaged over spots of some
0.1 % of the picture. Where the largest spot is no more than saving again explains, they are copies: an animal, or one
that moved, is more.
"""

import io
import warnings
from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from florafauna.orientation import TURNS, orientation
from florafauna.rgb import to_rgb

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Inside = tuple[Flags, Flags]  # rows and columns
Matrices = tuple[Floats, Floats]  # for rows and columns

# Chosen on every second photo of ../shared/photos; `python -m benchmarks duplicates` measures them on the others.
SIDE = 160
SPOT, PATCH = 1.8, 4.0  # standard deviations, in pixels, of what lightness and colour are averaged with
AROUND = 3.0  # and of a spot's surroundings
STEADY, TOLERANCE = 8.0, 0.12  # grey levels; share of the contrast around a spot
STEADY_COLOUR = 16.0
LUMA = np.array([0.299, 0.587, 0.114])

_COARSE = 32
_STARTS = ((0.0, 1.0), (0.0, 0.95), (0.05, 1.0), (0.025, 0.975), (0.0, 0.975), (0.025, 1.0))
_STEPS = ((2, 2.0, 4), (1, 1.8, 4))  # reduction, blur in its pixels, steps
_FAR = 0.15  # of a side: the edges of copies lie no farther apart
_STILL = 3e-5  # of a side; a smaller step is the last
_CLIPPED, _HIDDEN = (4.0, 251.0), 24.0  # darker or brighter, a channel may have lost so many levels


def picture(data: bytes) -> Pixels | None:
    """An encoded photo, upright, as uint8 RGB (SIDE, SIDE, 3), whatever its aspect; None where it does not decode."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                image.draft(None, (2 * SIDE, 2 * SIDE))
                small = to_rgb(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0)
                turn = TURNS.get(orientation(image))
    except Exception:  # whatever a decoder stumbles over
        return None
    return np.asarray(small if turn is None else small.transpose(turn))


def same_exposure(first: Pixels, second: Pixels) -> bool:
    """Whether two pictures as `picture` gives them are copies of each other; a mirrored one is to be turned back."""
    return all(difference <= 1 for difference in differences(first, second))


def differences(first: Pixels, second: Pixels) -> Iterator[float]:
    """The largest difference of a spot, as a multiple of what saving again explains, in either direction.

    Infinite where no crop fits.
    """
    one, other = (np.moveaxis(pixels, 2, 0).astype(np.float64) for pixels in (first, second))
    axes = _refined(_grey(one), _grey(other))
    if axes is None:
        yield float("inf")
        return
    (down, rows), (across, columns) = (_sampling(scale, shift, SIDE) for scale, shift in axes)
    inside = rows, columns
    blur = _averaging(inside, SPOT)
    x, y = _applied((blur[0] @ down, blur[1] @ across), one), _applied(blur, other)
    yield _unexplained(x, y, inside)
    yield _unexplained(y, x, inside)


def _unexplained(x: Floats, y: Floats, inside: Inside) -> float:
    """The largest of what is left of `y` after the best tone curve of each channel of `x`."""
    known = inside[0][:, None] & inside[1]
    rest = y - np.stack([_toned(levels, target, known, 2) for levels, target in zip(x, y, strict=True)])
    hidden = _HIDDEN * _grey((x < _CLIPPED[0]) | (x > _CLIPPED[1]))
    lightness, grey = _grey(rest), _grey(y)
    around = _averaging(inside, AROUND)
    contrast = np.sqrt(np.maximum(_applied(around, grey**2) - _applied(around, grey) ** 2, 0))
    left = np.maximum(np.abs(lightness) - hidden, 0) / (STEADY + TOLERANCE * contrast)
    colour = np.abs(_applied(_averaging(inside, PATCH), rest - lightness)) / STEADY_COLOUR
    return float(max(left[known].max(), colour[:, known].max()))


def _averaging(inside: Inside, spread: float) -> Matrices:
    """The matrices that average what lies around each pixel, of the part `inside`."""
    down, across = (_bell(len(part), spread) * part for part in inside)
    return (
        down / np.maximum(down.sum(axis=1, keepdims=True), 1e-9),
        across / np.maximum(across.sum(axis=1, keepdims=True), 1e-9),
    )


@cache
def _bell(size: int, spread: float) -> Floats:
    at = np.arange(size)
    return np.asarray(np.exp(-(((at[:, None] - at) / spread) ** 2) / 2))


def _applied(matrices: Matrices, levels: Floats) -> Floats:
    """Both matrices on the rows and columns of one channel or several, (channels, rows, columns)."""
    return np.asarray(matrices[0] @ levels @ matrices[1].T)


def _grey(channels: Floats | Flags) -> Floats:
    return np.tensordot(LUMA, channels, axes=1)


# ---- tone


def _toned(levels: Floats, target: Floats, known: Flags, rounds: int) -> Floats:
    """The smooth function of `levels` nearest to `target` where `known`: white balance, gain, gamma and clipping."""
    places = np.rint(levels.clip(0, 255)).astype(np.int64)
    place, y = places[known], target[known]
    basis, smooth = _hats()
    weights = np.ones(len(y))
    for turn in range(rounds):
        count, total = np.bincount(place, weights, 256), np.bincount(place, weights * y, 256)
        curve = basis @ np.linalg.solve((basis.T * count) @ basis + smooth, basis.T @ total)
        if turn + 1 < rounds:
            weights = _trusted(y - curve[place])
    return np.interp(levels, np.arange(256.0), curve)


def _trusted(rest: Floats) -> Floats:
    """Weights that leave what differs most, such as an animal, without influence."""
    return 1 / (1 + (rest / (3 * np.median(np.abs(rest)) + 1)) ** 2)


@cache
def _hats() -> tuple[Floats, Floats]:
    """Piecewise linear functions of 256 levels, as columns, and a mild cost of bends between them."""
    knots = np.linspace(0, 255, 11)
    basis = np.maximum(0, 1 - np.abs(np.arange(256.0)[:, None] - knots) / knots[1])
    bends = np.diff(np.eye(len(knots)), 2, axis=0)
    return basis, 20.0 * bends.T @ bends + 1e-6 * np.eye(len(knots))


# ---- place

Axis = tuple[float, float]  # scale and shift, in sides of the picture
Axes = tuple[Axis, Axis]  # down and across


def _start(one: Floats, other: Floats) -> Axes:
    """The best crop of a grid, of either picture."""
    step = SIDE // _COARSE
    image, target = (
        gaussian_filter(part.reshape(_COARSE, step, _COARSE, step).mean((1, 3)), 0.7) for part in (one, other)
    )
    maps = [(end - start, start) for start, end in _STARTS]
    maps += [(1 / scale, -shift / scale) for scale, shift in maps[1:]]
    matrices, insides = zip(*(_sampling(scale, shift, _COARSE) for scale, shift in maps), strict=True)
    stack, masks = np.stack(matrices), np.stack(insides).astype(np.float64)
    x = np.einsum("aij,bkj->abik", stack @ image, stack, optimize=True)
    total = masks.sum(1)[:, None] * masks.sum(1)

    def summed(levels: Floats) -> Floats:
        return np.asarray(np.einsum("abik,ai,bk->ab", levels, masks, masks, optimize=True)) / total

    y = np.broadcast_to(target, x.shape)
    mean_x, mean_y = summed(x), summed(y)
    variances = (summed(x * x) - mean_x**2) * (summed(y * y) - mean_y**2)
    correlation = (summed(x * y) - mean_x * mean_y) / np.sqrt(np.maximum(variances, 1e-9))
    down, across = np.unravel_index(int(correlation.argmax()), correlation.shape)
    return maps[down], maps[across]


def _refined(one: Floats, other: Floats) -> Axes | None:
    """The crop of `one` that fits `other`; None where the steps lead out of the largest crop."""
    axes = _start(one, other)
    for reduced, blur, steps in _STEPS:
        size = SIDE // reduced
        image, aim = (part.reshape(size, reduced, size, reduced).mean((1, 3)) for part in (one, other))
        place = (np.arange(size) + 0.5) / size
        for _ in range(steps):
            (down, rows), (across, columns) = (_sampling(scale, shift, size) for scale, shift in axes)
            around = _averaging((rows, columns), blur)
            target = _applied(around, aim)
            known = rows[:, None] & columns
            x = _toned(_applied((around[0] @ down, around[1] @ across), image), target, known, 1)
            by_row, by_column = (size * np.gradient(x, axis=axis)[known] for axis in (0, 1))
            row, column = (np.broadcast_to(part, x.shape)[known] for part in (place[:, None], place))
            slopes = np.stack([by_row * row, by_row, by_column * column, by_column])
            rest = (target - x)[known]
            weighted = slopes * _trusted(rest)
            system = weighted @ slopes.T
            step = np.linalg.solve(system + 1e-6 * (np.trace(system) + 1) * np.eye(4), weighted @ rest)
            grown = step.clip(-0.03, 0.03).tolist()
            axes = _moved(axes[0], *grown[:2]), _moved(axes[1], *grown[2:])
            if not all(abs(shift) < _FAR and abs(scale + shift - 1) < _FAR for scale, shift in axes):
                return None
            if np.abs(step).max() < _STILL:
                break
    return axes


def _moved(axis: Axis, grown: float, by: float) -> Axis:
    scale, shift = axis
    return scale * (1 + grown), shift + scale * by


def _sampling(scale: float, shift: float, size: int) -> tuple[Floats, Flags]:
    """The matrix that takes `size` samples at scale · x + shift (Keys' cubic), and which of them lie inside."""
    at = (scale * (np.arange(size) + 0.5) / size + shift) * size - 0.5
    inside = (at >= -0.5) & (at <= size - 0.5)
    at = at.clip(0, size - 1)
    matrix = np.zeros((size, size))
    for offset in range(-1, 3):
        taken = np.floor(at).astype(np.int64) + offset
        away = np.abs(at - taken)
        near, far = 1.5 * away**3 - 2.5 * away**2 + 1, -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
        np.add.at(matrix, (np.arange(size), taken.clip(0, size - 1)), np.where(away < 1, near, far))
    return matrix, inside
