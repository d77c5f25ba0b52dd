"""Any picture mode → 8-bit RGB. Needs no torch, so that the split can show pictures, too."""

import numpy as np
from PIL import Image


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of any mode: transparency over white, 16 bits and floats scaled, CMYK, palettes and grey converted."""
    picture = _eight_bits(image)
    return _over_white(picture) if picture.has_transparency_data else picture.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey in 16 bits (held in 16 or 32) and in floats scaled to 8 bits, where `convert` would clip at 255."""
    if image.mode == "F":  # 0 to 1, or to whatever the brightest pixel has
        values = np.nan_to_num(np.asarray(image))
        return Image.fromarray((values.clip(0) / max(1.0, values.max()) * 255).round().astype(np.uint8))
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    return image


def _over_white(image: Image.Image) -> Image.Image:
    picture = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
