"""The bytes of one file → what they are: a whole photo and its facts, or the reason why it is none."""

import errno
import io
import posixpath
import re
import struct
import unicodedata
import warnings
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import (
    AvifImagePlugin,  # noqa: F401 each plugin registers its format
    Image,
    ImageFile,
    Jpeg2KImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from florafauna import perceptual
from florafauna.orientation import ON_THE_SIDE, TURNS, orientation

# Raise when the facts of a file would change: what was remembered of earlier versions is then dropped.
VERSION = 1

LARGEST_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs, which an importer may have raised
LARGEST_BYTES = 1 << 29

# No more of a JPEG than this is decoded: libjpeg then skips most of the inverse DCT, yet reads the file to its end.
DECODED_SIDE = 2 * perceptual.SIDE

EXTENSIONS = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"},
    "MPO": {".jpg", ".jpeg", ".jpe", ".mpo"},
    "PNG": {".png", ".apng"},
    "WEBP": {".webp"},
    "TIFF": {".tif", ".tiff"},
    "BMP": {".bmp", ".dib"},
    "GIF": {".gif"},
    "AVIF": {".avif", ".avifs"},
    "JPEG2000": {".jp2", ".j2k", ".jpx", ".jpf", ".jpc"},
    "PPM": {".ppm", ".pgm", ".pbm", ".pnm"},
}
# Only these are tried: Pillow would hand a PostScript file to Ghostscript.
FORMATS = tuple(name for name in EXTENSIONS if name != "MPO")  # an MPO is opened as the JPEG that it starts with

# Refused by name: most raw formats are TIFF files, of which Pillow would show the 160-pixel preview as the photo.
RAW = re.compile(r"\.(3fr|arw|cr[23w]|dng|erf|iiq|kdc|n[er][fw]|orf|pef|ra[fw]|rw2|sr[2fw]|x3f)")
VIDEO = re.compile(r"\.(3gp|asf|avi|flv|m2ts|m4v|mkv|mov|mp4|mpe?g|mts|webm|wmv)")
# How decoders say that a file ends too early
CUT = re.compile(r"truncated|end of|not enough|too short|EOF", re.IGNORECASE)


class Reason(StrEnum):
    """Why a file cannot be used."""

    BAD_NAME = "bad_name"
    MISSING_FILE = "missing_file"
    NOT_A_FILE = "not_a_file"
    SYMLINK_LOOP = "symlink_loop"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    UNSUPPORTED = "unsupported"
    NOT_AN_IMAGE = "not_an_image"
    TOO_LARGE = "too_large"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"


class Content(NamedTuple):  # a frozen dataclass takes eight times as long to make, and known files are many
    """What the bytes of a file are.

    `reason` is "" for a usable photo; `mode` and `format` are Pillow's names of them; `width` and `height` are those
    of the upright picture (0 where there is none); `hashes` are `perceptual.VIEWS` little-endian 64-bit hashes,
    `thumbnail` grey levels row by row, `flat` says that the picture shows nothing.
    """

    reason: str = ""
    detail: str = ""
    format: str = ""
    mode: str = ""
    orientation: int = 1
    width: int = 0
    height: int = 0
    flat: bool = False
    hashes: bytes = bytes(8 * len(perceptual.VIEWS))
    thumbnail: bytes = bytes(perceptual.THUMBNAIL**2)


CRASHES = Content(Reason.CORRUPT, "it crashes the process that decodes it")


def examine(data: bytes) -> Content:
    """The facts of one file's bytes, every row of which is decoded (of a JPEG at reduced resolution)."""
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
        try:
            return _decode(image, data)
        except MemoryError:
            return Content(Reason.TOO_LARGE, "it does not fit into memory", form, mode)
        except Exception as error:
            return _broken(error, form, mode)


def refuse_name(path: str) -> Content | None:
    """Why the file at `path` cannot be used whatever it holds, or None."""
    if printable(path) != path:
        return Content(Reason.BAD_NAME, "the name holds a control character or is not UTF-8; rename the file")
    return _refuse_extension(_extension(path))


@lru_cache
def _refuse_extension(extension: str) -> Content | None:
    if RAW.fullmatch(extension):
        return Content(Reason.UNSUPPORTED, f"a raw photo ({extension}); develop it to JPEG")
    if VIDEO.fullmatch(extension):
        return Content(Reason.UNSUPPORTED, f"a video ({extension}); extract frames as JPEG")
    return None


def refuse_size(size: int) -> Content | None:
    """Why a file of `size` bytes is not even read, or None."""
    return Content(Reason.TOO_LARGE, f"{size} bytes; more than {LARGEST_BYTES}") if size > LARGEST_BYTES else None


def unreadable(error: Exception) -> Content:
    """What a failed attempt to read a file says about it."""
    reasons = {
        errno.ENOENT: (Reason.MISSING_FILE, "there is no such file"),
        errno.ENOTDIR: (Reason.MISSING_FILE, "there is no such file"),
        errno.ELOOP: (Reason.SYMLINK_LOOP, "its symbolic links lead in a circle"),
        errno.EISDIR: (Reason.NOT_A_FILE, "it is a folder"),
        errno.ENXIO: (Reason.NOT_A_FILE, "it is a folder, pipe, socket or device"),
        errno.ENAMETOOLONG: (Reason.BAD_NAME, "the name is too long"),
        errno.EACCES: (Reason.UNREADABLE, "permission denied"),
    }
    number = error.errno if isinstance(error, OSError) else None
    return Content(*reasons.get(number or 0, (Reason.UNREADABLE, one_line(error))))


def extension_matches(path: str, form: str) -> bool:
    """Whether the name's extension is one of the format found; a name without an extension claims nothing."""
    extension = _extension(path)
    return not extension or form not in EXTENSIONS or extension in EXTENSIONS[form]


def _extension(path: str) -> str:
    """In lower case with its dot, "" where there is none. (pathlib would take ten times as long.)"""
    return posixpath.splitext(path)[1].lower().rstrip(".")


def printable(path: str) -> str:
    r"""A path as UTF-8 text on one line: bytes that are not UTF-8 and control characters appear as `\xNN`."""
    if path.isascii() and path.isprintable():
        return path
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(f"\\x{ord(char):02x}" if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)


def one_line(error: Exception) -> str:
    """The message of an error on one line, its type where it has none."""
    return " ".join(printable(str(error)).split())[:200] or type(error).__name__


def decoder_versions() -> str:
    """What the facts of an unchanged file depend on besides this code."""
    from PIL import __version__, features

    return f"Pillow {__version__}, libjpeg {features.version('libjpeg_turbo') or features.version('jpg')}"


def _decode(image: Image.Image, data: bytes) -> Content:
    turned = orientation(image)
    mode, (width, height) = image.mode, image.size
    turn = None if image.format == "TIFF" else TURNS.get(turned)  # Pillow turns TIFFs itself
    if turn is not None and turned in ON_THE_SIDE:
        width, height = height, width
    image.draft("L", (DECODED_SIDE, DECODED_SIDE))
    image.load()
    form = image.format or ""
    if form in ("JPEG", "MPO") and ends_in_zeros(data):
        return Content(Reason.TRUNCATED, "its end is filled with zeros", form, mode)
    if form == "PNG":
        Image.open(io.BytesIO(data), formats=["PNG"]).verify()  # decoding passes over the checksums
    square = perceptual.grey_square(image)
    if turn is not None:
        square = np.asarray(Image.fromarray(square).transpose(turn))
    return Content(
        format=form,
        mode=mode,
        orientation=turned,
        width=width,
        height=height,
        flat=perceptual.is_flat(square),
        hashes=perceptual.view_hashes(square).astype("<u8").tobytes(),
        thumbnail=perceptual.thumbnail(square).tobytes(),
    )


def _broken(error: Exception, form: str = "", mode: str = "") -> Content:
    text = one_line(error)
    cut = isinstance(error, (OSError, EOFError, struct.error)) and CUT.search(text)
    return Content(Reason.TRUNCATED if cut else Reason.CORRUPT, text, form, mode)


def ends_in_zeros(data: bytes) -> bool:
    """Whether a JPEG lacks its end marker and ends in zeros: a download that stopped after its space was reserved.

    libjpeg takes the zeros for grey and only warns.
    """
    return data.endswith(bytes(16)) and data.find(b"\xff\xd9", data.rfind(b"\xff\xda")) == -1


def _unidentified(data: bytes) -> Content:
    if data[4:8] == b"ftyp":
        brand = data[8:12].decode("latin-1").strip()
        kind = "a HEIC picture; convert it to JPEG" if brand[:2] in ("he", "mi", "ms") else "a video; extract frames"
        return Content(Reason.UNSUPPORTED, f"{kind} (brand {brand})")
    if data.startswith(b"\x1a\x45\xdf\xa3") or (data.startswith(b"RIFF") and data[8:12] == b"AVI "):
        return Content(Reason.UNSUPPORTED, "a video; extract frames")
    if data.startswith((b"\xff\xd8", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*", b"GIF8", b"BM")):
        return Content(Reason.TRUNCATED, "the file ends within its header, or its header is broken")
    return Content(Reason.NOT_AN_IMAGE, "the content is no image of a known format")


def known_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are tried."""
    Image.preinit()  # the other plugins are imported above: `init` would import all of them, 0.05 s in each process
    return tuple(name for name in FORMATS if name in Image.OPEN)  # AVIF depends on how Pillow was built
