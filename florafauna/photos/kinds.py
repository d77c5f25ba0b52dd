"""Which files may be photos, and the reasons why one cannot be used. Nothing here decodes."""

import errno
import posixpath
import re
import unicodedata
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from PIL import (
    AvifImagePlugin,  # noqa: F401 each plugin registers its format
    Image,
    Jpeg2KImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)

LARGEST_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs, which an importer may have raised
LARGEST_BYTES = 1 << 29

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


class Refusal(NamedTuple):
    """Why a file cannot be used: the kind of reason, and a remark on one line."""

    reason: Reason
    detail: str


BAD_NAME = Refusal(Reason.BAD_NAME, "the name holds a control character or is not UTF-8; rename the file")
CRASHES = Refusal(Reason.CORRUPT, "it crashes the process that decodes it")


def refuse_name(path: str) -> Refusal | None:
    """Why the file at `path` cannot be used whatever it holds, or None."""
    if printable(path) != path:
        return BAD_NAME
    return _refuse_extension(_extension(path))


@lru_cache
def _refuse_extension(extension: str) -> Refusal | None:
    if RAW.fullmatch(extension):
        return Refusal(Reason.UNSUPPORTED, f"a raw photo ({extension}); develop it to JPEG")
    if VIDEO.fullmatch(extension):
        return Refusal(Reason.UNSUPPORTED, f"a video ({extension}); extract frames as JPEG")
    return None


def refuse_size(size: int) -> Refusal | None:
    """Why a file of `size` bytes is not even read, or None."""
    return Refusal(Reason.TOO_LARGE, f"{size} bytes; more than {LARGEST_BYTES}") if size > LARGEST_BYTES else None


def unreadable(error: Exception) -> Refusal:
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
    return Refusal(*reasons.get(number or 0, (Reason.UNREADABLE, one_line(error))))


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


def known_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are tried."""
    Image.preinit()  # the other plugins are imported above: `init` would import all of them, 0.05 s in each process
    return tuple(name for name in FORMATS if name in Image.OPEN)  # AVIF depends on how Pillow was built


def ends_in_zeros(data: bytes) -> bool:
    """Whether a JPEG lacks its end marker and ends in zeros: a download that stopped after its space was reserved.

    libjpeg takes the zeros for grey and only warns.
    """
    return data.endswith(bytes(16)) and data.find(b"\xff\xd9", data.rfind(b"\xff\xda")) == -1
