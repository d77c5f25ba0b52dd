"""Folder names as labels."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.photos_view import column, labels, reasons

from florafauna.base.errors import UserError
from florafauna.labels.read import read_photos

MakePhotos = Callable[..., Path]


def test_a_folder_a_label_at_any_depth_below(make_photos: MakePhotos) -> None:
    root = make_photos("deer/a.jpg", "deer/2020/x/b.JPG", "fox/c.png", "fox/2020/x/d.webp")
    (root / "deer" / "notes.docx").write_bytes(b"x")
    (root / "README.md").write_text("about")
    photos = read_photos(root, root)
    assert photos.format == "folder"
    assert labels(photos) == {
        "deer/2020/x/b.JPG": "deer", "deer/a.jpg": "deer", "fox/2020/x/d.webp": "fox", "fox/c.png": "fox",
    }  # fmt: skip
    assert reasons(photos) == {"deer/notes.docx": "not_a_photo"}


def test_labels_are_taken_as_they_are_spelt(make_photos: MakePhotos) -> None:
    root = make_photos("007/a.jpg", "NA/a.jpg", "true/a.jpg", " Fox/a.jpg", "fox/a.jpg", "Ñandú/a.jpg")
    assert sorted(read_photos(root, root).table["label"]) == sorted(["007", "NA", "true", " Fox", "fox", "Ñandú"])


def test_files_the_audit_refuses_are_kept_for_it(make_photos: MakePhotos) -> None:
    root = make_photos("deer/a.heic", "deer/b.CR2", "deer/c.mp4", "deer/jpeg_without_extension")
    (root / "deer" / "text_without_extension").write_text("no photo")
    photos = read_photos(root, root)
    assert list(photos.table["path"]) == ["deer/a.heic", "deer/b.CR2", "deer/jpeg_without_extension"]
    assert reasons(photos) == {"deer/c.mp4": "not_a_photo", "deer/text_without_extension": "not_a_photo"}


def test_split_folders(make_photos: MakePhotos) -> None:
    root = make_photos("train/deer/a.jpg", "validation/deer/b.jpg", "Test/fox/c.jpg", "train/fox/x/d.jpg")
    photos = read_photos(root, root)
    assert labels(photos)["train/fox/x/d.jpg"] == "fox"
    assert column(photos, "split") == {
        "Test/fox/c.jpg": "test", "train/deer/a.jpg": "train", "train/fox/x/d.jpg": "train",
        "validation/deer/b.jpg": "val",
    }  # fmt: skip


def test_without_a_test_folder_val_is_the_test_set(make_photos: MakePhotos) -> None:
    root = make_photos("inaturalist_12K/train/Aves/a.jpg", "inaturalist_12K/val/Aves/b.jpg")
    photos = read_photos(root / "inaturalist_12K", root / "inaturalist_12K")
    assert column(photos, "split") == {"train/Aves/a.jpg": "train", "val/Aves/b.jpg": "test"}
    # the folder around it, as the archive is packed, changes nothing
    assert list(read_photos(root, root).table["split"]) == ["train", "test"]


def test_a_single_split_folder_gives_no_split(make_photos: MakePhotos) -> None:
    root = make_photos("train/deer/a.jpg", "train/fox/b.jpg")
    photos = read_photos(root, root)
    assert list(photos.table["label"]) == ["deer", "fox"]
    assert "split" not in photos.table.columns


@pytest.mark.parametrize("top", ["images", "Photos"])
def test_a_folder_around_the_labels_is_no_label(make_photos: MakePhotos, top: str) -> None:
    root = make_photos(f"{top}/deer/a.jpg", f"{top}/fox/b.jpg")
    assert list(read_photos(root, root).table["label"]) == ["deer", "fox"]


def test_sites_that_are_named_so_are_recognised(make_photos: MakePhotos) -> None:
    paths = ("deer/a.jpg", "fox/b.jpg")
    root = make_photos(*(f"{site}/{path}" for site in ("site_01", "site_02") for path in paths))
    photos = read_photos(root, root)
    assert photos.format == "site/label"
    assert labels(photos)["site_02/fox/b.jpg"] == "fox"
    assert column(photos, "location")["site_02/fox/b.jpg"] == "site_02"
    root = make_photos("deer/Camera 3/a.jpg", "deer/Camera 4/a.jpg", "fox/Camera 3/b.jpg", root="other")
    photos = read_photos(root, root)
    assert photos.format == "label/site"
    assert column(photos, "location")["fox/Camera 3/b.jpg"] == "Camera 3"


def test_an_ambiguous_layout_is_asked_for(make_photos: MakePhotos) -> None:
    root = make_photos("north/deer/a.jpg", "north/fox/b.jpg", "south/deer/c.jpg", "south/fox/d.jpg")
    with pytest.raises(UserError, match=r"north/deer .* not clear which folder is the label; set data\.format"):
        read_photos(root, root)
    assert list(read_photos(root, root, "site/label").table["label"]) == ["deer", "fox", "deer", "fox"]
    assert list(read_photos(root, root, "label/site").table["label"]) == ["north", "north", "south", "south"]
    assert list(read_photos(root, root, "folder").table["label"]) == ["north", "north", "south", "south"]
    assert "location" not in read_photos(root, root, "folder").table.columns


@pytest.mark.parametrize("below", ["100MEDIA", "2021-05-04", "part_1"])
def test_folders_of_cameras_and_dates_make_no_layout_ambiguous(make_photos: MakePhotos, below: str) -> None:
    other = {"100MEDIA": "101MEDIA", "2021-05-04": "2021-05-05", "part_1": "part_2"}[below]
    root = make_photos(*(f"{label}/{folder}/a.jpg" for label in ("deer", "fox") for folder in (below, other)))
    photos = read_photos(root, root)
    assert (photos.format, set(photos.table["label"])) == ("folder", {"deer", "fox"})


def test_photos_outside_of_label_folders(make_photos: MakePhotos) -> None:
    root = make_photos("deer/a.jpg", "cover.jpg")
    assert reasons(read_photos(root, root)) == {"cover.jpg": "no_label"}
    root = make_photos("a.jpg", "b.jpg", root="flat")
    with pytest.raises(UserError, match=r"not in a label folder, for example a\.jpg"):
        read_photos(root, root)


def test_no_photos(make_photos: MakePhotos) -> None:
    root = make_photos()
    with pytest.raises(UserError, match="holds no photos"):
        read_photos(root, root)


def test_folders_know_no_ranks(make_photos: MakePhotos) -> None:
    root = make_photos("deer/a.jpg", "fox/b.jpg")
    with pytest.raises(UserError, match="no 'genus' for its photos; it has no ranks"):
        read_photos(root, root, rank="genus")


def test_folder_layouts_need_the_root_as_labels(make_photos: MakePhotos, tmp_path: Path) -> None:
    root = make_photos("deer/a.jpg")
    (tmp_path / "labels.csv").write_text("path,label\ndeer/a.jpg,deer\n")
    with pytest.raises(UserError, match="takes the labels from folder names"):
        read_photos(root, tmp_path / "labels.csv", "folder")
