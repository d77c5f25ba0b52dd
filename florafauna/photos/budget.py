"""What decoding one photo may cost in memory and time, of which a small file can ask for much."""

import faulthandler
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

LARGEST_MEMORY = 3 << 29  # bytes, in each process that decodes: 115 megapixels of RGB
LARGEST_WORK = 2_000_000_000  # pixels times scans of a progressive JPEG: 10 to 20 seconds
SECONDS = 60.0  # for one photo in a worker process, whatever it is; ordinary ones take 0.01 to 1

# Bytes a pixel that `pixels.decode` holds at once, by Pillow's modes, measured; OTHER, too, if a colour is transparent
MEMORY = {"1": 11, "L": 11, "P": 11, "RGB": 14, "CMYK": 14, "LA": 16, "RGBA": 16, "F": 17, "I;16": 18}
OTHER = 24
OF_DECODER = {"WEBP": 8, "AVIF": 8, "JPEG2000": 8}  # besides, in the decoder's own library

# 0xff and anything but padding, a stuffed zero and restarts: what follows the coded pixels of a scan
MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN = 0xD8, 0xD9, 0xDA


def over_budget(image: Image.Image, data: bytes, whole: bool = True) -> str:
    """Why a picture that is opened and not yet loaded is not to be decoded; "" where it is.

    The same on every machine. `data` is the file. JPEGs are decoded at a fraction of their size, whatever that is, so
    that their scans alone matter, unless it is a part of one that is wanted (not `whole`), at its full resolution.
    """
    pixels = image.width * image.height
    size = f"{image.width} × {image.height} pixels"
    if image.format in ("JPEG", "MPO"):
        scans = count_scans(data) if image.info.get("progressive") else 1
        if scans > 1 and scans * pixels > LARGEST_WORK:
            return f"{scans} scans of {size} would take too long to decode; save it as a baseline JPEG"
        if whole:
            return ""
    a_pixel = OTHER if "transparency" in image.info else MEMORY.get(image.mode, OTHER)
    memory = pixels * (a_pixel + OF_DECODER.get(image.format or "", 0))
    if memory > LARGEST_MEMORY:
        return f"{size} would take {memory >> 20} MB to decode and {LARGEST_MEMORY >> 20} are allowed; make it smaller"
    return ""


def count_scans(data: bytes) -> int:
    """How many times a JPEG's decoder goes over the picture."""
    scans, at = 0, 0
    while found := MARKER.search(data, at):
        marker, at = found[1][0], found.end()
        if marker == END_OF_IMAGE:
            break
        scans += marker == START_OF_SCAN
        if marker != START_OF_IMAGE:
            at += int.from_bytes(
                data[at : at + 2], "big"
            )  # the segment, which may hold a thumbnail with scans of its own
    return scans


@contextmanager
def ended_when_slow(seconds: float = SECONDS) -> Iterator[None]:
    """End this process where what is done within takes longer: inside a decoder nothing else would stop it."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 for the traceback, which would be Python's alone
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
