"""A policy does what timm's own does under the same seed, and colour jitter stays within its strength."""

import random

import numpy as np
import pytest
from PIL import Image
from timm.data import auto_augment

from florafauna.base.randomness import global_random_state
from florafauna.model.settings import Augment
from florafauna.training.augment._policies import Policy, jitter

FILL = (124, 116, 104)


def picture(seed: int, side: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    return small.resize((side, side), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    "policy",
    [
        *("rand-m9-mstd0.5-inc1", "rand-m9-n3-mstd101", "rand-m9-p0.8-mmax12-t3a", "original", "v0", "3a"),
        *("augmix-m3-w3", "augmix-m5-w4-d2-a1.0-b1-mstd0.5", "originalr-mstd0.5"),
    ],
)
def test_a_policy_is_timms(policy: str) -> None:
    options = {"translate_const": 14, "img_mean": FILL, "interpolation": Image.Resampling.NEAREST}
    if policy.startswith("rand"):
        timms = auto_augment.rand_augment_transform(policy, options)
    elif policy.startswith("augmix"):
        timms = auto_augment.augment_and_mix_transform(policy, options | {"translate_pct": 0.3})
    else:
        timms = auto_augment.auto_augment_transform(policy, options)
    assert Augment(rand_augment=policy)
    changed = 0
    ours = Policy(policy, 32, FILL)
    for seed in range(80):
        with global_random_state(seed):
            expected = timms(picture(seed, 32))
        assert ours(picture(seed, 32), seed) == expected
        changed += expected != picture(seed, 32)
    assert changed > 20


def test_jitter_changes_brightness_contrast_and_colour_by_no_more_than_its_strength() -> None:
    grey = Image.new("RGB", (8, 8), (100, 100, 100))  # contrast and colour leave an even grey alone
    levels = [np.array(jitter(grey, random.Random(seed), 0.2))[0, 0, 0] for seed in range(200)]
    assert 79 <= min(levels) < 85
    assert 115 < max(levels) <= 120
    colourful = picture(1, 32)
    spread = [np.ptp(np.array(jitter(colourful, random.Random(seed), 0.2)).astype(int), axis=2) for seed in range(50)]
    assert np.std([values.mean() for values in spread]) > 1
    assert jitter(colourful, random.Random(3), 0.2) == jitter(colourful, random.Random(3), 0.2)
