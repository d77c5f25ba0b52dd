"""The same picture under two labels, saved again or not, is a conflict; frames of one camera are not."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from audit.drawn import CountingSource, saved, scene, write
from PIL import ExifTags, Image, ImageDraw, ImageOps

from florafauna.conflicts import MISSES, label_conflicts
from florafauna.dataset import Dataset, prepare
from florafauna.examine import examine
from florafauna.params import DataParams, SplitParams
from florafauna.perceptual import THUMBNAIL
from florafauna.registration import picture, same_exposure

FOX, EMPTY = "fox", "empty"
COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "the same bytes": saved,
    "quality 50": lambda image: saved(image, quality=50),
    "quality 95": lambda image: saved(image, quality=95),
    "another format": lambda image: saved(image, "PNG"),
    "half the size": lambda image: saved(image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)),
    "three quarters of the size": lambda image: saved(image.resize((240, 180), Image.Resampling.BICUBIC)),
    "cropped by 5 %": lambda image: saved(image.crop((11, 4, 315, 232))),
    "mirrored, cropped, smaller, in other colours, quality 60": lambda image: saved(
        tinted(ImageOps.mirror(image.crop((3, 8, 310, 238)))).resize((200, 150), Image.Resampling.BICUBIC), quality=60
    ),
    "mirrored": lambda image: saved(ImageOps.mirror(image)),
    "another gamma": lambda image: saved(image.point(lambda level: round(255 * (level / 255) ** 0.92))),
}


def tinted(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) * [1.05, 0.97, 0.94]).clip(0, 255).astype(np.uint8))


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


@pytest.mark.parametrize("share", [0.001, 0.005, 0.02])
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


def test_a_camera_of_many_frames_is_not_decoded_pair_by_pair(tmp_path: Path) -> None:
    """The pairs most alike are tried, so that a copy is found, and no more once MISSES were none."""
    background, rows, squares = scene(3), [], []
    for number in range(2 * MISSES + 40):
        frame = with_animal(background, 30 + 18 * (number % 14), 30 + 15 * (number // 14), 0.01)
        rows.append((f"{number}.jpg", (EMPTY, FOX)[number % 2], saved(frame)))
    rows.append(("copy.jpg", FOX, saved(Image.open(BytesIO(rows[0][2])), quality=80)))
    for path, _, content in rows:
        write(tmp_path, path, content)
        squares.append(np.frombuffer(examine(content).thumbnail, np.uint8).reshape(THUMBNAIL, THUMBNAIL))
    table = pd.DataFrame({"path": [row[0] for row in rows], "label": [row[1] for row in rows]})
    table = table.assign(cluster=0, sha256=table["path"], flat=False)
    source = CountingSource(tmp_path)
    found = label_conflicts(table, np.stack(squares), source)
    assert list(table.loc[found != "", "path"]) == ["0.jpg", "copy.jpg"]
    assert len(source.was_read) <= 2 * MISSES + 2 < len(rows)


def test_a_cluster_whose_files_no_longer_decode_has_no_copies(tmp_path: Path) -> None:
    write(tmp_path, "broken.jpg", saved(scene(7))[:300])
    table = pd.DataFrame({"path": ["broken.jpg", "gone.jpg"], "label": [FOX, EMPTY], "sha256": ["a", "b"]})
    squares = np.repeat(np.arange(THUMBNAIL**2, dtype=np.uint8).reshape(1, THUMBNAIL, THUMBNAIL), 2, axis=0)
    found = label_conflicts(table.assign(cluster=0, flat=False), squares, CountingSource(tmp_path))
    assert list(found) == ["", ""]


@pytest.mark.parametrize("content", [b"", b"no picture", saved(scene(1))[:300]], ids=["empty", "text", "cut"])
def test_what_is_no_picture_gives_none(content: bytes) -> None:
    assert picture(content) is None


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("size", [(1, 1), (3, 400), (320, 240)])
def test_every_mode_and_shape_can_be_compared(mode: str, size: tuple[int, int]) -> None:
    odd = picture(saved(Image.new(mode, size), "TIFF"))
    other = picture(saved(scene(1)))
    assert odd is not None
    assert other is not None
    assert same_exposure(odd, odd)
    assert not same_exposure(odd, other)
    assert not same_exposure(other, odd)


def test_a_picture_is_upright_and_copies_are_the_same_in_both_directions() -> None:
    upright = scene(7)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    turned = picture(saved(upright.transpose(Image.Transpose.ROTATE_90), exif=exif))
    first, cropped = picture(saved(upright)), picture(COPIES["cropped by 5 %"](upright))
    assert turned is not None
    assert first is not None
    assert cropped is not None
    assert same_exposure(first, turned)
    assert same_exposure(first, cropped)
    assert same_exposure(cropped, first)
    assert not same_exposure(first, cropped[:, ::-1])
