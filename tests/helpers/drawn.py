"""Pictures drawn for the tests of the audit, and sources that behave badly."""

import io
import os
import time
from pathlib import Path

import numpy as np
from PIL import Image

from florafauna.photos.sources import FolderSource, Source

LONG_AGO = 1_600_000_000  # a file changed just now is, rightly, read again at the next audit


def scene(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """Noise at all scales and one bright blot: as different for two seeds as two photographs."""
    rng = np.random.default_rng(seed)
    levels = np.zeros((height, width, 3))
    for octave in range(2, 8):
        grid = rng.normal(size=(3, height // 2**octave + 2, width // 2**octave + 2)).astype(np.float32)
        layers = [Image.fromarray(layer).resize((width, height), Image.Resampling.BICUBIC) for layer in grid]
        levels += np.stack([np.asarray(layer) for layer in layers], axis=-1) * 2**octave
    return Image.fromarray((levels / levels.std() * 50 + 120).clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def write(root: Path, path: str | bytes, content: bytes, changed: int = LONG_AGO) -> str:
    """Write a file below `root`; returns its path as sources give it."""
    name = os.fsdecode(path)
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    os.utime(file, (changed, changed))
    return name


class CountingSource(FolderSource):
    """A folder that knows what was read from it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.was_read: list[str] = []

    def read(self, path: str) -> bytes:
        self.was_read.append(path)
        return super().read(path)


class CrashingSource(FolderSource):
    """A folder with files that end the process that reads them, as a crash of a decoder does."""

    def read(self, path: str) -> bytes:
        if "crash" in path:
            os._exit(9)
        return super().read(path)


class ListingSource(FolderSource):
    """A folder that leaves a file beside its archives for each time that a process opens one."""

    def _archive(self, path: str) -> Source | None:
        if path not in self._archives:
            opened = self.root / f"listed-by-{os.getpid()}-{time.monotonic_ns()}"
            opened.touch()
        return super()._archive(path)
