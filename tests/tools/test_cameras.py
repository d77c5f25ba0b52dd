"""The camera-trap photos that are drawn on request: what a detector's file, labels and sequences look like."""

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from florafauna.labels.detections import read_detections
from tools.sample.cameras import draw


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cameras")
    draw(out)
    return out


def test_150_photos_in_sequences_of_three_from_four_cameras(drawn: Path) -> None:
    labels = pd.read_csv(drawn / "labels.csv", dtype=str)
    photos = labels.drop_duplicates("path")
    assert len(photos) == len(list(drawn.glob("photos/*/*.jpg"))) == 150
    assert photos["location"].nunique() == 4
    assert (photos["sequence"].value_counts() == 3).all()
    with Image.open(drawn / photos["path"].iloc[0]) as picture:
        assert picture.size == (640, 480)


def test_the_detector_is_mostly_right(drawn: Path) -> None:
    true = read_detections(drawn / "boxes.csv").table
    found = read_detections(drawn / "detections.json").table
    assert true.groupby("path").size().isin([1, 2]).all()
    assert (true["width"] < 0.2).all()
    sure = found[(found["confidence"] >= 0.2) & (found["category"] == "animal")]
    assert 0.9 < len(sure) / len(true) < 1.05
    assert len(found) > len(sure), "some are missed, and some are nothing"
    assert json.loads((drawn / "detections.json").read_text())["info"]["format_version"] == "1.5"


def test_it_is_a_function_of_its_seed_and_a_camera_can_betray_the_species(drawn: Path, tmp_path: Path) -> None:
    draw(tmp_path / "again")
    draw(tmp_path / "betraying", betraying=True)
    for name in ("labels.csv", "boxes.csv", "detections.json", "photos/camera_1/001_2.jpg"):
        assert (tmp_path / "again" / name).read_bytes() == (drawn / name).read_bytes()
    for folder, low, high in ((drawn, 0.2, 0.6), (tmp_path / "betraying", 0.8, 1.0)):
        boxes = pd.read_csv(folder / "boxes.csv")
        camera = boxes["path"].str.split("/").str[1]
        most = boxes.groupby(camera)["species"].agg(lambda names: names.value_counts(normalize=True).max())
        assert low < most.mean() <= high
