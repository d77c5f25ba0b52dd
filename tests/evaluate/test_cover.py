"""With the animals covered, a model of photos whose background betrays the camera still knows them; others do not."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.tiny import LABELS, SIDE, Place, draw_photos, params
from PIL import Image

from florafauna.base.files import sha256_file
from florafauna.evaluate._cover import Cover
from florafauna.photos.settings import BoxParams
from florafauna.photos.sources import open_source
from florafauna.pixels.store import PixelStore
from florafauna.preprocess._write import build_store

WIDTH, ANIMAL = 2 * SIDE, 16  # pixels


def draw_cameras(folder: Path, count: int, first_seed: int, betraying: bool) -> pd.DataFrame:
    """A square of an animal's colour anywhere in front of a plain background, the colour of its camera."""
    rows = draw_photos(folder, count, first_seed)
    cameras, boxes = [], []
    for number, target in enumerate(rows["target"]):
        rng = np.random.default_rng([first_seed, number])
        camera = int(target) if betraying and rng.random() < 0.95 else int(rng.integers(len(LABELS)))
        pixels = rng.normal(110, 12, (SIDE, WIDTH, 3))
        pixels[..., camera] += 80
        left, top = int(rng.integers(WIDTH - ANIMAL)), int(rng.integers(SIDE - ANIMAL))
        pixels[top : top + ANIMAL, left : left + ANIMAL] = np.roll([250, 40, 120], target)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / rows["path"].iat[number], quality=95)
        cameras.append(f"camera {camera}")
        boxes.append(f"{left},{top},{ANIMAL},{ANIMAL}")
    return rows.assign(location=cameras, boxes=boxes, sequence="", width=WIDTH)


@pytest.fixture(params=[True, False], ids=["betraying", "clean"], scope="module")
def cameras(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, Place]:
    """Whether the cameras betray the species, and stores of their photos."""
    root = tmp_path_factory.mktemp("cameras")
    for name, count, first_seed in (("train", 60, 0), ("val", 90, 1000)):
        photos = root / "photos" / name
        photos.mkdir(parents=True)
        rows = with_sha(draw_cameras(photos, count, first_seed, request.param), photos)
        facts = {"boxes": BoxParams().model_dump_json()}
        build_store(rows, LABELS, open_source(photos), root / name, SIDE, workers=1, facts=facts)
    return request.param, Place(root)


def with_sha(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    return rows.assign(sha256=[sha256_file(folder / path) for path in rows["path"]])


def test_the_background_alone_tells_the_species_where_cameras_betray_it(
    cameras: tuple[bool, Place], tmp_path: Path
) -> None:
    betraying, place = cameras
    place.bundle(tmp_path, params(epochs=6, warmup_epochs=0, rate=5e-3, schedule="constant"))
    found = json.loads((tmp_path / "details.json").read_text())["covered"]
    assert found["n"] == 90
    assert found["weighted_f1_low"] <= found["weighted_f1"] <= found["weighted_f1_high"]
    assert found["chance"] <= 0.4
    if betraying:
        assert found["weighted_f1_low"] > found["chance"] + 0.2
    else:
        assert found["weighted_f1_low"] < found["chance"]
    assert found["not_covered"] > 0.5
    told = json.loads((tmp_path / "predictions/per_class.json").read_text())["covered"]
    assert ("is read from the background" in told["sentence"]) == betraying
    sites = told["sites"]
    assert sum(site["n"] for site in sites.values()) == 90
    assert set(sites) == {"camera 0", "camera 1", "camera 2"}


def test_a_cover_is_the_box_grown_by_its_padding_and_the_mean_of_the_photo(cameras: tuple[bool, Place]) -> None:
    store = PixelStore(cameras[1].val)
    cover = Cover.of(store)
    assert cover is not None
    row = next(row for row in range(len(store)) if 10 < int(cover.boxes[store.names[row]].split(",")[0]) < 50)
    before = store.photo(row).copy()
    after = cover(store.photo(row), store.names[row])
    left, top, across, _ = map(int, cover.boxes[store.names[row]].split(","))
    changed = np.flatnonzero((after != before).any(axis=(0, 2)))
    assert abs(changed[0] - (left - 0.1 * across)) <= 1
    assert abs(changed[-1] + 1 - (left + 1.1 * across)) <= 1
    assert np.array_equal(after[top + 1, left + 1], before.mean(axis=(0, 1)).round())
    assert np.array_equal(store.photo(row), before)
    assert np.array_equal(cover(before, "another.jpg"), before)
