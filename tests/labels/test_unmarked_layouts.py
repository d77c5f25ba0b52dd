"""Layouts that say nothing of themselves: classes are what was meant, or the run ends with what to set."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.photos_view import column, labels, reasons

from florafauna.base.errors import UserError
from florafauna.labels.read import read_photos

MakePhotos = Callable[..., Path]
Write = Callable[..., Path]
Fixture = Callable[[str], Path]


def beside(root: Path, files: Path) -> Path:
    """The root with the label files among its photos."""
    shutil.copytree(files, root, dirs_exist_ok=True)
    return root


def test_hugging_face_metadata_in_the_folders_of_the_split(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    root = beside(make_photos("train/0001.png", "train/0002.png", "test/0003.png"), fixture_of("huggingface"))
    photos = read_photos(root, root)
    assert labels(photos) == {"test/0003.png": "deer", "train/0001.png": "deer", "train/0002.png": "fox"}
    assert list(photos.table["split"]) == ["test", "train", "train"]
    assert list(photos.table["location"]) == ["S1", "S1", "S2"]
    assert photos.notes[0] == (
        "labels from test/metadata.csv, train/metadata.csv: column label; 3 of 3 rows found; split from these files"
    )


def test_hugging_face_metadata_at_the_top(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    root = make_photos("train/0001.png", "train/0002.png", "test/0003.png")
    shutil.copy(fixture_of("huggingface_metadata.jsonl"), root / "metadata.jsonl")
    photos = read_photos(root, root)
    assert list(photos.table["label"]) == ["deer", "deer", "fox"]
    assert list(photos.table["split"]) == ["test", "train", "train"]
    assert photos.notes[0] == (
        "labels from metadata.jsonl: column label; 3 of 3 rows found; split from the folders train, test"
    )


def test_a_roboflow_export_of_boxes(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    names = {"train": (0, 1), "valid": (2,), "test": (3,)}
    paths = [f"{split}/IMG_{n}_jpg.rf.0a{n}.jpg" for split, numbers in names.items() for n in numbers]
    root = beside(make_photos(*paths), fixture_of("roboflow_coco"))
    photos = read_photos(root, root)
    assert {path: labels(photos)[path] for path in paths} == dict(
        zip(paths, ["deer", "fox", "deer", "fox"], strict=True)
    )
    assert [column(photos, "split")[path] for path in paths] == ["train", "train", "val", "test"]
    assert photos.format == "coco"


def test_a_roboflow_export_of_several_classes_a_photo(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    paths = [*(f"train/{name}.jpg" for name in "abcd"), "valid/e.jpg", "test/f.jpg"]
    root = beside(make_photos(*paths), fixture_of("roboflow_classes"))
    photos = read_photos(root, root)
    assert labels(photos) == {"test/f.jpg": "fox", "train/a.jpg": "deer", "train/b.jpg": "fox", "valid/e.jpg": "deer"}
    assert list(photos.table["split"]) == ["test", "train", "train", "val"]
    assert reasons(photos) == {"train/c.jpg": "label_conflict", "train/d.jpg": "no_label"}
    assert "a column of 0 and 1 for each of 2 classes" in photos.notes[0]


def test_a_column_for_each_class_beside_an_identifier(make_photos: MakePhotos, label_file: Write) -> None:
    root = make_photos("images/Train_0.jpg", "images/Train_1.jpg", "images/Test_0.jpg")
    text = "image_id,healthy,multiple_diseases,rust\nTrain_0,0,0,1\nTrain_1,1,0,0\n"
    photos = read_photos(root, label_file(text, "train.csv"))
    assert labels(photos) == {"images/Train_0.jpg": "rust", "images/Train_1.jpg": "healthy"}


@pytest.mark.parametrize("top", ["valid", "validation", "dev", "Val"])
def test_split_folders_of_other_names(make_photos: MakePhotos, top: str) -> None:
    root = make_photos("training/deer/a.jpg", f"{top}/deer/b.jpg", "testing/deer/c.jpg")
    photos = read_photos(root, root)
    assert set(photos.table["label"]) == {"deer"}
    assert set(photos.table["split"]) == {"train", "val", "test"}
    assert (
        photos.notes[0] == f"labels from the names of 1 folders (deer); split from the folders training, {top}, testing"
    )


def test_the_folders_of_a_split_are_no_labels(make_photos: MakePhotos) -> None:
    root = make_photos("train/a.png", "test/b.png")
    with pytest.raises(
        UserError, match=r"only in the folders of a split \(train, test\).*name a table in data\.labels"
    ):
        read_photos(root, root)
    # Kaggle's test photos have no labels
    root = make_photos("train/deer/a.jpg", "train/fox/b.jpg", "test/c.jpg", root="kaggle")
    photos = read_photos(root, root)
    assert labels(photos) == {"train/deer/a.jpg": "deer", "train/fox/b.jpg": "fox"}
    assert reasons(photos) == {"test/c.jpg": "no_label"}


@pytest.mark.parametrize(
    "folders",
    [
        ("Camera 0", "Camera 1"), ("site_3", "site_4"), ("100RECNX", "101RECNX"), ("DCIM/100MEDIA", "DCIM/101MEDIA"),
        ("site_1/100RECNX", "site_2/100RECNX"), ("train/cam1", "test/cam2"),
    ],
)  # fmt: skip
def test_cameras_sites_and_memory_cards_are_no_labels(make_photos: MakePhotos, folders: tuple[str, ...]) -> None:
    root = make_photos(*(f"{folder}/a.jpg" for folder in folders))
    with pytest.raises(UserError, match=r"named like cameras, sites or memory cards .*data\.labels.*data\.format"):
        read_photos(root, root)
    assert len(read_photos(root, root, "folder").table) == 2


def test_animals_whose_names_begin_like_a_site_are_labels(make_photos: MakePhotos) -> None:
    root = make_photos("camel/a.jpg", "pointer/b.jpg")
    assert list(read_photos(root, root).table["label"]) == ["camel", "pointer"]


def test_a_table_among_the_photos_is_used_if_it_names_them(make_photos: MakePhotos) -> None:
    root = make_photos("north/a.jpg", "south/b.jpg")
    (root / "notes.csv").write_text("day,weather\n1,rain\n")
    (root / "README.txt").write_text("Photos of deer, foxes and elk.\nMade in May, June\n")
    photos = read_photos(root, root)
    assert list(photos.table["label"]) == ["north", "south"]
    assert photos.notes == ("labels from the names of 2 folders (north, south)",)
    (root / "annotations.csv").write_text("image,animal,species\nnorth/a.jpg,1,deer\nsouth/b.jpg,2,fox\n")
    photos = read_photos(root, root)
    assert list(photos.table["label"]) == ["deer", "fox"]
    assert photos.notes[0] == "labels from annotations.csv: column species; 2 of 2 rows found"
    assert list(read_photos(root, root, "folder").table["label"]) == ["north", "south"]
    (root / "old.csv").write_text("path,label\nnorth/a.jpg,elk\n")
    with pytest.raises(
        UserError, match=r"several label files, annotations\.csv and old\.csv; name one in data\.labels"
    ):
        read_photos(root, root)


def test_tables_of_a_split_whose_photos_share_their_names(make_photos: MakePhotos) -> None:
    root = make_photos("train/1.jpg", "test/1.jpg")
    for split, label in (("train", "deer"), ("test", "fox")):
        (root / split / "_annotations.csv").write_text(f"filename,class\n1.JPG,{label}\n")
    assert labels(read_photos(root, root)) == {"train/1.jpg": "deer", "test/1.jpg": "fox"}


def test_a_table_that_names_other_photos_is_not_passed_over(make_photos: MakePhotos) -> None:
    root = make_photos("north/a.jpg", "south/b.jpg")
    (root / "photos.csv").write_text("path,label\nx/1.jpg,deer\n")
    with pytest.raises(
        UserError, match=r"photos\.csv names none of the photos .*it has 'x/1\.jpg'.*data\.format: folder"
    ):
        read_photos(root, root)


@pytest.mark.parametrize("header", ["path,prediction,note", "path,label,confidence_1"])
def test_labels_of_a_machine_do_not_replace_folder_names(make_photos: MakePhotos, header: str) -> None:
    root = make_photos("deer/a.jpg", "fox/b.jpg")
    (root / "predictions.csv").write_text(f"{header}\ndeer/a.jpg,elk,0.9\nfox/b.jpg,wolf,0.8\n")
    photos = read_photos(root, root)
    assert list(photos.table["label"]) == ["deer", "fox"]
    assert any("predictions.csv has a machine's labels; name it in data.labels" in note for note in photos.notes)
    assert list(read_photos(root, root / "predictions.csv").table["weak"]) == ["machine", "machine"]


def test_an_epithet_is_no_species(make_photos: MakePhotos, fixture_of: Fixture, label_file: Write) -> None:
    root = make_photos("a.jpg", "b.jpg")
    photos = read_photos(root, fixture_of("rare_species.csv"))
    assert list(photos.table["label"]) == ["Mesocricetus auratus", "Trachypithecus auratus"]
    assert list(photos.table["species"]) == list(photos.table["label"])
    assert "column sciName" in photos.notes[0]
    text = "path,genus,species\na.jpg,Sus,scrofa scrofa\nb.jpg,Sus,\n"
    photos = read_photos(root, label_file(text))
    assert labels(photos) == {"a.jpg": "Sus scrofa"}
    assert reasons(photos) == {"b.jpg": "no_label"}
    assert "columns genus and species" in photos.notes[0]
    # of a full name the author and the subspecies of a scientific name are no part
    text = "path,species,scientificName\na.jpg,Bellis perennis,Bellis perennis L.\nb.jpg,Bellis annua,Bellis annua L.\n"
    assert list(read_photos(root, label_file(text)).table["label"]) == ["Bellis perennis", "Bellis annua"]


def test_subspecies_of_wildlife_insights(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    files = fixture_of("wildlife_insights")
    images = files / "images_2001.csv"
    images.write_text(images.read_text().replace(",canadensis,", ",canadensis nelsoni,"))
    root = make_photos("deployment/11/i-1.JPG", "deployment/12/i-4.JPG")
    assert list(read_photos(root, files).table["label"]) == ["Cervus canadensis", "Puma concolor"]


def test_genera_and_families_are_no_classes_beside_species(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    root = make_photos("1.jpg", "2.jpg", "3.jpg", "4.jpg")
    photos = read_photos(root, fixture_of("inaturalist_without_taxa.csv"))
    assert labels(photos) == {"1.jpg": "Argia apicalis", "4.jpg": "Enallagma civile"}
    assert dict(zip(photos.omitted["path"], photos.omitted["detail"], strict=True)) == {
        "2.jpg": "no species given, only Argia", "3.jpg": "no species given, only Coenagrionidae",
    }  # fmt: skip
    by_genus = read_photos(root, fixture_of("inaturalist_without_taxa.csv"), rank="genus")
    assert labels(by_genus) == {"1.jpg": "Argia", "2.jpg": "Argia", "4.jpg": "Enallagma"}
    as_given = read_photos(root, fixture_of("inaturalist_without_taxa.csv"), rank="label")
    assert len(as_given.table) == 4


def test_what_a_detector_found_is_no_label(make_photos: MakePhotos, fixture_of: Fixture, label_file: Write) -> None:
    root = make_photos("S1/1.jpg", "S1/2.jpg", "S2/3.jpg")
    photos = read_photos(root, fixture_of("animl_results.csv"))
    assert labels(photos) == {"S1/1.jpg": "odocoileus hemionus", "S1/2.jpg": "lynx rufus", "S2/3.jpg": "human"}
    assert set(photos.table["weak"]) == {"machine"}
    assert "column prediction; 3 of 3 rows found" in photos.notes[0]
    with pytest.raises(UserError, match="'category' is what a detector found, and no column names the classes"):
        read_photos(root, label_file("path,category,conf\nS1/1.jpg,1,0.9\nS1/2.jpg,2,0.9\n"))
