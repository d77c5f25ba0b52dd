"""The bytes of one file → what they are: a whole photo and its facts, or the reason why it is not one."""

import hashlib
import io
import re
import struct
import warnings
from typing import NamedTuple

from PIL import Image, ImageFile, UnidentifiedImageError

from florafauna.audit import _perceptual
from florafauna.photos.budget import over_budget
from florafauna.photos.crops import Rectangle, cut
from florafauna.photos.kinds import LARGEST_PIXELS, Reason, ends_in_zeros, known_formats, one_line
from florafauna.photos.taken import UNKNOWN, seconds_taken
from florafauna.photos.upright import ON_THE_SIDE, TURNS, orientation, to_rgb

# No more of a JPEG than this is decoded: libjpeg then skips most of the inverse DCT, yet reads the file to its end.
DECODED_SIDE = 2 * _perceptual.SIDE

HASHED = 16  # bytes of the hash of pixels
# How decoders say that a file ends too early
CUT = re.compile(r"truncated|end of|not enough|too short|EOF", re.IGNORECASE)


class Content(NamedTuple):  # a frozen dataclass takes eight times as long to make, and known files are many
    """What the bytes of a file are.

    `reason` is "" for a usable photo; `mode` and `format` are Pillow's names of them; `taken` is `seconds_taken`;
    `width` and `height` are those of the upright picture, or of a crop of it (0 where there is none); `hashes` are
    `_perceptual.VIEWS` little-endian 64-bit hashes, `thumbnail` grey levels row by row, `flat` says that the picture
    shows nothing.

    `pixels` is a hash of the upright RGB pixels: equal for files that differ in metadata alone. A JPEG is hashed at
    the resolution that it is decoded at, at least DECODED_SIDE a side, since a full decode of a photo of 12 megapixels
    takes ten times as long. Two different exposures do not agree in ten thousand averages unless they are flat.
    """

    reason: str = ""
    detail: str = ""
    format: str = ""
    mode: str = ""
    taken: int = UNKNOWN
    orientation: int = 1
    width: int = 0
    height: int = 0
    flat: bool = False
    hashes: bytes = bytes(8 * len(_perceptual.VIEWS))
    thumbnail: bytes = bytes(_perceptual.THUMBNAIL**2)
    pixels: bytes = bytes(HASHED)


def examine(data: bytes, crop: Rectangle | None = None) -> Content:
    """The facts of one file's bytes, every row of which is decoded (of a JPEG at reduced resolution).

    With a `crop` size, hashes, thumbnail and pixels are those of this part of the picture.
    """
    if not data:
        return Content(Reason.EMPTY, "the file has no content")
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it: a half grey picture would pass
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=known_formats())
        except Image.DecompressionBombError:
            return Content(Reason.TOO_LARGE, f"it would decode to more than {LARGEST_PIXELS} pixels")
        except UnidentifiedImageError:
            return _unidentified(data)
        except Exception as error:  # a plugin raises whatever its parser stumbles over
            return _broken(error)
        form, mode = image.format or "", image.mode
        if image.width * image.height > LARGEST_PIXELS:
            return Content(Reason.TOO_LARGE, f"{image.width} × {image.height} pixels", form, mode)
        if why := over_budget(image, data, whole=crop is None):
            return Content(Reason.TOO_LARGE, why, form, mode)
        try:
            return _decode(image, data, crop)
        except MemoryError:
            return Content(Reason.TOO_LARGE, "it does not fit into memory", form, mode)
        except Exception as error:
            return _broken(error, form, mode)


def decoder_versions() -> str:
    """The libraries that the facts of an unchanged file depend on."""
    from PIL import __version__, features

    return f"Pillow {__version__}, libjpeg {features.version('libjpeg_turbo') or features.version('jpg')}"


def _decode(image: Image.Image, data: bytes, crop: Rectangle | None) -> Content:
    turned, taken = orientation(image), seconds_taken(image)
    mode, (width, height) = image.mode, image.size
    turn = None if image.format == "TIFF" else TURNS.get(turned)  # Pillow turns TIFFs itself
    if turn is not None and turned in ON_THE_SIDE:
        width, height = height, width
    if crop is not None:
        picture, _ = cut(image, crop, DECODED_SIDE)
        width, height = crop.width, crop.height
    else:
        image.draft(None, (DECODED_SIDE, DECODED_SIDE))
        image.load()
    form = image.format or ""
    if form in ("JPEG", "MPO") and ends_in_zeros(data):
        return Content(Reason.TRUNCATED, "its end is filled with zeros", form, mode)
    if form == "PNG":
        Image.open(io.BytesIO(data), formats=["PNG"]).verify()  # decoding passes over the checksums
    if crop is None:
        picture = to_rgb(image)
        picture = picture if turn is None else picture.transpose(turn)
    square = _perceptual.grey_square(picture)
    return Content(
        format=form,
        mode=mode,
        taken=taken,
        orientation=turned,
        width=width,
        height=height,
        flat=_perceptual.is_flat(square),
        hashes=_perceptual.view_hashes(square).astype("<u8").tobytes(),
        thumbnail=_perceptual.thumbnail(square).tobytes(),
        pixels=_hash_of_pixels(picture, width, height),
    )


def _hash_of_pixels(picture: Image.Image, width: int, height: int) -> bytes:
    """Of decoded RGB and the size of the whole picture."""
    digest = hashlib.blake2b(f"{width} {height} {picture.width} {picture.height} ".encode(), digest_size=HASHED)
    digest.update(picture.tobytes())
    return digest.digest()


def _broken(error: Exception, form: str = "", mode: str = "") -> Content:
    text = one_line(error)
    cut = isinstance(error, (OSError, EOFError, struct.error)) and CUT.search(text)
    return Content(Reason.TRUNCATED if cut else Reason.CORRUPT, text, form, mode)


def _unidentified(data: bytes) -> Content:
    if data[4:8] == b"ftyp":
        brand = data[8:12].decode("latin-1").strip()
        kind = "a HEIC picture; convert it to JPEG" if brand[:2] in ("he", "mi", "ms") else "a video; extract frames"
        return Content(Reason.UNSUPPORTED, f"{kind} (brand {brand})")
    if data.startswith(b"\x1a\x45\xdf\xa3") or (data.startswith(b"RIFF") and data[8:12] == b"AVI "):
        return Content(Reason.UNSUPPORTED, "a video; extract frames")
    if data.startswith((b"\xff\xd8", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*", b"GIF8", b"BM")):
        return Content(Reason.TRUNCATED, "the file ends within its header, or its header is broken")
    return Content(Reason.NOT_AN_IMAGE, "the content is not an image in a known format")
