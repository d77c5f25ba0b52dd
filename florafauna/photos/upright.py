"""A picture as it is stored → upright 8-bit RGB. Needs no torch, so that the split can show pictures, too."""

import numpy as np
from PIL import ExifTags, Image

# EXIF orientation → what makes the picture upright (1 leaves it as it is)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_THE_SIDE = (5, 6, 7, 8)  # width and height change places


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of a picture, 1 to 8; 1 where it has none, or EXIF that cannot be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken EXIF does not make a photo unusable
        return 1
    return int(value) if value in range(1, 9) else 1


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of any mode: transparency over white, 16 bits and floats scaled, CMYK, palettes and grey converted."""
    picture = _eight_bits(image)
    return _over_white(picture) if picture.has_transparency_data else picture.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey in 16 bits (held in 16 or 32) and in floats scaled to 8 bits, where `convert` would clip at 255."""
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image)).clip(0)
        brightest = values.max()
        white = 1.0 if brightest <= 1 else max(255.0, brightest)  # white is 1, 255, or the brightest there is
        return Image.fromarray((values / white * 255).round().astype(np.uint8))
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    return image


def _over_white(image: Image.Image) -> Image.Image:
    picture = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
