"""EXIF orientation: how a picture as it is stored becomes upright."""

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
