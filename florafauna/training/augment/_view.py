"""Training views: random crops, flips and colours as a function of (seed, epoch, photo)."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image

from florafauna.base.randomness import rng_key
from florafauna.model.settings import Augment
from florafauna.pixels.resize import resize
from florafauna.training.augment._policies import Policy, jitter

CROP_ATTEMPTS = 10


@dataclass(frozen=True)
class TrainView:
    """A random crop, flipped and augmented; equal (seed, epoch, photo) give equal views.

    The crop is resized first; colour jitter and timm's policy then work on the smaller picture.
    """

    size: int
    interpolation: str
    augment: Augment
    mean: tuple[float, float, float]  # colour of pixels that the policy moves into the picture
    seed: int

    def __call__(self, photo: np.ndarray, epoch: int, name: str) -> torch.Tensor:
        """uint8 (3, size, size), in channels_last, of a uint8 (height, width, 3) photo."""
        rng = random.Random(rng_key(self.seed, epoch, name))
        top, left, height, width = self._crop(rng, *photo.shape[:2])
        flips_horizontally = rng.random() < self.augment.horizontal_flip
        flips_vertically = rng.random() < self.augment.vertical_flip

        crop = np.array(photo[top : top + height, left : left + width])
        image = torch.from_numpy(resize(crop, self.size, self.size, self.interpolation))
        image = image.flip([0] * flips_vertically + [1] * flips_horizontally)  # numpy's copy takes ten times as long
        if self.augment.color_jitter or self._policy:
            picture = Image.fromarray(image.numpy())
            if self.augment.color_jitter:
                picture = jitter(picture, rng, self.augment.color_jitter)
            if self._policy:
                picture = self._policy(picture, seed=rng.getrandbits(63))
            image = torch.from_numpy(np.array(picture))
        return image.permute(2, 0, 1)

    def _crop(self, rng: random.Random, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height, width of Inception's random resized crop, as torchvision draws it."""
        low, high = self.augment.scale
        ratios = math.log(self.augment.ratio[0]), math.log(self.augment.ratio[1])
        for _ in range(CROP_ATTEMPTS):
            area = height * width * rng.uniform(low, high)
            ratio = math.exp(rng.uniform(*ratios))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return rng.randint(0, height - h), rng.randint(0, width - w), h, w
        side = min(height, width)
        return (height - side) // 2, (width - side) // 2, side, side

    @cached_property
    def _policy(self) -> Policy | None:
        if self.augment.rand_augment is None:
            return None
        return Policy(self.augment.rand_augment, self.size, tuple(min(255, round(255 * value)) for value in self.mean))


def random_erasing(
    images: torch.Tensor, probability: float, seed: int, epoch: int, names: Sequence[str]
) -> torch.Tensor:
    """Random erasing of a normalised batch, in place: each photo draws whether and where a box becomes noise.

    Zhong et al. 2020 with timm's defaults: a box of 2 % to 1/3 of the area, aspect 0.3 to 1/0.3, filled with normal
    noise for each pixel. (timm's own version draws from global state, including torch's, on which dropout depends.)
    """
    for image, name in zip(images, names, strict=True):
        key = rng_key(seed, epoch, f"erase {name}")
        box = _erased_box(random.Random(key), probability, *image.shape[1:])
        if box is not None:
            top, left, height, width = box
            generator = torch.Generator(images.device).manual_seed(key)
            noise = torch.randn(3, height, width, generator=generator, device=images.device)
            image[:, top : top + height, left : left + width] = noise
    return images


def _erased_box(rng: random.Random, probability: float, height: int, width: int) -> tuple[int, int, int, int] | None:
    if rng.random() >= probability:
        return None
    for _ in range(CROP_ATTEMPTS):
        area = height * width * rng.uniform(0.02, 1 / 3)
        ratio = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if h < height and w < width:
            return rng.randint(0, height - h), rng.randint(0, width - w), h, w
    return None
