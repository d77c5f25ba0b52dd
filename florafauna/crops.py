"""Training views made on the device: the CPU draws and crops, the device resizes, flips and augments.

What is drawn is `TrainView`'s own, so that it does not depend on where a view is made. The operations give Pillow's
result bit for bit; only resizing rounds otherwise (by a level or two of 255, and few pixels), after which a threshold
may fall elsewhere.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import interpolate

from florafauna.compute import Compute
from florafauna.policies import Step
from florafauna.store import PixelStore
from florafauna.views import Draw, TrainView

FIXED = 1 << 16  # Pillow counts the places of an affine transform in 1/65536 of a pixel
COLUMNS = 6  # numbers that an operation takes, at most


@dataclass(frozen=True)
class CropBatch:
    """uint8 crops of photos one after the other, and what is to be done with them.

    `groups` are (kind, first, last) ranges of `rows` (photos of the batch) and `numbers` (one line an operation), in
    the order in which they are applied: what is alike is done for all photos at once.
    """

    pixels: torch.Tensor  # uint8 (bytes,)
    sizes: tuple[tuple[int, int], ...]  # height, width of each crop
    groups: tuple[tuple[str, int, int], ...]
    rows: torch.Tensor  # int64 (operations,)
    numbers: torch.Tensor  # float64 (operations, COLUMNS)
    targets: torch.Tensor
    names: tuple[str, ...]

    def pin_memory(self) -> "CropBatch":
        """What DataLoader calls so that copies to the GPU need not wait."""
        return replace(
            self,
            pixels=self.pixels.pin_memory(),
            rows=self.rows.pin_memory(),
            numbers=self.numbers.pin_memory(),
            targets=self.targets.pin_memory(),
        )


def unsupported(view: TrainView) -> set[str]:
    """The kinds of operations in the view's policy that the device has not."""
    policy = view.policy
    if policy is None:
        return set()
    return policy.kinds - set(OPERATIONS) - set(AFFINE) - {"Desaturate"} if policy.records else {"a random blur or mix"}


def collect_crops(store: PixelStore, view: TrainView, rows: np.ndarray, epoch: int) -> CropBatch:
    """The crops of some photos, and their draws."""
    names = tuple(store.names[row] for row in rows)
    photos = [store.photo(row) for row in rows]
    draws = [view.draw(photo.shape[0], photo.shape[1], epoch, name) for photo, name in zip(photos, names, strict=True)]
    crops = [draw.crop(photo).reshape(-1) for photo, draw in zip(photos, draws, strict=True)]
    groups, places, numbers = _plan(draws, view.size)
    return CropBatch(
        torch.from_numpy(np.concatenate(crops)),
        tuple((draw.height, draw.width) for draw in draws),
        groups,
        torch.tensor(places, dtype=torch.int64),
        torch.tensor(numbers, dtype=torch.float64).view(-1, COLUMNS),
        torch.from_numpy(store.targets[rows]),
        names,
    )


def render(batch: CropBatch, view: TrainView, compute: Compute) -> torch.Tensor:
    """uint8 (photos, 3, size, size) in channels_last, on the device, without waiting for it."""
    pixels, rows, numbers = (compute.send(tensor) for tensor in (batch.pixels, batch.rows, batch.numbers))
    images = torch.empty(len(batch.sizes), view.size, view.size, 3, dtype=torch.uint8, device=pixels.device)
    images = images.permute(0, 3, 1, 2)
    start = 0
    for image, (height, width) in zip(images, batch.sizes, strict=True):
        crop = pixels[start : start + height * width * 3].view(1, height, width, 3).permute(0, 3, 1, 2)
        start += height * width * 3
        image.copy_(_resized(crop, view)[0])
    for kind, first, last in batch.groups:
        places = rows[first:last]
        images[places] = operate(kind, images[places], numbers[first:last], view.fill)
    return images


def _resized(crop: torch.Tensor, view: TrainView) -> torch.Tensor:
    """First the rows, then the columns, rounded in between, as the CPU's 8-bit kernel does."""
    values = crop.float()
    for size in ((crop.shape[2], view.size), (view.size, view.size)):
        if values.shape[2:] != size:
            values = interpolate(values, size, mode=view.interpolation, antialias=True).round_().clamp_(0, 255)
    return values


def operate(kind: str, images: torch.Tensor, numbers: torch.Tensor, fill: Sequence[int]) -> torch.Tensor:
    """One kind of operation on uint8 (photos, 3, height, width), with a line of `numbers` for each photo."""
    if kind == "Affine":
        return _affine(images, numbers, fill)
    return OPERATIONS[kind](images, numbers[:, 0].view(-1, 1, 1, 1))


def _plan(draws: Sequence[Draw], size: int) -> tuple[tuple[tuple[str, int, int], ...], list[int], list[list[float]]]:
    """Groups, rows and numbers of a `CropBatch`: the first operations of all photos by kind, then the second, …"""
    by_turn: dict[tuple[int, str], list[tuple[int, list[float]]]] = {}
    for row, draw in enumerate(draws):
        operations: list[tuple[str, list[float]]] = [("FlipX", [])] * draw.flips_horizontally
        operations += [("FlipY", [])] * draw.flips_vertically
        operations += [for_device(step, size) for step in draw.steps]
        for turn, (kind, numbers) in enumerate(operations):
            by_turn.setdefault((turn, kind), []).append((row, numbers))
    groups: list[tuple[str, int, int]] = []
    rows: list[int] = []
    lines: list[list[float]] = []
    for (_, kind), members in sorted(by_turn.items()):
        groups.append((kind, len(rows), len(rows) + len(members)))
        rows += [row for row, _ in members]
        lines += [[*numbers, *[0.0] * (COLUMNS - len(numbers))] for _, numbers in members]
    return tuple(groups), rows, lines


def for_device(step: Step, size: int) -> tuple[str, list[float]]:
    """The kind and the numbers with which `operate` does a step on a view of this size."""
    if step.kind in AFFINE:
        return "Affine", AFFINE[step.kind](step.arguments[0], size)
    if step.kind == "Desaturate":
        return "Color", [min(1.0, max(0.0, 1.0 - step.arguments[0]))]
    return step.kind, list(step.arguments)


# affine transforms as Pillow's: where the pixel at (x, y) comes from, x·a + y·b + c and x·d + y·e + f


def _fixed(a: float, b: float, c: float, d: float, e: float, f: float) -> list[float]:
    """The matrix for the middles of pixels, in 1/65536 of a pixel."""
    values = (a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5)
    return [float(math.floor(value * FIXED + 0.5)) for value in values]


def _rotation(degrees: float, size: int) -> list[float]:
    angle = -math.radians(degrees % 360)
    cosine, sine, middle = round(math.cos(angle), 15), round(math.sin(angle), 15), size / 2
    x, y = -middle * cosine - middle * sine + middle, middle * sine - middle * cosine + middle
    return _fixed(cosine, sine, x, -sine, cosine, y)


def _shift(pixels: float) -> float:
    return float(math.floor(pixels + 0.5))  # whole pixels, as Pillow takes the nearest


AFFINE: dict[str, Callable[[float, int], list[float]]] = {
    "Rotate": _rotation,
    "ShearX": lambda factor, size: _fixed(1, factor, 0, 0, 1, 0),
    "ShearY": lambda factor, size: _fixed(1, 0, 0, factor, 1, 0),
    "TranslateX": lambda pixels, size: _fixed(1, 0, _shift(pixels), 0, 1, 0),
    "TranslateY": lambda pixels, size: _fixed(1, 0, 0, 0, 1, _shift(pixels)),
    "TranslateXRel": lambda share, size: _fixed(1, 0, _shift(share * size), 0, 1, 0),
    "TranslateYRel": lambda share, size: _fixed(1, 0, 0, 0, 1, _shift(share * size)),
}


def _affine(images: torch.Tensor, matrices: torch.Tensor, fill: Sequence[int]) -> torch.Tensor:
    count, _, height, width = images.shape
    a, b, c, d, e, f = (column.view(-1, 1, 1) for column in matrices.long().unbind(1))
    y = torch.arange(height, device=images.device).view(1, -1, 1)
    x = torch.arange(width, device=images.device).view(1, 1, -1)
    column, row = (x * a + y * b + c) >> 16, (x * d + y * e + f) >> 16
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).view(count, 1, -1).expand(-1, 3, -1)
    moved = images.reshape(count, 3, -1).gather(2, place).view(count, 3, height, width)
    for channel, value in enumerate(fill):  # numbers and no tensor: it would have to be copied to the device
        moved[:, channel].masked_fill_(~inside, value)
    return moved


# operations on uint8 (photos, 3, height, width), each with one number a photo (photos, 1, 1, 1), as Pillow's


def _grey(images: torch.Tensor) -> torch.Tensor:
    """int32 (photos, 1, height, width)"""
    red, green, blue = images.int().split(1, dim=1)
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def _blended(start: torch.Tensor, end: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    first = start.float()
    return (first + factor.float() * (end.float() - first)).clamp_(0, 255).to(torch.uint8)


def _posterize(images: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    lost = 8 - bits.clamp(max=8).long()
    return images & (256 - torch.bitwise_left_shift(torch.ones_like(lost), lost)).to(torch.uint8)


def _contrast(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    pixels = images.shape[2] * images.shape[3]
    mean = (_grey(images).sum((1, 2, 3), keepdim=True).double() / pixels + 0.5).floor()
    return _blended(mean, images, factor)


def _sharpness(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    wide = images.int()
    rows = wide[..., :-2] + wide[..., 1:-1] + wide[..., 2:]
    smooth = rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :] + 4 * wide[..., 1:-1, 1:-1]
    smooth = (2 * smooth + 13).div(26, rounding_mode="floor")
    sharp = images.clone()
    sharp[..., 1:-1, 1:-1] = _blended(smooth, images[..., 1:-1, 1:-1], factor)
    return sharp


def _auto_contrast(images: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    low, high = images.amin((2, 3), keepdim=True).double(), images.amax((2, 3), keepdim=True).double()
    scale = torch.full_like(low, 255.0) / (high - low)  # 255.0 / tensor would be the product with a rounded inverse
    stretched = (images.double() * scale - low * scale).trunc().clamp_(0, 255)
    return torch.where(high > low, stretched, images.double()).to(torch.uint8)


def _equalize(images: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    values = images.reshape(len(images), 3, -1).long()
    counts = torch.zeros(len(images), 3, 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(2, values, torch.ones_like(values))
    most = values.amax(2, keepdim=True)
    step = (counts.sum(2, keepdim=True) - counts.gather(2, most)) // 255
    before = counts.cumsum(2) - counts
    table = ((step // 2 + before) // step.clamp(min=1)).clamp(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=images.device))
    return table.gather(2, values).to(torch.uint8).view(images.shape)


OPERATIONS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "FlipX": lambda images, _: images.flip(3),
    "FlipY": lambda images, _: images.flip(2),
    "Invert": lambda images, _: 255 - images,
    "Posterize": _posterize,
    "Solarize": lambda images, threshold: torch.where(images < threshold, images, 255 - images),
    "SolarizeAdd": lambda images, added: torch.where(images < 128, images + added.to(torch.uint8), images),
    "Brightness": lambda images, factor: _blended(torch.zeros_like(images), images, factor),
    "Color": lambda images, factor: _blended(_grey(images), images, factor),
    "Contrast": _contrast,
    "Sharpness": _sharpness,
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
}
