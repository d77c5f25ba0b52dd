"""Two files → whether they hold one exposure: saved again, scaled, mirrored, cropped, in other colours, or all of it.

The pictures, SIDE × SIDE each, are laid over each other by a crop and scale of each axis: the best of a grid, then
Gauss and Newton's steps on the grey levels, coarse to fine (Lucas and Kanade 1981, "An iterative image registration
technique"). What is left of each channel after the best tone curve, in both directions, is averaged over spots of some
0.1 % of the picture. Where the largest spot is no more than saving again explains, they are copies: an animal, or one
that moved, is more.
"""

import io
import warnings
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter, minimum_filter

from florafauna.orientation import TURNS, orientation
from florafauna.rgb import to_rgb

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

SIDE = 160
SPOT, PATCH = 1.8, 4.0  # standard deviations, in pixels, of what lightness and colour are averaged with
AROUND = 3.0  # and of a spot's surroundings
STEADY, TOLERANCE = 8.0, 0.12  # grey levels; share of the contrast around a spot
STEADY_COLOUR = 16.0
LUMA = np.array([0.299, 0.587, 0.114])

_COARSE = 32
_STARTS = ((0.0, 1.0), (0.0, 0.95), (0.05, 1.0), (0.025, 0.975), (0.0, 0.975), (0.025, 1.0))
_STEPS = ((2, 2.0, 4), (1, 1.8, 4))  # reduction, blur in its pixels, steps
_FAR = 0.15  # of a side: farther the edges of copies do not lie apart
_STILL = 3e-5
_CLIPPED, _HIDDEN = (4.0, 251.0), 24.0  # beyond these levels a channel has lost up to so many


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
    return difference(first, second) <= 1


def difference(first: Pixels, second: Pixels) -> float:
    """The largest difference of a spot, as a multiple of what saving again explains; infinite where none fits."""
    one, other = first.astype(np.float64), second.astype(np.float64)
    axes = _refined(one @ LUMA, other @ LUMA)
    if axes is None:
        return float("inf")
    laid, inside = _warped(one, axes)
    x, y = _averaged(laid, inside, SPOT), _averaged(other, inside, SPOT)
    return max(_unexplained(x, y, inside), _unexplained(y, x, inside))


def _unexplained(x: Floats, y: Floats, inside: Flags) -> float:
    """The largest of what is left of `y` after the best tone curve of each channel of `x`."""
    rest = y - np.stack([_toned(x[..., n], y[..., n], inside, 2) for n in range(3)], axis=-1)
    hidden = np.where((x < _CLIPPED[0]) | (x > _CLIPPED[1]), _HIDDEN, 0.0) @ LUMA
    lightness = rest @ LUMA
    grey = y @ LUMA
    contrast = np.sqrt(np.maximum(_averaged(grey**2, inside, AROUND) - _averaged(grey, inside, AROUND) ** 2, 0))
    left = np.maximum(np.abs(lightness) - hidden, 0) / (STEADY + TOLERANCE * contrast)
    colour = np.abs(_averaged(rest - lightness[..., None], inside, PATCH)) / STEADY_COLOUR
    return float(max(left[inside].max(), colour[inside].max()))


def _averaged(levels: Floats, inside: Flags, spread: float) -> Floats:
    """What lies around each pixel of the part `inside`."""
    mask = inside.astype(np.float64)
    sigma = (spread, spread, 0)[: levels.ndim]
    share = np.maximum(gaussian_filter(mask, spread, truncate=3), 1e-3)
    if levels.ndim == 3:
        return gaussian_filter(levels * mask[..., None], sigma, truncate=3) / share[..., None]
    return gaussian_filter(levels * mask, sigma, truncate=3) / share


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
        image, target = (part.reshape(size, reduced, size, reduced).mean((1, 3)) for part in (one, other))
        place = (np.arange(size) + 0.5) / size
        target = gaussian_filter(target, blur)
        for _ in range(steps):
            laid, inside = _warped(image, axes)
            known = minimum_filter(inside, 2 * int(blur) + 1)
            x = _toned(_averaged(laid, inside, blur), target, known, 1)
            rows, columns = (size * np.gradient(x, axis=axis)[known] for axis in (0, 1))
            down, across = (np.broadcast_to(part, x.shape)[known] for part in (place[:, None], place))
            slopes = np.stack([rows * down, rows, columns * across, columns])
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


def _warped(image: Floats, axes: Axes) -> tuple[Floats, Flags]:
    """`image` laid over the other, and where it covers it."""
    (down, rows), (across, columns) = (_sampling(scale, shift, len(image)) for scale, shift in axes)
    laid = np.tensordot(down, image, axes=1)
    return np.moveaxis(np.tensordot(across, laid, axes=(1, 1)), 0, 1), rows[:, None] & columns


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
