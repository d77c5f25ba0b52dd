"""A policy's operations give Pillow's results, on arrays and on batches of tensors, and its draws are timm's own."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment

from florafauna.crops import AFFINE, COLUMNS, OPERATIONS, for_device, operate
from florafauna.policies import ON_ARRAY, Policy, Step, apply, draw_jitter
from florafauna.randomness import global_random_state

FILL = (124, 116, 104)
POLICIES = ["rand-m9-n3-p1.0-mstd2-inc1", "rand-m9-n3-p1.0-mstd2", "original", "v0"]


def picture(seed: int, side: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    pixels = np.array(small.resize((side, side), Image.Resampling.BICUBIC))
    if seed % 9 == 0:
        pixels[..., 1] = 7  # a channel without any contrast
    return pixels


def drawn(policy: str, side: int) -> list[Step]:
    steps = [step for key in range(120) for step in Policy(policy, side, FILL).draw(key)]
    return steps + [step for key in range(20) for step in draw_jitter(random.Random(key), 0.4)]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("side", [33, 64])
def test_every_operation_is_pillows_bit_for_bit(policy: str, side: int) -> None:
    steps = drawn(policy, side)
    assert {step.kind for step in steps} >= {"Equalize", "Color", "Brightness", "Contrast"}
    for number, step in enumerate(steps):
        pixels = picture(number, side)
        expected = np.array(step.on_picture(Image.fromarray(pixels)))
        assert np.array_equal(apply((step,), pixels), expected), step
        kind, numbers = for_device(step, side)
        line = torch.tensor([numbers + [0.0] * (COLUMNS - len(numbers))], dtype=torch.float64)
        found = operate(kind, torch.from_numpy(pixels).permute(2, 0, 1)[None], line, FILL)
        assert np.array_equal(found[0].permute(1, 2, 0), expected), step


def test_every_operation_of_the_array_and_of_the_device_is_among_those_tried() -> None:
    kinds = {step.kind for policy in POLICIES for step in drawn(policy, 33)}
    assert set(ON_ARRAY) <= kinds
    assert set(OPERATIONS) | set(AFFINE) == kinds | {"FlipX", "FlipY", "TranslateX", "TranslateY"}


@pytest.mark.parametrize(
    "policy", ["rand-m9-mstd0.5-inc1", "rand-m9-n3-mstd101", "rand-m9-t3a", "original", "v0", "3a", "augmix-m3-w3"]
)
def test_the_draw_is_timms(policy: str) -> None:
    options = {"translate_const": 14, "img_mean": FILL, "interpolation": Image.Resampling.NEAREST}
    if policy.startswith("rand"):
        timms = auto_augment.rand_augment_transform(policy, options)
    elif policy.startswith("augmix"):
        timms = auto_augment.augment_and_mix_transform(policy, options | {"translate_pct": 0.3})
    else:
        timms = auto_augment.auto_augment_transform(policy, options)
    changed = 0
    ours = Policy(policy, 32, FILL)
    for key in range(80):
        pixels = picture(key + 1, 32)
        with global_random_state(key):
            expected = np.array(timms(Image.fromarray(pixels)))
        assert np.array_equal(apply(ours.draw(key), pixels), expected)
        changed += not np.array_equal(expected, pixels)
    assert changed > 20
