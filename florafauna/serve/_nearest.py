"""The nearest training photos as the page sees them, available or not. Does not need torch."""

import io
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class NeighboursState:
    """`kind` is absent, waiting, computing, ready or failed; `why` is the reason if it is absent or failed."""

    kind: str
    done: int = 0
    total: int = 0
    why: str = ""


class Nearest(Protocol):
    """Search for the training photos nearest to a photo."""

    state: NeighboursState

    def start(self) -> None:
        """Start computing in the background what `find` needs; once."""

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """The query for `find`, float32 (photos, features), of uint8 (photos, size, size, 3)."""

    def find(self, query: np.ndarray, target: int) -> list[tuple[int, float]]:
        """Rows of the nearest training photos of a class and their similarity (1: equal), the nearest first."""

    def picture(self, row: int) -> bytes | None:
        """The JPEG of a training photo; None if there is no such row."""


class Absent:
    """No training photos, for the given reason."""

    def __init__(self, why: str) -> None:
        self.state = NeighboursState("absent", why=why)

    def start(self) -> None:
        """See `Nearest`."""

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """See `Nearest`."""
        raise NotImplementedError

    def find(self, query: np.ndarray, target: int) -> list[tuple[int, float]]:
        """See `Nearest`."""
        return []

    def picture(self, row: int) -> bytes | None:
        """See `Nearest`."""
        return None


def jpeg(pixels: np.ndarray) -> bytes:
    """uint8 (height, width, 3) as a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
