"""Resizing without torch gives the very pixels that resizing with torch gives."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from florafauna.base.errors import UserError
from florafauna.pixels.resize import resize as by_torch
from florafauna.predict._resample import resize as by_numpy

SIZES = st.integers(1, 300)


def pixels(height: int, width: int, seed: int, hard: bool) -> np.ndarray:
    """Noise, or black and white alone, where bicubic weights overshoot most."""
    drawn = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return (drawn > 127).astype(np.uint8) * 255 if hard else drawn


@given(SIZES, SIZES, SIZES, SIZES, st.sampled_from(["bilinear", "bicubic"]), st.booleans())
def test_any_size_to_any_other(height: int, width: int, rows: int, columns: int, mode: str, hard: bool) -> None:
    photo = pixels(height, width, height * 1000 + width, hard)
    assert np.array_equal(by_numpy(photo, rows, columns, mode), by_torch(photo, rows, columns, mode))


@given(SIZES, SIZES, st.floats(0.05, 1), st.floats(0, 0.99), st.floats(0, 0.99))
def test_a_picture_that_ends_within_its_last_pixels(
    height: int, width: int, share: float, less_rows: float, less_columns: float
) -> None:
    """As the reduced decode of a JPEG leaves it."""
    extent = (height - less_rows, width - less_columns)
    rows, columns = math.floor(extent[0] * share), math.floor(extent[1] * share)
    assume(min(rows, columns) > 0)
    photo = pixels(height, width, height, hard=False)
    ours, torchs = (each(photo, rows, columns, "bicubic", extent) for each in (by_numpy, by_torch))
    assert np.array_equal(ours, torchs)


def test_what_needs_no_resizing_is_returned_as_it_is() -> None:
    photo = pixels(20, 30, 0, hard=False)
    assert by_numpy(photo, 20, 30, "bicubic") is photo


def test_an_unknown_interpolation_is_refused() -> None:
    with pytest.raises(UserError, match="'lanczos' is not known"):
        by_numpy(pixels(4, 4, 0, hard=False), 2, 2, "lanczos")
