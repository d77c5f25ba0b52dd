"""Draw photos of four camera traps: python -m tools.sample.cameras OUT [SEED]. The same bytes every time.

Sequences of three, one or two small animals each, in front of what each camera always sees. Beside the photos lie
labels.csv (path, species, location, sequence; two rows where two species are seen), boxes.csv (the boxes as they were
drawn, each with its species) and detections.json (MegaDetector's form, with mistakes as a detector makes them).
"""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from tools.sample.pen import Pen, rotation
from tools.sample.scene import OVERSAMPLING, background, textured, with_shadow
from tools.sample.species import SAMPLE, Species
from tools.sample.subjects import KINDS

SEED = 2026
WIDTH, HEIGHT = 640, 480
CAMERAS, SEQUENCES, SHOTS = 4, 50, 3
ANIMALS = tuple(species for species in SAMPLE if species.kind in ("butterfly", "beetle"))
SIDES = (56, 96)  # pixels of an animal
BETRAYED = 0.95  # of the sequences of a set whose cameras betray the species
BEGIN = datetime(2026, 5, 1, 6)
EXIF_IFD, TAKEN = 0x8769, 0x9003

Box = tuple[int, int, int, int]  # left, top, width, height


@dataclass(frozen=True)
class Animal:
    """An individual, where it sits at first (pixels), and how large it is."""

    species: Species
    looks: int  # seeds its looks and pose
    place: np.ndarray
    side: int


def draw(out: Path, seed: int = SEED, betraying: bool = False) -> None:
    """Replace the folder `out`. Where the set is `betraying`, nearly every camera has a species of its own.

    In other sets the camera says nothing of the species.
    """
    shutil.rmtree(out, ignore_errors=True)
    scenes = [background((WIDTH, HEIGHT), np.random.default_rng([seed, 1, camera])) for camera in range(CAMERAS)]
    labels, boxes, images = [], [], []
    for sequence in range(SEQUENCES):
        rng = np.random.default_rng([seed, 2, sequence])
        camera = sequence % CAMERAS
        animals = list(_animals(rng, camera if betraying and rng.random() < BETRAYED else None))
        scene = _lit(scenes[camera], rng)
        begin = BEGIN + timedelta(hours=sequence, minutes=int(rng.integers(50)))
        for shot in range(SHOTS):
            path = f"photos/camera_{camera}/{sequence:03d}_{shot}.jpg"
            picture, found = _photograph(scene, animals, rng)
            _save(picture, out / path, begin + timedelta(seconds=2 * shot))
            seen = [(animal.species.name, box) for animal, box in zip(animals, found, strict=True)]
            named = {"location": f"camera_{camera}", "sequence": f"{sequence:03d}"}
            labels += [{"path": path, "species": name, **named} for name in sorted({name for name, _ in seen})]
            boxes += [{"path": path, "species": name, **_shares(box)} for name, box in seen]
            images.append({"file": path, "detections": list(_detected([box for _, box in seen], rng))})
    for name, rows in (("labels", labels), ("boxes", boxes)):
        pd.DataFrame(rows).to_csv(out / f"{name}.csv", index=False, lineterminator="\n")
    info = {"format_version": "1.5", "detector": "drawn", "detection_completion_time": f"{BEGIN}"}
    categories = {"1": "animal", "2": "person", "3": "vehicle"}
    document = {"info": info, "detection_categories": categories, "images": images}
    (out / "detections.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


def _lit(scene: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The scene in sun and shadow, which fall anew for every sequence: else all its photos would be near-duplicates."""
    grid = rng.normal(1, 0.35, (5, 5)).clip(0.3, 1.8).astype(np.float32)
    shade = np.asarray(Image.fromarray(grid).resize(scene.size, Image.Resampling.BICUBIC))
    pixels = np.asarray(scene, dtype=np.float32) * shade[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _animals(rng: np.random.Generator, only: int | None) -> Iterator[Animal]:
    """One animal, or two, of which half are of one species."""
    first = int(rng.integers(len(ANIMALS))) if only is None else only
    kinds = [first]
    if rng.random() < 0.3:
        kinds.append(first if rng.random() < 0.5 or only is not None else int(rng.integers(len(ANIMALS))))
    for number, kind in enumerate(kinds):
        left = rng.uniform(0.05, 0.35) + 0.45 * number  # beside each other, not on each other
        place = np.array([left * WIDTH, rng.uniform(0.1, 0.75) * HEIGHT])
        yield Animal(ANIMALS[kind], int(rng.integers(1 << 31)), place, int(rng.integers(*SIDES)))


def _photograph(scene: Image.Image, animals: list[Animal], rng: np.random.Generator) -> tuple[Image.Image, list[Box]]:
    """A shot of the animals, each a little further, and their boxes."""
    layer = Image.new("RGBA", scene.size, (0, 0, 0, 0))
    boxes = []
    for animal in animals:
        picture = _drawn(animal, rng.normal(0, 0.1))
        left, top = (animal.place + rng.normal(0, 8, 2)).round().astype(int).tolist()
        left, top = max(0, min(left, WIDTH - picture.width)), max(0, min(top, HEIGHT - picture.height))
        layer.paste(picture, (left, top), picture)
        edges = picture.getchannel("A").getbbox() or (0, 0, *picture.size)
        boxes.append((left + edges[0], top + edges[1], edges[2] - edges[0], edges[3] - edges[1]))
    pixels = np.asarray(with_shadow(scene, layer, rng), dtype=np.float32)
    pixels = pixels * np.float32(rng.uniform(0.75, 1.15)) + rng.normal(0, 4, (HEIGHT, WIDTH, 1)).astype(np.float32)
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8)), boxes


def _drawn(animal: Animal, turned: float) -> Image.Image:
    """The animal on a transparent square of its side."""
    pose, looks = (np.random.default_rng([animal.looks, part]) for part in (0, 1))
    side = animal.side * OVERSAMPLING
    layer = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    matrix = rotation(pose.uniform(-np.pi, np.pi) + turned) * side * 0.4
    KINDS[animal.species.kind](Pen(layer, matrix, np.array([side / 2, side / 2])), animal.species.traits, looks)
    return textured(layer, looks).resize((animal.side, animal.side), Image.Resampling.BOX)


def _detected(boxes: list[Box], rng: np.random.Generator) -> Iterator[dict[str, object]]:
    """What a detector makes of boxes: a little off, one in 25 missed; one photo in ten has a box around nothing."""
    for box in boxes:
        missed = rng.random() < 0.04
        moved = np.array(box) + rng.normal(0, 2, 4)
        yield _detection(moved, float(rng.uniform(0.02, 0.18) if missed else rng.uniform(0.5, 0.98)))
    if rng.random() < 0.1:
        nothing = np.array([*rng.uniform(0, 0.7, 2) * (WIDTH, HEIGHT), *rng.uniform(40, 120, 2)])
        yield _detection(nothing, float(rng.uniform(0.05, 0.3)), str(rng.choice(["1", "2"])))


def _detection(box: np.ndarray, confidence: float, category: str = "1") -> dict[str, object]:
    left, top = (max(0.0, float(value)) for value in box[:2])
    across, down = min(float(box[2]), WIDTH - left), min(float(box[3]), HEIGHT - top)
    shares = (left / WIDTH, top / HEIGHT, across / WIDTH, down / HEIGHT)
    return {"category": category, "conf": round(confidence, 3), "bbox": [round(value, 4) for value in shares]}


def _shares(box: Box) -> dict[str, float]:
    names = ("bbox_x", "bbox_y", "bbox_width", "bbox_height")
    sides = (WIDTH, HEIGHT, WIDTH, HEIGHT)
    return {name: round(value / side, 4) for name, value, side in zip(names, box, sides, strict=True)}


def _save(picture: Image.Image, path: Path, taken: datetime) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[TAKEN] = f"{taken:%Y:%m:%d %H:%M:%S}"
    picture.save(path, quality=88, exif=exif)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m tools.sample.cameras OUT [SEED]")
    draw(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else SEED)
