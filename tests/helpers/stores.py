"""Photographs, as noise and shapes, their manifest, the stores made of them, and what a disk does to these."""

import hashlib
import io
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFilter

from florafauna.photos.sources import open_source
from florafauna.preprocess._kept import KeptPixels
from florafauna.preprocess._write import build_store
from florafauna.preprocess.decode import decoder
from florafauna.preprocess.preprocess import preprocess

LABELS = ["daisy", "rose"]


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """Shapes under soft and fine noise, so that a JPEG of it has coefficients of all frequencies."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 255, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8))
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(20):
        x, y, size = (int(value) for value in rng.integers(0, [width, height, width // 3]))
        draw.ellipse([x, y, x + size, y + size // 2], fill=tuple(int(value) for value in rng.integers(0, 255, 3)))
    fine = Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).filter(ImageFilter.GaussianBlur(1))
    return Image.blend(image, fine, 0.25)


def draw_photos(root: Path, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        folder = root / ("daisy" if number % 2 else "rose")
        folder.mkdir(parents=True, exist_ok=True)
        size = (90 + 7 * (number % 5), 70 + 11 * (number % 3))
        form = "PNG" if number % 4 == 0 else "JPEG"
        photograph(*size, seed=number).save(folder / f"{number:03d}.{form.lower()}", form)


def draw_and_keep(folder: Path) -> Path:
    """The root of 13 photos; the store of all but rose/100.png, which sorts between others, is in `folder`/kept."""
    root = folder / "photos"
    draw_photos(root, 12)
    build_store(manifest_of(root), LABELS, open_source(root), folder / "out/train", 48)
    with KeptPixels(folder / "kept", decoder(), 48) as kept:
        kept.keep(folder / "out/train")
    draw_photos(root, 1, first=100)
    return root


def manifest_of(root: Path) -> pd.DataFrame:
    rows = []
    for file in sorted(root.glob("*/*")):
        data = file.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
        path = file.relative_to(root).as_posix()
        rows.append(
            {
                "path": path,
                "label": file.parent.name,
                "target": int(file.parent.name == "rose"),
                "split": ("train", "train", "val", "test")[int(hashlib.sha256(path.encode()).hexdigest(), 16) % 4],
                "held_out": "",
                "group": "",
                "cluster": "",
                "sha256": hashlib.sha256(data).hexdigest(),
                "width": width,
                "height": height,
            }
        )
    return pd.DataFrame(rows)


def run_preprocess(tmp_path: Path, store_size: int = 48) -> int:
    manifest = manifest_of(tmp_path / "photos")
    manifest.to_csv(tmp_path / "manifest.csv", index=False, lineterminator="\n")
    args = (tmp_path / "manifest.csv", tmp_path / "photos", tmp_path / "processed", store_size, tmp_path / "kept")
    return preprocess(*args, workers=1)


class KillingSource:
    """A folder whose reader is killed at a certain photo, as by the out-of-memory killer."""

    def __init__(self, root: Path, path: str) -> None:
        self.root, self.path = root, path

    def read(self, path: str) -> bytes:
        if path == self.path:
            os.kill(os.getpid(), signal.SIGKILL)
        return (self.root / path).read_bytes()


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }


def damage(file: Path, how: str) -> None:
    """As a disk does, without a new time of change."""
    before = file.stat()
    data = bytearray(file.read_bytes())
    if how == "zeroed":
        data[: len(data) // 2] = bytes(len(data) // 2)
    else:
        data[len(data) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
