"""A detector's boxes are classified, each as the crop that training would cut, and all else of its file is kept."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.tiny import CPU
from megadetector.postprocessing.validate_batch_results import validate_batch_results
from PIL import Image
from predict.conftest import Run
from predict.test_predict import calibrated, with_info

from florafauna.bundle.bundle import load_bundle
from florafauna.bundle.info import read_info, write_info
from florafauna.commands.cli import main
from florafauna.labels.detections import read_detections
from florafauna.photos.crops import crop_of, place
from florafauna.photos.settings import BoxParams
from florafauna.pixels.resize import resize
from florafauna.predict._part import Part
from florafauna.predict.answers import Answers
from florafauna.predict.decoding import Preprocessor
from florafauna.predict.with_torch import TorchScorer
from florafauna.scores.calibration import softmax

DETECTED = {"1": "animal", "2": "person", "3": "vehicle"}


def found(category: str, conf: float, *bbox: float, **more: Any) -> dict[str, Any]:
    return {"category": category, "conf": conf, "bbox": list(bbox), **more}


@pytest.fixture
def camera(photos: Path, tmp_path: Path) -> Path:
    """Five photos below camera/, and the file of a detector beside it."""
    folder = tmp_path / "camera"
    folder.mkdir()
    for number, file in enumerate(sorted(photos.iterdir())[:5]):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = f"2026:07:01 06:{(0, 0, 0, 9, 30)[number]:02d}:{10 * number:02d}"
        Image.open(file).save(folder / f"{number}.jpg", exif=exif, quality=95)
    images = [
        {"file": "camera/0.jpg", "detections": [found("1", 0.9, 0.1, 0.1, 0.6, 0.7), found("2", 0.8, 0, 0, 1, 1)]},
        {"file": "camera/1.jpg", "detections": [found("1", 0.1, 0, 0, 0.5, 0.5), found("1", 0.3, 0.5, 0, 0.5, 0.9)]},
        {"file": "camera/2.jpg", "detections": [], "ours": {"é": [1, 2.50]}},
        {"file": "camera/3.jpg", "detections": [found("3", 0.7, 0.2, 0.2, 0.3, 0.3, extra=1)]},
        {"detections": None, "failure": "Failure image access", "file": "camera/lost.jpg"},
        {"file": "camera/4.jpg", "detections": [found("1", 0.99, 0.1, 0.2, 0.3, 0.0), found("1", 0.5, 0, 0, 1, 1)]},
    ]
    results = {"info": {"format_version": "1.6", "detector": "v5a"}, "more": [None], "detection_categories": DETECTED}
    (tmp_path / "results.json").write_text(json.dumps(results | {"images": images}, indent=1), encoding="utf-8")
    return tmp_path / "results.json"


def without_ours(results: dict[str, Any]) -> dict[str, Any]:
    """What the detector's file had."""
    rest = deepcopy(results)
    rest["info"].pop("classifier", None)
    for key in ("classification_categories", "classification_category_descriptions"):
        rest.pop(key, None)
    for image in rest["images"]:
        for detection in image["detections"] or []:
            detection.pop("classifications", None)
    return rest


def crop_logits(bundle: Path, photo: Path, box: tuple[float, float, float, float]) -> np.ndarray:
    scorer = TorchScorer.of_bundle(load_bundle(bundle), CPU)
    with Image.open(photo) as image:
        width, height = image.size
    crop = crop_of(place(box, width, height), width, height, BoxParams())
    return scorer.logits(Preprocessor.of_bundle(scorer.info, resize)(photo.read_bytes(), crop)[None])


def test_animals_are_classified_and_all_else_is_kept(run: Run, bundle: Path, camera: Path, tmp_path: Path) -> None:
    before, out = json.loads(camera.read_text()), tmp_path / "classified.json"
    assert run(camera, "--photos", tmp_path, "--out", out, "--top", 2) == 0
    after = json.loads(out.read_text())
    assert without_ours(after) == before
    assert [*without_ours(after)] == [*before]
    assert [list(image) for image in without_ours(after)["images"]] == [list(image) for image in before["images"]]
    assert not validate_batch_results(str(out))["validation_results"]["errors"]
    classified = {
        (image["file"][-5], number): detection["classifications"]
        for image in after["images"]
        for number, detection in enumerate(image["detections"] or [])
        if "classifications" in detection
    }
    assert sorted(classified) == [("0", 0), ("1", 1), ("4", 1)], "no person, no unsure box, none without height"
    names, answers = after["classification_categories"], Answers.of_bundle(read_info(bundle), 2)
    for (photo, number), classes in classified.items():
        box = before["images"][int(photo) if photo != "4" else 5]["detections"][number]["bbox"]
        (row,) = answers.rows(crop_logits(bundle, tmp_path / f"camera/{photo}.jpg", tuple(box)))
        assert [names[number] for number, _ in classes] == [answers.labels[target] for target in row["top"]]
        assert [confidence for _, confidence in classes] == pytest.approx(row["confidences"], abs=1e-5)


def test_known_classes_keep_their_numbers_and_descriptions_are_those_of_the_taxonomy(
    bundle: Path, camera: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = json.loads(camera.read_text())
    results["classification_categories"] = {"7": "moss", "9": "otter"}
    results["images"][0]["detections"][1]["classifications"] = [["9", 0.5]]
    camera.write_text(json.dumps(results))
    info = read_info(bundle)
    taxonomy = {"fern": {"class": "Polypodiopsida", "genus": "Dryopteris"}}
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes((bundle / "model.safetensors").read_bytes())
    write_info(other, info | {"taxonomy": taxonomy, "boxes": {"use": "crop", "confidence": 0.05}})
    out = tmp_path / "out.json"
    assert main(["predict", str(camera), "--bundle", str(other), "--out", str(out)]) == 0
    after = json.loads(out.read_text())
    assert after["classification_categories"] == {"7": "moss", "9": "otter", "10": "fern", "11": "newt"}
    assert after["classification_category_descriptions"] == {"10": ";polypodiopsida;;;dryopteris;;fern"}
    assert after["images"][0]["detections"][1] == results["images"][0]["detections"][1]
    assert "classifications" in after["images"][1]["detections"][0], "the threshold is that of training"
    assert not validate_batch_results(str(out))["validation_results"]["errors"]
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "camera"), "--bundle", str(other), "--out", str(tmp_path / "o.csv")]) == 0
    assert "trained on boxes and is shown whole photos" in capsys.readouterr().err


def test_tables_and_camtrap_dp_carry_boxes_and_what_the_detector_saw(run: Run, camera: Path, tmp_path: Path) -> None:
    for name, form in (("rows.csv", "csv"), ("timelapse.csv", "timelapse"), ("observations.csv", "camtrap-dp")):
        assert run(camera, "--out", tmp_path / name, "--format", form) == 0
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert rows["path"].str[-5].tolist() == ["0", "0", "1", "2", "3", "t", "4", "4"]
    assert rows["label"].where(rows["label_1"].isna()).fillna("").tolist() == [
        "", "person", "", "blank", "vehicle", "", "", ""
    ]  # fmt: skip
    assert rows["error"].str.partition(":")[0].tolist()[5:7] == ["failure", "bad_box"]
    assert rows.loc[0, ["bbox_x", "bbox_y", "bbox_width", "bbox_height"]].tolist() == [0.1, 0.1, 0.6, 0.7]
    timelapse = pd.read_csv(tmp_path / "timelapse.csv")
    assert (timelapse["RelativePath"] + "/" + timelapse["File"]).tolist() == rows["path"].tolist()
    observations = pd.read_csv(tmp_path / "observations.csv")
    assert observations["observationID"].is_unique
    assert observations["observationType"].tolist()[1:6] == [
        "human", observations["observationType"].iat[2], "blank", "vehicle", "unclassified"
    ]  # fmt: skip
    assert observations.loc[0, ["bboxX", "bboxY", "bboxWidth", "bboxHeight"]].tolist() == [0.1, 0.1, 0.6, 0.7]


def test_boxes_in_pixels_of_another_format_give_the_same(run: Run, camera: Path, tmp_path: Path) -> None:
    """As results, too, which the detector's readers read."""
    boxes = read_detections(camera).table
    boxes = boxes[boxes["category"] == "animal"]
    table = pd.DataFrame({"path": boxes["path"], "confidence": boxes["confidence"]})
    sides = np.array([48, 40, 48, 40])
    pixels = boxes[["x", "y", "width", "height"]].to_numpy() * sides
    table[["bbox_x", "bbox_y", "bbox_width", "bbox_height"]] = pixels
    table.to_csv(tmp_path / "boxes.csv", index=False)
    assert run(tmp_path / "boxes.csv", "--photos", tmp_path, "--out", tmp_path / "a.csv") == 0
    assert run(tmp_path / "boxes.csv", "--photos", tmp_path, "--out", tmp_path / "a.json") == 0
    assert run(camera, "--out", tmp_path / "b.csv") == 0
    a, b = (pd.read_csv(tmp_path / name) for name in ("a.csv", "b.csv"))
    shown = ["path", "bbox_x", "bbox_y", "bbox_width", "bbox_height", "label_1", "confidence_1", "error"]
    b = b[b["detection"] == "animal"].reset_index(drop=True)
    pd.testing.assert_frame_equal(a[shown[:-1]], b[shown[:-1]], atol=1e-5)
    assert not validate_batch_results(str(tmp_path / "a.json"))["validation_results"]["errors"]
    again = read_detections(tmp_path / "a.json").table
    assert again["label"].tolist() == a["label_1"].dropna().tolist()


def events_of(run: Run, camera: Path, out: Path, how: str) -> pd.DataFrame:
    assert run(camera, "--out", out, "--events", how) == 0
    return pd.read_csv(out).assign(photo=lambda rows: rows["path"].str[-5])


def test_an_event_has_the_mean_of_the_log_probabilities_of_its_boxes(
    run: Run, bundle: Path, camera: Path, tmp_path: Path
) -> None:
    """Of three photos, each 10 s after the last, one shows nothing; what the detector saw counts where no animal is."""
    sure = with_info(bundle, tmp_path / "sure", calibration=calibrated(2.0, 0.1))
    arguments = ["--bundle", str(sure), "--out", str(tmp_path / "out.csv"), "--events", "folder,15"]
    assert main(["predict", str(camera), *arguments]) == 0
    rows = pd.read_csv(tmp_path / "out.csv").assign(photo=lambda rows: rows["path"].str[-5])
    camera_folder = (tmp_path / "camera").name
    assert rows.groupby("event", sort=False)["photo"].agg("".join).tolist() == ["0012", "3", "t", "44"]
    assert rows["event"].iat[0] == f"{camera_folder}/2026-07-01T06:00:00"
    answers = Answers.of_bundle(read_info(sure), 1)
    logits = [
        crop_logits(bundle, tmp_path / "camera/0.jpg", (0.1, 0.1, 0.6, 0.7)),
        crop_logits(bundle, tmp_path / "camera/1.jpg", (0.5, 0, 0.5, 0.9)),
    ]
    shares = np.log([softmax(each, answers.temperature)[0] for each in logits]).mean(axis=0)
    expected = np.exp(shares) / np.exp(shares).sum()
    assert rows["event_confidence"].iat[0] == pytest.approx(expected.max(), abs=1e-5)
    assert rows["event_accepted"].iat[0] is True
    assert rows["event_label"].iat[0] == answers.labels[int(expected.argmax())]
    assert rows["event_label"].tolist()[4] == "vehicle"
    assert events_of(run, camera, tmp_path / "out.csv", "folder,5")["event"].nunique() == 6
    assert events_of(run, camera, tmp_path / "out.csv", "folder,3600")["event"].nunique() == 2


def test_events_by_sequence_in_every_format(run: Run, camera: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        run(camera, "--out", tmp_path / "out.csv", "--events", "sequence")
    results = json.loads(camera.read_text())
    for number, image in enumerate(results["images"]):
        image["seq_id"] = f"s{number // 3}"
    camera.write_text(json.dumps(results))
    rows = events_of(run, camera, tmp_path / "out.csv", "sequence")
    assert rows["event"].tolist() == ["s0"] * 4 + ["s1"] * 4
    assert run(camera, "--out", tmp_path / "out.json", "--events", "sequence") == 0
    after = json.loads((tmp_path / "out.json").read_text())
    assert [image["event"]["label"] for image in after["images"]] == [
        rows["event_label"].iat[0 if number < 3 else -1] for number in range(6)
    ]
    assert not validate_batch_results(str(tmp_path / "out.json"))["validation_results"]["errors"]
    names = [f"camera/{number}.jpg" for number in range(4)]
    table = pd.DataFrame({"path": names, "seq_id": list("aabb")})
    table.to_csv(tmp_path / "photos.csv", index=False)
    assert events_of(run, tmp_path / "photos.csv", tmp_path / "o.csv", "sequence")["event"].tolist() == list("aabb")
    boxed = table.assign(bbox_x=0.1, bbox_y=0.1, bbox_width=0.5, bbox_height=0.5)
    boxed.to_csv(tmp_path / "boxed.csv", index=False)
    given = ["--photos", tmp_path, "--out", tmp_path / "o.csv", "--events", "sequence"]
    assert run(tmp_path / "boxed.csv", *given) == 0
    assert pd.read_csv(tmp_path / "o.csv")["event"].tolist() == list("aabb")
    assert run(camera, "--out", tmp_path / "o.csv", "--format", "camtrap-dp", "--events", "sequence") == 0
    observations = pd.read_csv(tmp_path / "o.csv")
    assert observations["observationID"].is_unique
    assert observations["eventID"].tolist() == [*rows["event"], "s0", "s1"]
    events = observations[observations["observationLevel"] == "event"]
    assert events["eventStart"].tolist() == ["2026-07-01T06:00:00", "2026-07-01T06:09:30"]
    assert events["eventEnd"].tolist() == ["2026-07-01T06:00:20", "2026-07-01T06:30:40"]
    assert events["classificationProbability"].tolist() == rows["event_confidence"].iloc[[0, -1]].tolist()


def test_a_killed_prediction_of_boxes_is_resumed_within_a_photo(
    run: Run, camera: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, results = tmp_path / "out.json", json.loads(camera.read_text())
    results["images"][0]["detections"] *= 70
    camera.write_text(json.dumps(results))
    with monkeypatch.context() as patch:
        patch.setattr(Part, "remove", lambda part: None)
        assert run(camera, "--out", out) == 0
    whole, part = out.read_bytes(), tmp_path / "out.json.part"
    out.unlink()
    part.write_bytes(b"".join(part.read_bytes().splitlines(keepends=True)[:2]) + b"torn")
    capsys.readouterr()
    assert run(camera, "--out", out) == 0
    assert " of them done before" in capsys.readouterr().err
    assert out.read_bytes() == whole


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"frame_number": 30}, "has boxes of videos such as camera/0.jpg; extract frames"),
        (None, "has none of the first 6 photos"),
    ],
)
def test_what_cannot_be_cut_is_refused(
    run: Run, camera: Path, tmp_path: Path, change: dict[str, Any] | None, sentence: str, capsys: pytest.CaptureFixture
) -> None:
    results = json.loads(camera.read_text())
    if change:
        results["images"][0]["detections"][0] |= change
    camera.write_text(json.dumps(results))
    (tmp_path / "elsewhere").mkdir()
    root = tmp_path if change else tmp_path / "elsewhere"
    with pytest.raises(SystemExit):
        run(camera, "--photos", root, "--out", tmp_path / "out.json")
    assert sentence in capsys.readouterr().err


def test_a_detector_s_absolute_paths_lead_to_the_photos(run: Run, bundle: Path, camera: Path, tmp_path: Path) -> None:
    """Which are MegaDetector's unless it is asked for relative ones; `embed` takes them, too."""
    results = json.loads(camera.read_text())
    images = [image | {"file": f"{tmp_path.as_posix()}/{image['file']}"} for image in results["images"]]
    other = tmp_path / "elsewhere" / "results.json"
    other.parent.mkdir()
    other.write_text(json.dumps(results | {"images": images}))
    assert run(camera, "--out", tmp_path / "relative.csv") == 0
    assert run(other, "--photos", "/", "--out", tmp_path / "top.csv") == 0
    assert run(other, "--photos", tmp_path, "--out", tmp_path / "absolute.csv") == 0
    rows = pd.read_csv(tmp_path / "relative.csv").drop(columns="path")
    for name in ("top.csv", "absolute.csv"):
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / name).drop(columns="path"), rows)
    out = tmp_path / "o.parquet"
    assert main(["embed", str(other), "--photos", str(tmp_path), "--bundle", str(bundle), "--out", str(out)]) == 0
    assert pd.read_parquet(out)["embedding"].notna().tolist() == rows["label_1"].notna().tolist()
