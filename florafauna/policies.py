"""timm's augmentation policies in two steps: what a photo's draw is, and its operations on a uint8 picture.

The draw is timm's own code. The operations give Pillow's result bit for bit; those that Pillow is slow at are done on
the array.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance
from timm.data import auto_augment

from florafauna.randomness import global_random_state

Picture = np.ndarray | Image.Image
ENHANCERS = {
    "Brightness": ImageEnhance.Brightness,
    "Contrast": ImageEnhance.Contrast,
    "Color": ImageEnhance.Color,
}


@dataclass(frozen=True)
class Step:
    """One operation that was drawn: its kind (timm's name without how its strength is scaled) and its arguments."""

    kind: str
    arguments: tuple[float, ...]
    on_picture: Callable[[Image.Image], Image.Image]


class Policy:
    """A policy string of timm's with the hyper-parameters that timm's `create_transform` gives it.

    But for one: what is rotated, sheared or translated takes the nearest pixel, as in the published RandAugment
    (Cubuk et al. 2020) and in torchvision's. At 224 px Pillow's bilinear takes 1.4 ms and its bicubic 4 ms, more
    than all the rest of the view.
    """

    def __init__(self, policy: str, size: int, fill: tuple[int, ...]) -> None:
        """`fill` is moved into the picture (RGB); `size` is the side of a view."""
        self.fill = fill
        options = {
            "translate_const": int(size * 0.45),
            "img_mean": fill,
            "interpolation": Image.Resampling.NEAREST,
        }
        if policy.startswith("augmix"):
            mix = options | {"translate_pct": 0.3}
            self._transform = auto_augment.augment_and_mix_transform(policy, mix)
            operations = []
        elif policy.startswith("rand"):
            self._transform = auto_augment.rand_augment_transform(policy, options)
            operations = list(self._transform.ops)
        else:
            self._transform = auto_augment.auto_augment_transform(policy, options)
            operations = [operation for group in self._transform.policy for operation in group]
        self.kinds = {_kind(operation.name) for operation in operations}
        self.records = bool(operations) and "GaussianBlurRand" not in self.kinds  # which draws while it is applied
        for operation in operations if self.records else ():
            operation.aug_fn = partial(_record, _kind(operation.name), operation.aug_fn)

    def draw(self, key: int) -> tuple[Step, ...]:
        """The operations that a photo with this key is given."""
        if not self.records:
            return (Step("policy", (), partial(self._apply, key)),)
        with global_random_state(key):
            steps: tuple[Step, ...] = self._transform(())
        return steps

    def _apply(self, key: int, picture: Image.Image) -> Image.Image:
        with global_random_state(key):
            return self._transform(picture)


def draw_jitter(rng: random.Random, strength: float) -> tuple[Step, ...]:
    """Colour jitter: brightness, contrast and colour in any order, each by up to `strength`."""
    if not strength:
        return ()
    return tuple(
        _enhancement(kind, rng.uniform(max(0.0, 1 - strength), 1 + strength))
        for kind in rng.sample(list(ENHANCERS), len(ENHANCERS))
    )


def apply(steps: tuple[Step, ...], pixels: np.ndarray) -> np.ndarray:
    """uint8 (height, width, 3) after all operations."""
    picture: Picture = pixels
    for step in steps:
        on_array = ON_ARRAY.get(step.kind)
        picture = on_array(_array(picture), *step.arguments) if on_array else step.on_picture(_picture(picture))
    return _array(picture)


def _record(
    kind: str, function: Callable[..., Image.Image], steps: tuple[Step, ...], *arguments: float, **options: Any
) -> tuple[Step, ...]:
    """Stands in for an operation of timm's: notes it instead of doing it."""
    on_picture = partial(_call, function, arguments, options)
    return (*steps, Step(kind, tuple(arguments), on_picture))


def _call(
    function: Callable[..., Image.Image], arguments: tuple[float, ...], options: dict[str, Any], picture: Image.Image
) -> Image.Image:
    return function(picture, *arguments, **options)


def _kind(name: str) -> str:
    return name.removesuffix("Increasing").removesuffix("Original")


def _enhancement(kind: str, factor: float) -> Step:
    return Step(kind, (factor,), lambda picture: ENHANCERS[kind](picture).enhance(factor))


def _array(picture: Picture) -> np.ndarray:
    return picture if isinstance(picture, np.ndarray) else np.array(picture)


def _picture(picture: Picture) -> Image.Image:
    return Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture


# What follows gives Pillow's results on arrays of uint8 (height, width, 3).


def _invert(pixels: np.ndarray) -> np.ndarray:
    return 255 - pixels


def _posterize(pixels: np.ndarray, bits: float) -> np.ndarray:
    return pixels & np.uint8(256 - 2 ** (8 - int(bits)) & 255) if bits < 8 else pixels


def _solarize(pixels: np.ndarray, threshold: float) -> np.ndarray:
    return pixels ^ (np.greater_equal(pixels, int(threshold)).view(np.uint8) * np.uint8(255))


def _solarize_add(pixels: np.ndarray, added: float) -> np.ndarray:
    return pixels + np.less(pixels, 128).view(np.uint8) * np.uint8(added)  # at most 127 + 128


def _brightness(pixels: np.ndarray, factor: float) -> np.ndarray:
    return _through(pixels, _blended(np.zeros(256, np.uint8), np.arange(256, dtype=np.uint8), factor))


def _contrast(pixels: np.ndarray, factor: float) -> np.ndarray:
    grey = np.bincount(np.frombuffer(Image.fromarray(pixels).convert("L").tobytes(), np.uint8), minlength=256)
    mean = int(float(grey @ np.arange(256)) / grey.sum() + 0.5)
    return _through(pixels, _blended(np.full(256, mean, np.uint8), np.arange(256, dtype=np.uint8), factor))


def _sharpness(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Blended with the mean of 3 × 3 pixels, the middle one weighing 5 of 13; the frame stays."""
    wide = pixels.astype(np.uint16)
    rows = wide[:, :-2] + wide[:, 1:-1]
    rows += wide[:, 2:]
    smooth = rows[:-2] + rows[1:-1]
    smooth += rows[2:]
    smooth += 4 * wide[1:-1, 1:-1]
    smooth = (2 * smooth + 13) // np.uint16(26)
    sharp = pixels.copy()
    sharp[1:-1, 1:-1] = _blended(smooth, pixels[1:-1, 1:-1], factor)
    return sharp


def _blended(start: np.ndarray, end: np.ndarray, factor: float) -> np.ndarray:
    """Image.blend: float32, cut off to whole numbers from 0 to 255."""
    first = start.astype(np.float32)
    return (first + np.float32(factor) * (end.astype(np.float32) - first)).clip(0, 255).astype(np.uint8)


def _through(pixels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Every value replaced by the table's."""
    return np.frombuffer(bytearray(pixels.tobytes().translate(table.tobytes())), np.uint8).reshape(pixels.shape)


ON_ARRAY: dict[str, Callable[..., np.ndarray]] = {
    "Invert": _invert,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "SolarizeAdd": _solarize_add,
    "Brightness": _brightness,
    "Contrast": _contrast,
    "Sharpness": _sharpness,
}
