"""Files with boxes, in every format that has them, give one table."""

import json
from pathlib import Path

import numpy as np
import pytest

from florafauna.base.errors import UserError
from florafauna.labels.detections import read_detections

BOX = ["x", "y", "width", "height"]


def written(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def megadetector(version: str | None, *detections: dict[str, object], **entry: object) -> dict[str, object]:
    info = {} if version is None else {"info": {"format_version": version}}
    return {
        **info,
        "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
        "classification_categories": {"0": "deer", "1": "boar"},
        "images": [{"file": "empty.jpg", "detections": []}, {"file": "a.jpg", "detections": [*detections], **entry}],
    }


@pytest.mark.parametrize("version", [None, "1.0", "1.3", "1.6"])
def test_megadetector(tmp_path: Path, version: str | None) -> None:
    first = {"category": "1", "conf": 0.91, "bbox": [0.1, 0.2, 0.3, 0.4], "classifications": [["0", 0.2], ["1", 0.7]]}
    second = {"category": "2", "conf": 0.3, "bbox": [0, 0, 1, 1], "frame_number": 7}
    found = read_detections(written(tmp_path, "md.json", megadetector(version, first, second)))
    assert found.format == "megadetector"
    table = found.table
    assert table["path"].tolist() == ["a.jpg", "a.jpg"]
    assert table[BOX].to_numpy().tolist() == [[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]]
    assert table["relative"].all()
    assert table["category"].tolist() == ["animal", "person"]
    assert table["confidence"].tolist() == [0.91, 0.3]
    assert table["label"].tolist() == ["boar", ""]
    assert table["frame"].tolist() == [-1, 7]
    assert table[["image", "detection"]].to_numpy().tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize(
    "bad", [None, [0.1, 0.2, 0.3], "0.1", {"x": 1}, [0.1, "b", 0.3, 0.4], [0, float("nan"), 1, 1], [10**400, 0, 1, 1]]
)
def test_a_detection_without_a_box_keeps_its_number(tmp_path: Path, bad: object) -> None:
    good = {"category": "1", "conf": 0.9, "bbox": [0, 0, 0.5, 0.5]}
    document = megadetector("1.4", {"category": "1", "conf": 0.9, "bbox": bad}, good)
    table = read_detections(written(tmp_path, "md.json", document)).table
    assert np.isnan(table[BOX].to_numpy()).any(axis=1).tolist() == [True, False]
    assert table["detection"].tolist() == [0, 1]


def test_a_photo_on_which_the_detector_failed_has_no_box(tmp_path: Path) -> None:
    document = megadetector("1.4", failure="image access failure", detections=None)
    assert read_detections(written(tmp_path, "md.json", document)).table.empty


def test_a_version_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"format 2\.0; 1\.0 to 1\.6 are read"):
        read_detections(written(tmp_path, "md.json", megadetector("2.0")))


def test_speciesnet(tmp_path: Path) -> None:
    found = [{"category": "1", "label": "animal", "conf": 0.8, "bbox": [0.1, 0.2, 0.3, 0.4]},
             {"category": "2", "label": "human", "conf": 0.7, "bbox": [0.5, 0.5, 0.2, 0.2]}]  # fmt: skip
    document = {"predictions": [{"filepath": "a.jpg", "detections": found}, {"filepath": "b.jpg", "failures": ["X"]}]}
    table = read_detections(written(tmp_path, "s.json", document)).table
    assert table["category"].tolist() == ["animal", "person"]
    assert table["confidence"].tolist() == [0.8, 0.7]
    assert table[BOX].iloc[0].tolist() == [0.1, 0.2, 0.3, 0.4]


def test_coco_in_pixels_in_shares_and_of_images_without_a_size(tmp_path: Path) -> None:
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}, {"id": 2, "file_name": "b.jpg"}],
        "categories": [{"id": 0, "name": "empty"}, {"id": 1, "name": "deer"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [160, 120, 320, 240]},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox_relative": [0.1, 0.2, 0.3, 0.4]},
            {"id": 3, "image_id": 2, "category_id": 1, "bbox": [160, 120, 320, 240], "score": 0.4},
            {"id": 4, "image_id": 2, "category_id": 0},
        ],
    }
    table = read_detections(written(tmp_path, "coco.json", document)).table
    assert table["path"].tolist() == ["a.jpg", "a.jpg", "b.jpg"]
    assert table[BOX].to_numpy().tolist() == [[0.25, 0.25, 0.5, 0.5], [0.1, 0.2, 0.3, 0.4], [160, 120, 320, 240]]
    assert table["relative"].tolist() == [True, True, False]
    assert table["label"].tolist() == ["deer"] * 3
    assert table["confidence"].isna().tolist() == [True, True, False]


def test_camtrap_dp(tmp_path: Path) -> None:
    written(tmp_path, "deployments.csv", "deploymentID,latitude,longitude\nd,1,2\n")
    written(tmp_path, "media.csv", "mediaID,deploymentID,timestamp,filePath,fileMediatype\n"
            "m,d,2024-01-01T00:00:00Z,a.jpg,image/jpeg\nn,d,2024-01-01T00:00:05Z,b.jpg,image/jpeg\n")  # fmt: skip
    written(
        tmp_path,
        "observations.csv",
        "deploymentID,mediaID,eventID,eventStart,eventEnd,observationLevel,observationType,scientificName,"
        "bboxX,bboxY,bboxWidth,bboxHeight,classificationProbability\n"
        "d,m,e,2024-01-01T00:00:00Z,2024-01-01T00:00:05Z,media,animal,Sus scrofa,0.1,0.2,0.3,0.4,0.8\n"
        "d,n,e,2024-01-01T00:00:00Z,2024-01-01T00:00:05Z,media,animal,Sus scrofa,,,,,\n",
    )
    names = ("deployments", "media", "observations")
    package = {"profile": "camtrap-dp/1.0", "resources": [{"name": name, "path": f"{name}.csv"} for name in names]}
    table = read_detections(written(tmp_path, "datapackage.json", package)).table
    assert table["path"].tolist() == ["a.jpg"]
    assert table[BOX].iloc[0].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert table[["category", "label"]].iloc[0].tolist() == ["animal", "Sus scrofa"]
    assert table["confidence"].tolist() == [0.8]


@pytest.mark.parametrize("names", ["bbox_x,bbox_y,bbox_width,bbox_height", "bboxX,bboxY,bboxWidth,bboxHeight"])
def test_a_table_in_shares_or_pixels(tmp_path: Path, names: str) -> None:
    text = f"path,label,conf,{names}\na.jpg,deer,0.5,0.1,0.2,0.3,0.4\nb.jpg,person,0.9,0,0,1,1\nc.jpg,deer,,,,,\n"
    table = read_detections(written(tmp_path, "t.csv", text)).table
    assert table["path"].tolist() == ["a.jpg", "b.jpg"]
    assert table["relative"].all()
    assert table[["category", "label"]].to_numpy().tolist() == [["", "deer"], ["person", ""]]
    assert read_detections(
        written(tmp_path, "c.csv", f"path,prediction,category,{names}\na.jpg,deer,1,0,0,1,1\n")
    ).table[["category", "label"]].iloc[0].tolist() == ["animal", "deer"]
    pixels = read_detections(written(tmp_path, "p.csv", f"path,{names}\na.jpg,10,20,300,400\nb.jpg,1,1,1,1\n")).table
    assert not pixels["relative"].any()
    assert pixels[BOX].iloc[0].tolist() == [10, 20, 300, 400]


def test_a_file_without_boxes_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no boxes; give MegaDetector's"):
        read_detections(written(tmp_path, "t.csv", "path,label\na.jpg,deer\n"))
    with pytest.raises(UserError, match="does not exist"):
        read_detections(tmp_path / "none.json")
