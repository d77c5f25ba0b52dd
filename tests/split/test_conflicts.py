"""Equal pixels under two labels are a conflict; near-duplicates under two labels are suspects until settled."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.drawn import saved, scene, write
from PIL import ExifTags, Image, ImageOps

from florafauna.audit.examine import examine
from florafauna.photos.settings import DataParams
from florafauna.split.dataset import Dataset, prepare
from florafauna.split.settings import SplitParams

FOX, EMPTY = "fox", "empty"


def with_metadata(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "looked at twice"
    return saved(image, exif=exif)


SAME: dict[str, Callable[[Image.Image], bytes]] = {"file": saved, "picture": with_metadata}
ALIKE: dict[str, Callable[[Image.Image], bytes]] = {
    "quality 50": lambda image: saved(image, quality=50),
    "half the size": lambda image: saved(image.resize((image.width // 2, image.height // 2))),
    "mirrored": lambda image: saved(ImageOps.mirror(image)),
}


def prepared(folder: Path, photos: dict[str, bytes], corrections: str = "") -> Dataset:
    """Photos by `label/name`, among 12 other photos of each label."""
    others = {
        f"{label}/other_{n}.jpg": saved(scene(100 + 50 * k + n))
        for k, label in enumerate((EMPTY, FOX))
        for n in range(12)
    }
    for path, content in (others | photos).items():
        write(folder / "photos", path, content)
    (folder / "corrections.csv").write_text(f"path,label\n{corrections}")
    data = DataParams(root=str(folder / "photos"), labels=str(folder / "photos"))
    return prepare(data, SplitParams(), folder / "corrections.csv")


def suspects(dataset: Dataset) -> list[dict[str, list[str]]]:
    found: list[dict[str, list[str]]] = dataset.facts["suspects"]["near_duplicates_with_other_labels"]
    return found


@pytest.mark.parametrize("what", SAME)
def test_equal_pixels_under_two_labels_are_quarantined_and_all_files_are_named(what: str, tmp_path: Path) -> None:
    dataset = prepared(tmp_path, {"fox/a.jpg": saved(scene(7)), "empty/b.jpg": SAME[what](scene(7))})
    assert list(dataset.quarantine["path"]) == ["empty/b.jpg", "fox/a.jpg"]
    assert set(dataset.quarantine["reason"]) == {"label_conflict"}
    for detail in dataset.quarantine["detail"]:
        assert detail == f"the same {what} under several labels: empty/b.jpg (empty) and fox/a.jpg (fox)"
    counts = dataset.facts["per_class"]
    assert counts[FOX]["input"] == counts[FOX]["used"] + 1 == 13
    assert dataset.facts["duplicates"]["clusters"] == 0
    assert suspects(dataset) == []


@pytest.mark.parametrize("what", SAME)
def test_equal_pixels_under_one_label_are_exact_duplicates(what: str, tmp_path: Path) -> None:
    dataset = prepared(tmp_path, {"fox/a.jpg": saved(scene(7)), "fox/b.jpg": SAME[what](scene(7))})
    assert len(dataset.quarantine) == 0
    assert dataset.facts["duplicates"] == {"clusters": 1, "photos": 2, "exact": 2}


@pytest.mark.parametrize("kind", ALIKE)
def test_near_duplicates_under_two_labels_are_suspects_on_one_side_of_the_split(kind: str, tmp_path: Path) -> None:
    dataset = prepared(tmp_path, {"fox/a.jpg": saved(scene(7)), "empty/b.jpg": ALIKE[kind](scene(7))})
    assert len(dataset.quarantine) == 0
    assert suspects(dataset) == [{"paths": ["empty/b.jpg", "fox/a.jpg"], "labels": [EMPTY, FOX]}]
    assert dataset.manifest.set_index("path").loc[["empty/b.jpg", "fox/a.jpg"], "split"].nunique() == 1
    assert dataset.facts["duplicates"] == {"clusters": 1, "photos": 2, "exact": 0}


@pytest.mark.parametrize("row", ["empty/b.jpg,fox", "empty/b.jpg,remove", "fox/a.jpg,fox"])
def test_a_corrected_or_confirmed_label_is_no_longer_suspected(row: str, tmp_path: Path) -> None:
    photos = {"fox/a.jpg": saved(scene(7)), "empty/b.jpg": saved(scene(7), quality=50)}
    assert suspects(prepared(tmp_path, photos, f"{row}\n")) == []


def test_what_nobody_looked_at_stays_suspect(tmp_path: Path) -> None:
    photos = {"fox/a.jpg": saved(scene(7)), "empty/b.jpg": saved(scene(7), quality=50)}
    photos["fox/c.jpg"] = saved(scene(7), quality=60)
    (found,) = suspects(prepared(tmp_path, photos, "fox/c.jpg,fox\n"))
    assert found["paths"] == ["empty/b.jpg", "fox/a.jpg"]


def test_the_report_shows_a_photo_of_each_label(tmp_path: Path) -> None:
    photos = {"fox/a.jpg": saved(scene(7)), "fox/c.jpg": saved(scene(7), quality=60)}
    dataset = prepared(tmp_path, photos | {"empty/b.jpg": saved(scene(7), quality=50)})
    names = ("manifest.csv", "quarantine.csv", "examples.parquet", "data.json", "places.csv")
    dataset.write(*(tmp_path / name for name in names))
    examples = pd.read_parquet(tmp_path / "examples.parquet")
    shown = examples[examples["kind"] == "suspect"]
    assert list(zip(shown["path"], shown["label"], strict=True)) == [("empty/b.jpg", EMPTY), ("fox/a.jpg", FOX)]
    assert shown["name"].nunique() == 1
    assert (shown["picture"].str.len() > 0).all()


def test_black_frames_are_the_same_only_byte_for_byte(tmp_path: Path) -> None:
    """What is fine detail is not decoded; frames of a night without a flash have nothing else to tell them apart."""
    night = np.full((768, 1024, 3), 20, np.uint8)
    other = night.copy()
    other[8:16, 8:16] += np.tile(np.array([[-6, 6], [6, -6]], np.int8), (4, 4))[:, :, None].astype(np.uint8)
    frames = [saved(Image.fromarray(pixels), quality=95) for pixels in (night, other)]
    assert frames[0] != frames[1]
    assert examine(frames[0]).pixels == examine(frames[1]).pixels
    dataset = prepared(tmp_path, {"fox/a.jpg": frames[0], "empty/b.jpg": frames[1]})
    assert len(dataset.quarantine) == 0
    assert suspects(dataset) == []
