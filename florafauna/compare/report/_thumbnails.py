"""Thumbnails as data URIs. A photo is embedded once, however often it is shown, and referred to by number."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image

from florafauna.pixels.store import PixelStore

SIDE = 96  # pixels of the longer side
QUALITY = 60
MOST = 1000  # photos in a report: about 2.5 MB


class Album:
    """The photos of a store that the page shows, in the order in which they were added, at most `most`."""

    def __init__(self, store: PixelStore, most: int = MOST) -> None:
        self._store, self._most = store, most
        self._numbers: dict[str, int] = {}
        self._rows: list[int] = []  # rows of the store, by number in the album

    @property
    def full(self) -> bool:
        """Whether there is no room for another photo."""
        return len(self._numbers) >= self._most

    def add(self, path: str) -> int | None:
        """The number of a photo, added if there is room; None if there is no room or no such photo."""
        if path not in self._numbers:
            row = None if self.full else self._store.row_of(path)
            if row is None:
                return None
            self._numbers[path] = len(self._numbers)
            self._rows.append(row)
        return self._numbers[path]

    def number(self, path: str) -> int | None:
        """The number of a photo that was added, else None."""
        return self._numbers.get(path)

    @property
    def names(self) -> list[str]:
        """The photos by number."""
        return list(self._numbers)

    def embedded(self) -> list[list[str]]:
        """Path and data URI of every photo, by number."""
        return [[path, thumbnail(self._store.photo(row))] for path, row in zip(self._numbers, self._rows, strict=True)]


def thumbnail(pixels: np.ndarray, side: int = SIDE) -> str:
    """A data URI of pixels, uint8 (height, width, 3), scaled down to `side`; never enlarged."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=4)
    return data_uri(file.getvalue())


def data_uri(webp: bytes) -> str:
    """WebP bytes as a data URI."""
    return "data:image/webp;base64," + base64.b64encode(webp).decode()
