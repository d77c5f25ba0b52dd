"""What the page knows of the nearest training photos, whether there are any or not. Needs no torch."""

import io
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class NeighboursState:
    """`kind` is absent, waiting, computing, ready or failed; `why` says it in a sentence where photos are missing."""

    kind: str
    done: int = 0
    total: int = 0
    why: str = ""


class Nearest(Protocol):
    """Training photos that can be asked for."""

    state: NeighboursState

    def start(self) -> None:
        """Begin to make `find` possible, in the background; once."""

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """float32 (photos, features) to be searched for, of uint8 (photos, size, size, 3)."""

    def find(self, query: np.ndarray, target: int) -> list[tuple[int, float]]:
        """Rows of the nearest training photos of a class and their likeness (1: equal), the nearest first."""

    def picture(self, row: int) -> bytes | None:
        """The JPEG of a training photo; None for a row that is not there."""


class Absent:
    """No training photos, for the reason given."""

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
