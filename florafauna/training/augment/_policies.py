"""timm's augmentation policies and colour jitter for one picture, as functions of a seed."""

import random

from PIL import Image, ImageEnhance
from timm.data import auto_augment

from florafauna.base.randomness import global_random_state

ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


class Policy:
    """A timm policy string with the hyperparameters that timm's `create_transform` would give it, except one.

    Rotation, shear and translation take the nearest pixel, as in the published RandAugment (Cubuk et al. 2020) and in
    torchvision. At 224 px Pillow's bilinear takes 1.4 ms and its bicubic 4 ms, more than the rest of the view.
    """

    def __init__(self, policy: str, size: int, fill: tuple[int, ...]) -> None:
        """`fill` (RGB) is the colour of pixels moved into the picture; `size` is the side of a view in pixels."""
        options = {
            "translate_const": int(size * 0.45),
            "img_mean": fill,
            "interpolation": Image.Resampling.NEAREST,
        }
        if policy.startswith("augmix"):
            self._transform = auto_augment.augment_and_mix_transform(policy, options | {"translate_pct": 0.3})
        elif policy.startswith("rand"):
            self._transform = auto_augment.rand_augment_transform(policy, options)
        else:
            self._transform = auto_augment.auto_augment_transform(policy, options)

    def __call__(self, picture: Image.Image, seed: int) -> Image.Image:
        """The picture, changed by the policy with this seed."""
        with global_random_state(seed):  # timm draws from `random` and `numpy.random`
            return self._transform(picture)


def jitter(picture: Image.Image, rng: random.Random, strength: float) -> Image.Image:
    """Brightness, contrast and colour in random order, each by a factor of 1 - `strength` to 1 + `strength`."""
    for enhancer in rng.sample(ENHANCERS, len(ENHANCERS)):
        picture = enhancer(picture).enhance(rng.uniform(max(0.0, 1 - strength), 1 + strength))
    return picture
