"""Boxes → rectangles → cuts: what Pillow's crop and resize give, whichever way up the photo lies."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from florafauna.photos.crops import BoxError, Rectangle, crop_of, name_of, place, split_name
from florafauna.photos.settings import BoxParams
from florafauna.photos.upright import TURNS
from florafauna.pixels.resize import resize
from florafauna.preprocess.decode import decode, stored_size

TURN_BACK = {**TURNS, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
SIDES = st.integers(1, 5000)
SHARES = st.integers(-2000, 3000).map(lambda thousandths: thousandths / 1000)


def photograph(width: int, height: int) -> Image.Image:
    """Noise that is soft at the scale of a few pixels, so that a shift by half a pixel shows."""
    rng = np.random.default_rng(width)
    noise = Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))
    return noise.filter(ImageFilter.GaussianBlur(4)).point(lambda level: max(0, min(255, (level - 127) * 6 + 127)))


def jpeg(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=97, subsampling=0, **options)
    return buffer.getvalue()


@given(st.tuples(SHARES, SHARES, SHARES, SHARES), SIDES, SIDES, st.booleans(), st.floats(0, 1))
def test_a_crop_is_a_part_of_the_photo_that_holds_the_box(
    box: tuple[float, float, float, float], width: int, height: int, square: bool, padding: float
) -> None:
    x, y, across, down = box
    if min(across, down) <= 0 or max(x, y) >= 1 or min(x + across, y + down) <= 0:
        with pytest.raises(BoxError):
            place(box, width, height)
        return
    placed = place(box, width, height)
    crop = crop_of(placed, width, height, BoxParams(square=square, padding=padding))
    for start, length, first, extent, end in (
        (crop.left, crop.width, placed.left, placed.width, width),
        (crop.top, crop.height, placed.top, placed.height, height),
    ):
        assert 0 <= start <= first
        assert first + extent <= start + length <= end
        assert extent >= 1
    if square and max(crop.width, crop.height) <= min(width, height):
        assert crop.width == crop.height


@given(st.tuples(*[st.floats()] * 4), SIDES, SIDES, st.booleans())
def test_no_four_numbers_crash(box: tuple[float, float, float, float], width: int, height: int, relative: bool) -> None:
    try:
        placed = place(box, width, height, relative)
    except BoxError:
        return
    assert 0 <= placed.left < placed.left + placed.width <= width
    assert 0 <= placed.top < placed.top + placed.height <= height


@pytest.mark.parametrize(
    "box",
    [
        (math.nan, 0, 0.1, 0.1),
        (0, 0, math.inf, 0.1),
        (0.2, 0.2, 0, 0.1),
        (0.2, 0.2, -0.1, 0.1),
        (1.0, 0.2, 0.1, 0.1),
        (-0.3, 0.2, 0.3, 0.1),
        (160, 120, 320, 240),  # pixels, taken for shares
    ],
)
def test_what_is_no_box_has_a_reason(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(BoxError) as caught:
        place(box, 640, 480)
    assert caught.value.reason == "bad_box"


def test_shares_and_pixels_name_the_same_rectangle_and_what_overlaps_the_edge_is_clipped() -> None:
    assert place((0.25, 0.25, 0.5, 0.5), 640, 480) == place((160, 120, 320, 240), 640, 480, relative=False)
    assert place((-0.1, 0.9, 0.2, 0.2), 100, 100) == Rectangle(0, 90, 10, 10)
    with pytest.raises(BoxError, match="20 × 10 pixels") as caught:
        place((0, 0, 0.2, 0.1), 100, 100, smallest=24)
    assert caught.value.reason == "small_box"


def test_padding_and_square() -> None:
    box = Rectangle(100, 100, 200, 100)
    assert crop_of(box, 1000, 1000, BoxParams(padding=0, square=False)) == box
    assert crop_of(box, 1000, 1000, BoxParams(padding=0.1, square=False)) == Rectangle(80, 90, 240, 120)
    assert crop_of(box, 1000, 1000, BoxParams(padding=0.1)) == Rectangle(80, 30, 240, 240)
    assert crop_of(Rectangle(0, 0, 50, 100), 1000, 80, BoxParams()) == Rectangle(0, 0, 120, 80)


def test_a_name_tells_path_and_box() -> None:
    box = Rectangle(1, 2, 30, 40)
    assert split_name(name_of("a/b.jpg", box.text)) == ("a/b.jpg", box.text)
    assert split_name(name_of("a/b.jpg", "")) == ("a/b.jpg", "")
    assert Rectangle.parse(box.text) == box


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("crop", [Rectangle(37, 21, 101, 80), Rectangle(5, 3, 611, 470)], ids=["small", "large"])
def test_a_crop_is_that_of_the_upright_original(orientation: int, crop: Rectangle) -> None:
    """The large one is decoded at a half or less, at which it begins and ends within pixels."""
    upright = photograph(640, 480)
    turned = upright if orientation == 1 else upright.transpose(TURN_BACK[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(turned, exif=exif)
    pixels = decode(data, 60, resize, crop)
    with Image.open(io.BytesIO(data)) as image:
        stored = image.convert("RGB")
    whole = stored if orientation == 1 else stored.transpose(TURNS[orientation])
    part = whole.crop((crop.left, crop.top, crop.left + crop.width, crop.top + crop.height))
    height, width = stored_size(crop.width, crop.height, 60)
    expected = np.asarray(part.resize((width, height), Image.Resampling.BICUBIC), dtype=float)
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).mean() < 2
    if crop.width < 120:
        assert np.array_equal(pixels, expected), "a small box is cut out of the full picture"


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_a_crop_is_upright_in_every_format(form: str, orientation: int) -> None:
    upright, crop, exif = photograph(200, 160), Rectangle(37, 21, 101, 80), Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    upright.transpose(TURN_BACK[orientation]).save(buffer, form, exif=exif, lossless=True)
    expected = upright.crop((37, 21, 138, 101)).resize((76, 60), Image.Resampling.BICUBIC)
    assert np.array_equal(decode(buffer.getvalue(), 60, resize, crop), np.asarray(expected))


def test_of_a_very_long_box_the_middle_is_kept() -> None:
    data = jpeg(photograph(640, 480))
    pixels = decode(data, 32, resize, Rectangle(0, 0, 640, 40))
    assert pixels.shape == (32, 128, 3)
    assert np.array_equal(pixels, decode(data, 32, resize, Rectangle(240, 0, 160, 40)))
