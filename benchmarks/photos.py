"""Photos for benchmarks, drawn here: JPEGs with the detail, and so the bits a pixel, of a camera's."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from florafauna.base.files import sha256_bytes

QUALITY = 90  # about 2 bits a pixel with what is drawn


def draw(width: int, height: int, seed: int) -> bytes:
    """A JPEG of shapes under noise at all scales (amplitude × scale^0.6, somewhat rougher than nature)."""
    rng = np.random.default_rng(seed)
    noise = np.zeros((height, width, 3), dtype=np.float32)
    for octave in range(7):
        grid = rng.normal(size=(3, height // 2**octave + 2, width // 2**octave + 2)).astype(np.float32)
        layers = [Image.fromarray(layer).resize((width, height), Image.Resampling.BICUBIC) for layer in grid]
        noise += np.stack([np.asarray(layer) for layer in layers], axis=-1) * 2 ** (0.6 * octave)
    picture = Image.fromarray((noise / noise.std() * 45 + 120).clip(0, 255).astype(np.uint8))
    shapes = picture.copy()
    pen = ImageDraw.Draw(shapes)
    for _ in range(30):
        x, y, size = (int(value) for value in rng.integers(5, [width, height, width // 4]))
        pen.ellipse([x, y, x + size, y + size * 2 // 3], fill=tuple(int(value) for value in rng.integers(0, 255, 3)))
    buffer = io.BytesIO()
    Image.blend(picture, shapes, 0.6).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def draw_folder(root: Path, width: int, height: int, different: int, count: int, classes: int = 2) -> pd.DataFrame:
    """Write `count` photos into a folder a class, `different` of them drawn; returns a manifest.

    A copy of a drawn photo has its number behind the end of the JPEG, and so a hash of its own.
    """
    drawn = [draw(width, height, seed) for seed in range(different)]
    rows = []
    for number in range(count):
        label = f"class{number % classes}"
        path = root / label / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = drawn[number % different] + number.to_bytes(8, "big")
        path.write_bytes(data)
        rows.append((path.relative_to(root).as_posix(), label, number % classes, sha256_bytes(data)))
    manifest = pd.DataFrame(rows, columns=["path", "label", "target", "sha256"]).sort_values("path", ignore_index=True)
    return manifest.assign(width=width, height=height, held_out="", group="", cluster="")
