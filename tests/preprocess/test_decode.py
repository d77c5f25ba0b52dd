"""Decoding: right colours, right way up, of the size that is known beforehand."""

import io

import numpy as np
import pytest
from helpers.drawn import saved
from helpers.stores import photograph
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from florafauna.base.errors import UserError
from florafauna.photos.upright import to_rgb
from florafauna.pixels.resize import resize
from florafauna.preprocess.decode import LONGEST, TURNS, decode, stored_size

CORNERS = {(0, 0): (220, 30, 30), (0, 1): (30, 200, 40), (1, 0): (40, 50, 210), (1, 1): (230, 210, 40)}
TURN_BACK = {  # the inverse of TURNS
    **TURNS,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


def corners(width: int = 120, height: int = 80) -> Image.Image:
    """Four corners of four colours: any turn or swapped channel shows."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    for (y, x), colour in CORNERS.items():
        pixels[y * height // 2 : (y + 1) * height // 2, x * width // 2 : (x + 1) * width // 2] = colour
    return Image.fromarray(pixels)


def assert_shows_corners(pixels: np.ndarray, tolerance: int = 4) -> None:
    height, width = pixels.shape[:2]
    for (y, x), colour in CORNERS.items():
        middle = pixels[(2 * y + 1) * height // 4, (2 * x + 1) * width // 4].astype(int)
        assert np.abs(middle - colour).max() <= tolerance, f"corner {y}, {x}: {middle} instead of {colour}"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(form: str, orientation: int) -> None:
    upright = corners()
    turned = upright if orientation == 1 else upright.transpose(TURN_BACK[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if form in ("JPEG", "WEBP") else {}
    pixels = decode(saved(turned, form, exif=exif, **options), 40, resize)
    assert pixels.shape == (40, 60, 3)
    assert_shows_corners(pixels, tolerance=12)


def test_a_photo_with_broken_exif_is_decoded_as_it_is() -> None:
    assert_shows_corners(decode(saved(corners(), "JPEG", exif=b"Exif\0\0broken", quality=95), 40, resize), tolerance=12)


@pytest.mark.parametrize(("form", "options"), [("JPEG", {"quality": 95}), ("TIFF", {})])
def test_cmyk(form: str, options: dict[str, int]) -> None:
    """Pillow writes JPEGs as Adobe does, inverted and marked so; TIFFs plain."""
    assert_shows_corners(decode(saved(corners().convert("CMYK"), form, **options), 40, resize), tolerance=12)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    image = corners() if mode != "LA" else Image.new("L", (120, 80), 60)
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 60, 80))
    if mode == "P":
        palette = image.quantize(8)
        clear = palette.getpixel((5, 5))
        data = saved(palette, "PNG", transparency=clear)
        pixels = decode(data, 80, resize)
        assert (pixels[20, 30] == 255).all(), "the transparent palette entry"
        assert np.abs(pixels[20, 90].astype(int) - CORNERS[0, 1]).max() <= 4
        return
    if mode == "PA":
        picture = image.quantize(8).convert("PA")
        picture.putalpha(alpha)
    else:
        picture = image.convert("L" if mode == "LA" else "RGB")
        picture.putalpha(alpha)
    assert picture.mode == mode
    pixels = np.asarray(to_rgb(picture))
    assert (pixels[:, :60] == 255).all()
    expected = (60, 60, 60) if mode == "LA" else CORNERS[0, 1]
    assert np.abs(pixels[20, 90].astype(int) - expected).max() <= 4
    if mode in ("RGBA", "LA"):
        assert np.array_equal(decode(saved(picture, "PNG"), 80, resize), pixels)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(form: str) -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(64, 0)
    pixels = decode(saved(Image.fromarray(ramp), form), 64, resize)
    assert np.array_equal(pixels, np.arange(256, dtype=np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2))


@pytest.mark.parametrize(("brightest", "expected"), [(1, 255), (200, 200), (255, 255), (3000, 255)])
def test_floating_point_grey_goes_up_to_1_or_255_or_to_its_brightest_pixel(brightest: float, expected: int) -> None:
    ramp = np.linspace(0, brightest, expected + 1, dtype=np.float32)[None].repeat(expected + 1, 0)
    pixels = decode(saved(Image.fromarray(ramp), "TIFF"), expected + 1, resize)
    assert np.array_equal(pixels[0, :, 0], np.arange(expected + 1))


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_and_bilevel_become_rgb(mode: str) -> None:
    half = Image.new("L", (64, 64), 255)
    half.paste(0, (0, 0, 32, 64))
    pixels = decode(saved(half.convert(mode), "PNG"), 64, resize)
    assert (pixels[:, :32] == 0).all()
    assert (pixels[:, 32:] == 255).all()


@pytest.mark.parametrize(("width", "height"), [(800, 600), (600, 800), (1500, 1100), (801, 599)])
def test_a_reduced_decode_is_close_to_the_full_one(width: int, height: int) -> None:
    data = saved(photograph(width, height), "JPEG", quality=90)
    pixels = decode(data, 256, resize)
    full = Image.open(io.BytesIO(data)).resize(pixels.shape[1::-1], Image.Resampling.BICUBIC)
    difference = np.abs(np.asarray(full).astype(int) - pixels)
    assert difference.mean() < 2
    assert np.percentile(difference, 99) < 10


def test_resizing_agrees_with_pillow() -> None:
    image = photograph(300, 200)
    for mode, resampling in (("bicubic", Image.Resampling.BICUBIC), ("bilinear", Image.Resampling.BILINEAR)):
        for height, width in ((96, 120), (260, 390)):
            expected = np.asarray(image.resize((width, height), resampling)).astype(int)
            difference = np.abs(resize(np.array(image), height, width, mode) - expected)
            assert difference.max() <= 2
            assert difference.mean() < 0.2
    with pytest.raises(UserError, match="lanczos"):
        resize(np.array(image), 10, 10, "lanczos")


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(8, 64), st.sampled_from([1, 6]))
def test_the_stored_size_is_known_beforehand(width: int, height: int, store_size: int, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(saved(Image.new("RGB", (width, height)), "JPEG", exif=exif), store_size, resize)
    upright = (width, height) if orientation == 1 else (height, width)
    assert pixels.shape == (*stored_size(*upright, store_size), 3)
    assert min(pixels.shape[:2]) == store_size
    assert max(pixels.shape[:2]) <= LONGEST * store_size


def test_of_a_panorama_the_middle_is_kept() -> None:
    image = Image.new("RGB", (2000, 20), "red")
    image.paste((0, 0, 255), (960, 0, 1040, 20))
    pixels = decode(saved(image, "PNG"), 40, resize)
    assert pixels.shape == (40, 160, 3)
    assert (pixels[:, 2:-2] == (0, 0, 255)).all()
