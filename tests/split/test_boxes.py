"""Photos with boxes: a row for each crop that is shown, boxes of a photo together, what is no box left out and said."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.drawn import saved, scene, write
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from florafauna.base.errors import UserError
from florafauna.photos.crops import Rectangle
from florafauna.photos.settings import BoxParams, DataParams
from florafauna.pixels.resize import resize
from florafauna.pixels.store import PixelStore
from florafauna.preprocess.decode import decode
from florafauna.preprocess.preprocess import preprocess
from florafauna.split.dataset import Dataset, prepare
from florafauna.split.settings import SplitParams

CROP = BoxParams(use="crop", padding=0)
LEFT, RIGHT = [0.05, 0.1, 0.4, 0.5], [0.55, 0.3, 0.4, 0.5]
Found = dict[str, list[tuple[list[float], float, str]]]  # box, confidence and category by path


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty photos of 160 × 120 pixels, all different."""
    root = tmp_path_factory.mktemp("boxes")
    for number in range(30):
        write(root, f"cam_{number % 3}/{number:02}.jpg", saved(scene(number, 160, 120)))
    return root


def every(photos: Path) -> list[str]:
    return sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg"))


def split_of(photos: Path, folder: Path, labels: list[tuple[str, str]], found: Found, **more: object) -> Dataset:
    """The data set of labels (path, label) and of what a detector `found`."""
    options = {"boxes": CROP, "split": SplitParams(val=0.2, test=0.2), "corrections": "", "least": 1} | more
    pd.DataFrame(labels, columns=["path", "label"]).to_csv(folder / "labels.csv", index=False)
    images = [
        {"file": path, "detections": [{"bbox": box, "conf": conf, "category": kind} for box, conf, kind in boxes]}
        for path, boxes in found.items()
    ]
    document = {"detection_categories": {"1": "animal", "2": "person"}, "images": images}
    (photos / "md.json").write_text(json.dumps(document))
    (folder / "corrections.csv").write_text(f"path,label\n{options['corrections']}")
    data = DataParams(
        root=str(photos), labels=str(folder / "labels.csv"), boxes=str(photos / "md.json"), least=options["least"]
    )
    cache = folder.parent / "cache"
    return prepare(
        data, options["split"], folder / "corrections.csv", cache=cache, workers=1, boxes=options["boxes"]
    )  # fmt: skip


def alternate(photos: Path) -> list[tuple[str, str]]:
    return [(path, ("deer", "boar")[number % 2]) for number, path in enumerate(every(photos))]


def assert_counts_add_up(dataset: Dataset) -> None:
    counts = dataset.facts["photos"]
    assert counts["input"] == counts["used"] + counts["quarantined"] == len(dataset.manifest) + len(dataset.quarantine)
    assert sum(dataset.facts["quarantine"].values()) == len(dataset.quarantine)


def test_every_box_is_a_row_and_a_photo_without_one_is_shown_whole_or_left_out(photos: Path, tmp_path: Path) -> None:
    first, second, third, fourth = every(photos)[:4]
    found: Found = {
        first: [(LEFT, 0.9, "1"), (RIGHT, 0.5, "1"), (LEFT, 0.9, "2")],  # a person is no animal
        second: [(LEFT, 0.19, "1")],  # not sure enough
        third: [],
        fourth: [(LEFT, 0.2, "1"), (LEFT, 0.9, "1")],  # twice the same
    }
    dataset = split_of(photos, tmp_path, alternate(photos), found)
    rows = dataset.manifest.groupby("path")["box"].agg(list)
    assert rows[first] == ["8,12,64,60", "88,36,64,60"]
    assert rows[second] == rows[third] == [""]
    assert rows[fourth] == ["8,12,64,60"]
    crops = dataset.manifest.set_index(["path", "box"])
    assert crops.loc[(first, "8,12,64,60"), "crop"] == "8,10,64,64", "grown to a square"
    assert crops.loc[(first, "8,12,64,60"), ["width", "height"]].tolist() == [64, 64]
    assert crops.loc[(second, ""), ["crop", "width", "height"]].tolist() == ["", 160, 120]
    assert dataset.facts["boxes"] == {"use": "crop", "boxes": 3, "photos_without": 28}
    assert_counts_add_up(dataset)
    omit, boxed = CROP.model_copy(update={"empty": "omit"}), {path: [(LEFT, 1, "1")] for path in every(photos)[8:]}
    omitted = split_of(photos, tmp_path, alternate(photos), found | boxed, boxes=omit)
    assert omitted.facts["quarantine"] == {"no_box": 6}
    assert set(omitted.quarantine["path"]) == {second, third, *every(photos)[4:8]}
    assert omitted.facts["boxes"]["photos_without"] == 0
    assert_counts_add_up(omitted)


def test_of_two_species_the_boxes_must_say_which_is_which(photos: Path, tmp_path: Path) -> None:
    first, second, third = every(photos)[:3]
    both = [*alternate(photos), (first, "boar"), (second, "deer")]
    found: Found = {path: [(LEFT, 0.9, "1"), (RIGHT, 0.8, "1")] for path in (first, third)}
    dataset = split_of(photos, tmp_path, both, found)
    reasons = dataset.quarantine.set_index("path")["reason"]
    assert reasons.tolist() == ["ambiguous_box", "ambiguous_box", "label_conflict"]
    assert reasons[second] == "label_conflict", "a whole photo with two species"
    assert all(path.startswith(f"{first}#xywh=") for path in reasons.index if path != second)
    assert dataset.manifest.set_index("path").loc[third, "label"].tolist() == ["deer", "deer"]
    assert_counts_add_up(dataset)


def test_labelled_boxes_of_two_species_are_two_rows(photos: Path, tmp_path: Path) -> None:
    """In a table, as in COCO and Camtrap DP: the label is that of the box."""
    first = every(photos)[0]
    rows = [(path, label, *LEFT) for path, label in alternate(photos)] + [(first, "boar", *RIGHT)]
    columns = ["path", "label", "bbox_x", "bbox_y", "bbox_width", "bbox_height"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "labels.csv", index=False)
    (tmp_path / "corrections.csv").write_text("path,label\n")
    data = DataParams(root=str(photos), labels=str(tmp_path / "labels.csv"))
    dataset = prepare(data, SplitParams(), tmp_path / "corrections.csv", workers=1, boxes=CROP)
    of_first = dataset.manifest[dataset.manifest["path"] == first]
    assert of_first["label"].tolist() == ["deer", "boar"]
    assert of_first["box"].tolist() == ["8,12,64,60", "88,36,64,60"]
    assert dataset.facts["quarantine"] == {}
    whole = prepare(data, SplitParams(), tmp_path / "corrections.csv", workers=1)
    assert "box" not in whole.manifest.columns
    assert whole.facts["quarantine"] == {"label_conflict": 1}


def test_boxes_of_one_photo_are_one_photo_of_their_class(photos: Path, tmp_path: Path) -> None:
    first = every(photos)[0]
    labels = [(path, "wolf" if path == first else label) for path, label in alternate(photos)]
    found: Found = {first: [(LEFT, 0.9, "1"), (RIGHT, 0.8, "1"), ([0.3, 0.1, 0.4, 0.5], 0.8, "1")]}
    dataset = split_of(photos, tmp_path, labels, found, least=3)
    assert dataset.facts["quarantine"] == {"rare_class": 3}


def test_megadetector_with_classifications_gives_labels_and_boxes(photos: Path, tmp_path: Path) -> None:
    kinds = {"0": "deer", "1": "boar", "2": "blank"}
    images = []
    for number, path in enumerate(every(photos)):
        boxes = [(LEFT, str(number % 2)), (RIGHT, str(1 - number % 2))] if number else [(LEFT, "0"), (RIGHT, "2")]
        images.append({
            "file": path,
            "detections": [{"bbox": box, "conf": 0.9, "category": "1", "classifications": [[kind, 0.8]]}
                           for box, kind in boxes],
        })  # fmt: skip
    document = {"detection_categories": {"1": "animal"}, "classification_categories": kinds, "images": images}
    (tmp_path / "md.json").write_text(json.dumps(document))
    (tmp_path / "corrections.csv").write_text("path,label\n")
    data = DataParams(root=str(photos), labels=str(tmp_path / "md.json"))
    dataset = prepare(data, SplitParams(), tmp_path / "corrections.csv", workers=1, boxes=CROP)
    assert len(dataset.manifest) == 59
    assert dataset.manifest["label"].value_counts().to_dict() == {"deer": 30, "boar": 29}
    assert dataset.manifest.groupby("path")["split"].nunique().max() == 1


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ("nan,0.1,0.2,0.2", "bad_box"),
        ("0.1,0.1,-0.2,0.2", "bad_box"),
        ("0.1,0.1,0,0.2", "bad_box"),
        ("1.2,0.1,0.2,0.2", "bad_box"),
        ("0.1,somewhere,0.2,0.2", "bad_box"),
        ("0.1,0.1,0.05,0.05", "small_box"),
    ],
)
def test_a_box_that_is_none_has_a_reason(photos: Path, tmp_path: Path, box: str, reason: str) -> None:
    first = every(photos)[0]
    lines = [f"{path},{label},0.1,0.1,0.5,0.5" for path, label in alternate(photos)]
    lines.append(f"{first},deer,{box}")
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,bbox_x,bbox_y,bbox_width,bbox_height", *lines]))
    (tmp_path / "corrections.csv").write_text("path,label\n")
    data = DataParams(root=str(photos), labels=str(tmp_path / "labels.csv"))
    dataset = prepare(data, SplitParams(), tmp_path / "corrections.csv", workers=1, boxes=CROP)
    assert dataset.quarantine["reason"].tolist() == [reason]
    assert dataset.quarantine["path"].iloc[0].startswith(f"{first}#xywh=")
    assert len(dataset.manifest) == 30
    assert_counts_add_up(dataset)


def test_without_any_box_crops_are_refused_in_one_sentence(photos: Path, tmp_path: Path) -> None:
    pd.DataFrame(alternate(photos), columns=["path", "label"]).to_csv(tmp_path / "labels.csv", index=False)
    (tmp_path / "corrections.csv").write_text("path,label\n")
    data = DataParams(root=str(photos), labels=str(tmp_path / "labels.csv"))
    with pytest.raises(UserError, match=r"has no boxes; name the file that has them in data\.boxes"):
        prepare(data, SplitParams(), tmp_path / "corrections.csv", boxes=CROP)
    with pytest.raises(UserError, match="none of its 1 boxes is on a photo below"):
        split_of(photos, tmp_path, alternate(photos), {"elsewhere.jpg": [(LEFT, 0.9, "1")]})
    (tmp_path / "md.json").write_text("{}")
    with pytest.raises(UserError, match="so that DVC would not see it change; move it into"):
        prepare(
            data.model_copy(update={"boxes": str(tmp_path / "md.json")}), SplitParams(), tmp_path / "corrections.csv"
        )


def pasted(animal: Image.Image, background: int, left: int) -> bytes:
    picture = scene(background, 160, 120)
    picture.paste(animal, (left, 30))
    return saved(picture, "PNG")


def test_likeness_is_that_of_the_crops(photos: Path, tmp_path: Path) -> None:
    """One animal before two backgrounds is a duplicate, two before one are none; equal crops cannot have two labels."""
    root, one, other = tmp_path / "photos", scene(201, 64, 64), scene(202, 64, 64)
    for path in every(photos):
        write(root, path, (photos / path).read_bytes())
    box = [(left / 160, 30 / 120, 64 / 160, 64 / 120) for left in (10, 80)]
    write(root, "p.png", pasted(one, 300, 10))
    write(root, "q.png", pasted(one, 301, 80))
    write(root, "r.png", pasted(other, 300, 10))
    found: Found = {
        "p.png": [([*box[0]], 0.9, "1")],
        "q.png": [([*box[1]], 0.9, "1")],
        "r.png": [([*box[0]], 0.9, "1")],
    }
    same = [("p.png", "deer"), ("q.png", "deer"), ("r.png", "deer")]
    rows = split_of(root, tmp_path, alternate(photos) + same, found).manifest.set_index("path")
    assert rows.loc["p.png", "cluster"] == rows.loc["q.png", "cluster"] != ""
    assert rows.loc["p.png", "split"] == rows.loc["q.png", "split"]
    assert rows.loc["r.png", "cluster"] == ""
    two = split_of(root, tmp_path, [*alternate(photos), *same[:1], ("q.png", "boar"), *same[2:]], found)
    assert two.quarantine["reason"].tolist() == ["label_conflict", "label_conflict"]
    assert "the same picture under several labels" in two.quarantine["detail"].iloc[0]


def test_a_correction_is_of_a_photo_or_of_one_of_its_boxes(photos: Path, tmp_path: Path) -> None:
    first, second, third = every(photos)[:3]
    found: Found = {path: [(LEFT, 0.9, "1"), (RIGHT, 0.8, "1")] for path in (first, second, third)}
    corrections = f'"{first}#xywh=88,36,64,60",boar\n"{second}#xywh=8,12,64,60",remove\n{third},boar\n'
    dataset = split_of(photos, tmp_path, alternate(photos), found, corrections=corrections)
    labels = dataset.manifest.groupby("path")["label"].agg(list)
    assert labels[first] == ["deer", "boar"]
    assert labels[second] == ["boar"]
    assert labels[third] == ["boar", "boar"]
    assert dataset.quarantine["reason"].tolist() == ["removed"]
    with pytest.raises(UserError, match="which is not among the photos"):
        split_of(photos, tmp_path, alternate(photos), found, corrections=f'"{first}#xywh=1,2,3,4",boar\n')


BOXES = st.lists(
    st.tuples(st.integers(-20, 90), st.integers(-20, 90), st.integers(1, 60), st.integers(1, 60), st.integers(0, 10)),
    max_size=3,
)


@settings(max_examples=12)
@given(st.lists(BOXES, min_size=30, max_size=30), st.integers(0, 5), st.booleans())
def test_boxes_of_a_photo_share_group_and_split(
    photos: Path, tmp_path_factory: pytest.TempPathFactory, drawn: list[list[tuple[int, ...]]], seed: int, square: bool
) -> None:
    found: Found = {
        path: [([side / 100 for side in box], conf / 10, "1") for *box, conf in boxes]
        for path, boxes in zip(every(photos), drawn, strict=True)
    }
    options = {"split": SplitParams(seed=seed), "boxes": BoxParams(use="crop", square=square, smallest=10)}
    folder = tmp_path_factory.getbasetemp() / "shares"
    folder.mkdir(exist_ok=True)
    dataset = split_of(photos, folder, alternate(photos), found, **options)
    by_photo = dataset.manifest.groupby("path")
    assert by_photo["split"].nunique().max() == by_photo["group"].nunique().max() == 1
    names = dataset.manifest["path"] + "#xywh=" + dataset.manifest["box"]
    assert names.is_unique
    for row in dataset.manifest[dataset.manifest["crop"] != ""].itertuples():
        box, crop = Rectangle.parse(row.box), Rectangle.parse(row.crop)
        assert crop.left <= box.left <= box.left + box.width <= crop.left + crop.width <= 160
        assert crop.top <= box.top <= box.top + box.height <= crop.top + crop.height <= 120
    assert_counts_add_up(dataset)


def stored(dataset: Dataset, photos: Path, folder: Path, boxes: BoxParams) -> int:
    """Write the stores, and return how many photos were decoded."""
    outs = ("m.csv", "q.csv", "e.parquet", "d.json", "p.csv")
    dataset.write(*(folder / name for name in outs))
    return preprocess(folder / "m.csv", photos, folder / "out", 48, folder / "kept", 1, boxes)


def test_the_store_holds_the_crops_of_the_originals_and_is_not_made_twice(photos: Path, tmp_path: Path) -> None:
    found: Found = {path: [(LEFT, 0.9, "1"), (RIGHT, 0.8, "1")] for path in every(photos)[:20]}
    dataset = split_of(photos, tmp_path, alternate(photos), found)
    assert stored(dataset, photos, tmp_path, CROP) == 50
    seen = 0
    for split in ("train", "val", "test"):
        store = PixelStore(tmp_path / "out" / split)
        table = store.table()
        assert list(store.names) == sorted(store.names)
        assert store.boxes == (CROP.model_dump() if split == "test" else None)
        for row, (name, crop) in enumerate(zip(table["path"], table["crop"], strict=True)):
            data = (photos / name.partition("#")[0]).read_bytes()
            expected = decode(data, 48, resize, Rectangle.parse(crop) if crop else None)
            assert np.array_equal(store.photo(row), expected)
            assert store.row_of(name) == row
            seen += bool(crop)
    assert seen == 40
    assert stored(dataset, photos, tmp_path, CROP) == 0
    fewer: Found = found | {every(photos)[0]: [(LEFT, 0.9, "1"), ([0.3, 0.1, 0.4, 0.5], 0.8, "1")]}
    assert stored(split_of(photos, tmp_path, alternate(photos), fewer), photos, tmp_path, CROP) == 1


def test_the_test_store_of_whole_photos_says_where_their_boxes_are(photos: Path, tmp_path: Path) -> None:
    boxes = BoxParams()
    found: Found = {path: [(LEFT, 0.9, "1"), (RIGHT, 0.1, "1")] for path in every(photos)[:29]}
    dataset = split_of(photos, tmp_path, alternate(photos), found, boxes=boxes)
    assert dataset.facts["boxes"] == {"use": "whole", "boxes": 29, "photos_without": 1}
    assert dataset.manifest["boxes"].tolist() == ["8,12,64,60"] * 29 + [""]
    stored(dataset, photos, tmp_path, boxes)
    table = PixelStore(tmp_path / "out/test").table()
    assert set(table["boxes"]) - {""} == {"3,4,26,25"}, "48 of 120 pixels, the edges rounded outwards"
    assert "boxes" not in PixelStore(tmp_path / "out/train").table().columns


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_the_box_of_a_turned_photo_is_that_of_the_upright_picture(
    orientation: int, photos: Path, tmp_path: Path
) -> None:
    turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    root = tmp_path / "photos"
    exif = Image.Exif()
    exif[0x0112] = orientation
    for number, path in enumerate(every(photos)):
        write(root, path, saved(scene(number, 160, 120).transpose(turns[orientation]), quality=97, exif=exif))
    found: Found = {path: [([0.5, 0.1, 0.4, 0.5], 0.9, "1")] for path in every(photos)}
    dataset = split_of(root, tmp_path, alternate(photos), found)
    stored(dataset, root, tmp_path, CROP)
    store = PixelStore(tmp_path / "out/train")
    for row, name in enumerate(store.names):
        number = every(photos).index(name.partition("#")[0])
        upright = np.asarray(scene(number, 160, 120).crop((80, 10, 144, 74)).resize((48, 48), 3), dtype=float)
        assert np.abs(store.photo(row) - upright).mean() < 6


def test_examples_in_the_report_are_the_crops(photos: Path, tmp_path: Path) -> None:
    first, second = every(photos)[:2]
    boxes: list[tuple[list[float], float, str]] = [(LEFT, 0.9, "1")]
    dataset = split_of(photos, tmp_path, [*alternate(photos), (first, "boar")], {first: boxes, second: boxes})
    stored(dataset, photos, tmp_path, CROP)
    shown = pd.read_parquet(tmp_path / "e.parquet")
    (row,) = shown[shown["name"] == "ambiguous_box"].to_dict("records")
    assert row["path"].startswith(f"{first}#xywh=")
    with Image.open(io.BytesIO(row["picture"])) as picture:
        assert picture.size == (96, 72), "the whole photo, since nobody knows which box is meant"
