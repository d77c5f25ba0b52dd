"""The same picture under two labels, saved again or not, is a conflict; frames of one camera are not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from audit.drawn import saved, scene, write
from PIL import Image, ImageDraw, ImageOps

from florafauna.dataset import Dataset, prepare
from florafauna.params import DataParams, SplitParams

FOX, EMPTY = "fox", "empty"
COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "the same bytes": saved,
    "quality 50": lambda image: saved(image, quality=50),
    "quality 95": lambda image: saved(image, quality=95),
    "another format": lambda image: saved(image, "PNG"),
    "half the size": lambda image: saved(image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)),
    "mirrored": lambda image: saved(ImageOps.mirror(image)),
    "another gamma": lambda image: saved(image.point(lambda level: round(255 * (level / 255) ** 0.92))),
}


def prepared(root: Path, photos: dict[str, bytes], times: dict[str, str] | None = None) -> Dataset:
    """Photos by `label/name`, among 12 other photos of each label."""
    labels = [EMPTY, FOX]
    others = {
        f"{label}/other_{n}.jpg": saved(scene(100 + 50 * k + n)) for k, label in enumerate(labels) for n in range(12)
    }
    everything = others | photos
    for path, content in everything.items():
        write(root, path, content)
    rows = pd.DataFrame({"path": list(everything), "label": [path.partition("/")[0] for path in everything]})
    if times is not None:
        rows["datetime"] = rows["path"].map(times).fillna("")
    rows.to_csv(root / "labels.csv", index=False)
    corrections = root.parent / "corrections.csv"
    corrections.write_text("path,label\n")
    return prepare(DataParams(root=str(root), labels=str(root / "labels.csv")), SplitParams(), corrections)


def with_animal(image: Image.Image, x: int, y: int, share: float) -> Image.Image:
    """A round, dark animal that covers `share` of the picture."""
    radius = (share * image.width * image.height / np.pi) ** 0.5
    drawn = image.copy()
    ImageDraw.Draw(drawn).ellipse((x - radius, y - radius, x + radius, y + radius), fill=(40, 35, 30))
    return drawn


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_under_another_label_is_quarantined_and_both_files_are_named(kind: str, tmp_path: Path) -> None:
    picture = scene(7)
    dataset = prepared(tmp_path / "photos", {"fox/a.jpg": saved(picture), "empty/b.jpg": COPIES[kind](picture)})
    assert list(dataset.quarantine["path"]) == ["empty/b.jpg", "fox/a.jpg"]
    assert set(dataset.quarantine["reason"]) == {"label_conflict"}
    what = "file" if kind == "the same bytes" else "picture"
    for detail in dataset.quarantine["detail"]:
        assert detail == f"the same {what} under several labels: empty/b.jpg (empty) and fox/a.jpg (fox)"
    counts = dataset.facts["per_class"]
    assert counts[FOX]["input"] == counts[FOX]["used"] + 1 == 13
    assert dataset.facts["duplicates"]["clusters"] == 0


def test_copies_under_one_label_stay(tmp_path: Path) -> None:
    picture = scene(7)
    dataset = prepared(tmp_path / "photos", {"fox/a.jpg": saved(picture), "fox/b.jpg": COPIES["quality 50"](picture)})
    assert len(dataset.quarantine) == 0
    assert dataset.facts["duplicates"]["photos"] == 2


@pytest.mark.parametrize("share", [0.005, 0.02])
def test_empty_and_occupied_frames_of_a_camera_are_kept_on_one_side_and_are_suspects(
    share: float, tmp_path: Path
) -> None:
    """Eight empty frames and eight with an animal somewhere; sensor noise and light differ a little."""
    rng, background, photos = np.random.default_rng(0), scene(3), {}
    for number in range(16):
        label = (EMPTY, FOX)[number % 2]
        frame = with_animal(background, 40 + 15 * number, 60 + 8 * number, share) if label == FOX else background
        noisy = np.asarray(frame) * rng.uniform(0.97, 1.03) + rng.normal(0, 4, (240, 320, 3))
        photos[f"{label}/frame_{number}.jpg"] = saved(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))
    dataset = prepared(tmp_path / "photos", photos)
    assert len(dataset.quarantine) == 0
    (suspect,) = dataset.facts["suspects"]["near_duplicates_with_other_labels"]
    assert len(suspect["paths"]) > 8  # all empty frames, and those with an animal that are still alike
    assert set(suspect["labels"]) == {EMPTY, FOX}
    assert dataset.manifest.set_index("path").loc[suspect["paths"], "split"].nunique() == 1


def test_pictures_of_different_times_are_different_exposures(tmp_path: Path) -> None:
    picture = scene(7)
    photos = {"fox/a.jpg": saved(picture), "empty/b.jpg": COPIES["quality 50"](picture)}
    times = {"fox/a.jpg": "2024-05-01T10:00:00", "empty/b.jpg": "2024-05-01T10:00:01"}
    assert len(prepared(tmp_path / "one" / "photos", photos, times).quarantine) == 0
    times["empty/b.jpg"] = times["fox/a.jpg"]
    assert len(prepared(tmp_path / "two" / "photos", photos, times).quarantine) == 2
