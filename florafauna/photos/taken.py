"""When a photo was taken, by its EXIF."""

import re
from datetime import UTC, datetime

from PIL import Image

EXIF_IFD, TAKEN, OFFSET = 0x8769, 0x9003, 0x9011
MOMENT = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)")
UNKNOWN = -1


def time_taken(image: Image.Image) -> str:
    """The EXIF time of a picture as ISO 8601, with its offset where one is given; "" where it has none."""
    try:
        facts = image.getexif().get_ifd(EXIF_IFD)
    except Exception:  # a photo with damaged metadata is still usable
        return ""
    moment = MOMENT.match(str(facts.get(TAKEN, "")))
    if moment is None:
        return ""
    year, month, day, clock = moment.groups()
    offset = str(facts.get(OFFSET, ""))
    return f"{year}-{month}-{day}T{clock}" + (offset if re.fullmatch(r"[+-]\d\d:\d\d", offset) else "")


def seconds_taken(image: Image.Image) -> int:
    """The EXIF time in seconds since 1970 by the camera's own clock; UNKNOWN where it has none, or no real one."""
    try:
        return int(datetime.fromisoformat(time_taken(image)[:19]).replace(tzinfo=UTC).timestamp())
    except (ValueError, OverflowError):
        return UNKNOWN
