"""New photos are labelled as `evaluate` labels its own, from whatever names them, into whatever is asked for."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.drawn import CrashingSource
from helpers.fixtures import PHOTOS
from helpers.forks import quick
from helpers.machines import needs_posix
from helpers.project import REPOSITORY
from helpers.tiny import CPU, Place
from PIL import Image, ImageFile
from predict.conftest import Run

from florafauna.bundle.bundle import load_bundle, predict_logits
from florafauna.bundle.info import read_info, write_info
from florafauna.commands.cli import main
from florafauna.pixels.resize import resize
from florafauna.pixels.store import PixelStore
from florafauna.predict._inputs import Photo, find_inputs
from florafauna.predict.decoding import Decoder, Preprocessor, decode_all
from florafauna.predict.run import score_photos
from florafauna.predict.with_torch import TorchScorer

FEW = 6
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def few(photos: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "few"
    folder.mkdir()
    for file in sorted(photos.iterdir())[:FEW]:
        shutil.copy(file, folder / file.name)
    return folder


def with_info(bundle: Path, folder: Path, **values: Any) -> Path:
    """A copy of the bundle whose bundle.json says more."""
    shutil.copytree(bundle, folder)
    write_info(folder, read_info(bundle) | values)
    return folder


def calibrated(temperature: float = 1.0, least: float | None = 0.0, **more: Any) -> dict[str, Any]:
    """A calibration with one threshold for all classes, and whatever else it says."""
    thresholds = {"precision": 0.9, "global": least, "per_class": {}, "roll_up": None, "sentence": "Too few photos."}
    return {"temperature": temperature, "thresholds": thresholds | more}


def by_name(out: Path) -> dict[str, tuple[str, float]]:
    rows = pd.read_csv(out)
    return {Path(row["path"]).name: (row["label_1"], row["confidence_1"]) for row in rows.to_dict("records")}


def damaged_png(photo: bytes) -> bytes:
    """Of which a byte of the pixels was changed, so that it decodes, to another picture."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photo)).save(buffer, "PNG", compress_level=0)
    data = bytearray(buffer.getvalue())
    data[len(data) // 2] ^= 255
    return bytes(data)


def spoil(folder: Path) -> None:
    """Files that cannot be read, sorted before, between and behind the photos."""
    whole = sorted(folder.glob("*.jpg"))[0].read_bytes()
    (folder / "a.jpg").write_bytes(b"")
    (folder / "g.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "h.jpg").write_bytes(whole[: len(whole) // 2] + bytes(len(whole) // 2))
    (folder / "i.png").write_bytes(b"no picture")
    (folder / "j.png").write_bytes(damaged_png(whole))
    (folder / "k.tar.gz").write_bytes(whole[:20])
    (folder / "z.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")


@pytest.mark.parametrize("workers", [None, 1, 2])
def test_logits_are_those_of_evaluate(
    hundred: Place, bundle: Path, photos: Path, tmp_path: Path, workers: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit, also where unreadable files lie between the photos, and another library would have them read."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    shutil.copytree(photos, tmp_path / "photos")
    spoil(tmp_path / "photos")
    inputs = find_inputs([str(tmp_path / "photos")])
    assert len(inputs.photos) == PHOTOS + 8
    scorer = TorchScorer.of_bundle(load_bundle(bundle), CPU)
    decoder = Decoder(inputs.sources, Preprocessor.of_bundle(scorer.info, resize))
    scored = list(score_photos(scorer, decoder, inputs.photos, workers))
    found = np.concatenate([batch.logits for batch in scored])
    np.testing.assert_array_equal(found, predict_logits(load_bundle(bundle), PixelStore(hundred.val), CPU))
    readable = [seen.pixels is not None for batch in scored for seen in batch.seen]
    assert [Path(photo.name).name for photo, good in zip(inputs.photos, readable, strict=True) if good] == sorted(
        path.name for path in photos.iterdir()
    )


def test_every_kind_of_input_gives_the_same(run: Run, few: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in few.iterdir())
    with zipfile.ZipFile(tmp_path / "few.zip", "w") as archive:
        for name in names:
            archive.write(few / name, f"inner/{name}")
    with tarfile.open(tmp_path / "few.tar.gz", "w:gz") as tar:
        tar.add(few, "few")
    (tmp_path / "near.csv").write_text("path,more\n" + "".join(f"few/{name},x\n" for name in names))
    (tmp_path / "far.tsv").write_text("id\tfilename\n" + "".join(f"1\t{few / name}\n" for name in names))
    given: dict[str, list[object]] = {
        "folder": [few],
        "files": [few / name for name in names],
        "glob": [few / "*.jpg"],
        "zip": [tmp_path / "few.zip"],
        "tar": [tmp_path / "few.tar.gz"],
        "table": [tmp_path / "near.csv"],
        "tab": [tmp_path / "far.tsv"],
        "twice": [few, few / "*.jpg"],
    }
    results = {}
    for kind, arguments in given.items():
        out = tmp_path / f"{kind}.csv"
        assert run(*arguments, "--out", out) == 0
        assert len(pd.read_csv(out)) == FEW
        results[kind] = by_name(out)
    assert sorted(results["folder"]) == names
    assert all(result == results["folder"] for result in results.values())


def test_the_tables_hold_the_same(run: Run, few: Path, tmp_path: Path, bundle: Path) -> None:
    for suffix in ("csv", "parquet", "jsonl"):
        assert run(few, "--out", tmp_path / f"o.{suffix}", "--top", 2) == 0
    expected = pd.read_parquet(tmp_path / "o.parquet")
    labels = load_bundle(bundle).labels
    assert list(expected.columns) == [
        "path", "label", "accepted", "label_1", "confidence_1", "label_2", "confidence_2", "error",
    ]  # fmt: skip
    assert expected["path"].tolist() == [str(few / name) for name in sorted(path.name for path in few.iterdir())]
    assert set(expected["label_1"]) <= set(labels)
    assert (expected["confidence_1"] >= expected["confidence_2"]).all()
    assert expected["accepted"].dtype == bool
    shown = ["path", "label", "accepted", "label_1", "confidence_1", "label_2", "confidence_2"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "o.csv")[shown], expected[shown], check_dtype=False)
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    pd.testing.assert_frame_equal(pd.DataFrame(lines)[shown], expected[shown], check_dtype=False)
    assert not list(tmp_path.glob("*.part"))


def test_a_file_that_cannot_be_read_is_a_row_with_the_reason(run: Run, few: Path, tmp_path: Path) -> None:
    spoil(few)
    assert run(few, "--out", tmp_path / "o.csv") == 0
    rows = pd.read_csv(tmp_path / "o.csv").set_index("path")
    reasons = rows["error"].dropna().str.partition(":")[0]
    assert {Path(path).name: reason for path, reason in reasons.items()} == {
        "a.jpg": "empty",
        "g.jpg": "truncated",
        "h.jpg": "truncated",
        "i.png": "not_an_image",
        "j.png": "corrupt",
        "k.tar.gz": "unreadable",
        "z.heic": "unsupported",
        "gone.jpg": "missing_file",
    }
    assert rows.loc[reasons.index, "label_1"].isna().all()
    assert rows["label_1"].notna().sum() == FEW


def test_only_where_all_fail_the_exit_code_says_so(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.csv").write_text("path\nnowhere/a.jpg\nnowhere/b.jpg\n")
    assert run(tmp_path / "list.csv", "--out", tmp_path / "o.jsonl") == 1
    assert "none of the 2 photos can be read" in capsys.readouterr().err
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [line["error"].partition(":")[0] for line in lines] == ["missing_file"] * 2


def test_a_decoder_that_crashes_costs_one_photo(photos: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in photos.iterdir())[:20]
    for name in [*names, "crash.jpg"]:
        shutil.copy(photos / names[0], tmp_path / name)
    decoder = Decoder([CrashingSource(tmp_path)], Preprocessor(40, 32, 0.9, "bicubic", resize))
    listed = [Photo(name, name, 0, name) for name in [*names[:5], "crash.jpg", *names[5:]]]
    seen = list(decode_all(decoder, listed, workers=2))
    assert [number for number, each in enumerate(seen) if each.error] == [5]
    assert "crashes" in seen[5].error
    assert len(seen) == 21


@needs_posix
@pytest.mark.parametrize(
    ("command", "name", "torn"),
    [("predict", "o.csv", False), ("predict", "o.csv", True), ("embed", "o.parquet", False)],
)
def test_killed_and_restarted_no_row_is_lost_or_doubled(
    bundle: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str, name: str, torn: bool
) -> None:
    out, last = tmp_path / name, sorted(path.name for path in photos.iterdir())[80]
    arguments = [command, str(photos), "--bundle", str(bundle), "--workers", "1", "--out"]
    dying = [quick(), str(Path(__file__).parent / "die.py"), last, *arguments, str(out)]
    ended = subprocess.run(dying, env=ENVIRONMENT, check=False)
    assert ended.returncode == -signal.SIGKILL
    part = out.with_name(f"{name}.part")
    assert not out.exists()
    assert part.exists()
    if torn:
        with part.open("ab") as file:
            file.write(b"0123456789abcdef")
    assert main([*arguments, str(out)]) == 0
    assert "64 of them done before" in capfd.readouterr().err
    assert not part.exists()
    whole = out.with_stem("whole")
    assert main([*arguments, str(whole)]) == 0
    assert out.read_bytes() == whole.read_bytes()
    assert len(pd.read_csv(out) if out.suffix == ".csv" else pd.read_parquet(out)) == PHOTOS


@pytest.mark.parametrize("changed", ["photos", "model", "top"])
def test_a_part_of_something_else_is_not_resumed(
    run: Run, bundle: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: str
) -> None:
    out, last = tmp_path / "o.csv", sorted(path.name for path in photos.iterdir())[80]
    command = [quick(), str(Path(__file__).parent / "die.py"), last, "predict", str(photos), "--out", str(out)]
    command += ["--bundle", str(bundle), "--workers", "1"]
    subprocess.run(command, env=ENVIRONMENT, check=False)
    given = [photos / "*-10[0-4]*.jpg"] if changed == "photos" else [photos]
    other = with_info(bundle, tmp_path / "other", calibration=calibrated(2.0)) if changed == "model" else bundle
    code = main(
        [
            "predict",
            *map(str, given),
            "--out",
            str(out),
            "--bundle",
            str(other),
            "--top",
            "1" if changed == "top" else "5",
        ]
    )
    assert code == 0
    assert "of other photos, another model or other options: " in capsys.readouterr().err
    expected = len(list(photos.glob("*-10[0-4]*.jpg"))) if changed == "photos" else PHOTOS
    assert len(pd.read_csv(out)) == expected


def test_what_is_accepted_is_what_evaluation_measured(
    run: Run, photos: Path, bundle: Path, hundred: Place, tmp_path: Path
) -> None:
    """The test photos again: as many are accepted, as many of them rightly."""
    assert run(photos, "--out", tmp_path / "o.csv") == 0
    rows = pd.read_csv(tmp_path / "o.csv")
    targets = PixelStore(hundred.val).table().set_index("path")["label"]
    rows["truth"] = targets[[Path(path).name for path in rows["path"]]].to_numpy()
    measured = read_info(bundle)["calibration"]["thresholds"]["test"]
    accepted = rows[rows["accepted"]]
    assert 0 < len(accepted) == measured["accepted"] < measured["n"] == PHOTOS
    assert (accepted["label"] == accepted["truth"]).mean() == pytest.approx(measured["precision"], abs=1e-6)
    assert (accepted["label"] == accepted["label_1"]).all()
    assert set(rows["label"][~rows["accepted"]]) == {"unknown"}


def test_temperature_and_thresholds_come_with_the_bundle(few: Path, bundle: Path, tmp_path: Path) -> None:
    plain = with_info(bundle, tmp_path / "plain", calibration=calibrated(1.0))
    assert main(["predict", str(few), "--bundle", str(plain), "--out", str(tmp_path / "plain.csv")]) == 0
    before = pd.read_csv(tmp_path / "plain.csv")
    assert before["accepted"].all()
    labels = load_bundle(bundle).labels
    sure, never = before["label_1"][0], next(label for label in labels if label != before["label_1"][0])
    calibration = calibrated(0.5, per_class={sure: 1.1, never: None})
    other = with_info(bundle, tmp_path / "other", calibration=calibration)
    assert main(["predict", str(few), "--bundle", str(other), "--out", str(tmp_path / "o.csv")]) == 0
    rows = pd.read_csv(tmp_path / "o.csv")
    p = before[[f"confidence_{n}" for n in (1, 2, 3)]].to_numpy() ** 2
    assert np.allclose(rows["confidence_1"], p[:, 0] / p.sum(axis=1), atol=1e-5)
    third = ~rows["label_1"].isin([sure, never])
    assert (rows["accepted"] == third).all()
    assert (rows["label"] == rows["label_1"].where(third, "unknown")).all()


def test_where_nothing_can_be_promised_the_likeliest_label_is_given_and_that_is_said(
    few: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In every format: `accepted` is empty, no photo is unknown."""
    spoil(few)
    other = with_info(bundle, tmp_path / "other", calibration=calibrated(least=None))
    for form in ("csv", "jsonl", "parquet", "camtrap-dp"):
        out = str(tmp_path / f"o.{form}")
        assert main(["predict", str(few), "--bundle", str(other), "--out", out, "--format", form]) == 0
        said = capsys.readouterr().err
        assert "`accepted` is empty and `label` the likeliest class: Too few photos." in said
    table = pd.read_csv(tmp_path / "o.csv")
    for rows in (table, pd.read_json(tmp_path / "o.jsonl", lines=True), pd.read_parquet(tmp_path / "o.parquet")):
        assert rows["accepted"].isna().all()
        assert rows["label"].notna().sum() == FEW
        assert (rows["label"] == rows["label_1"])[rows["error"].isna()].all()
    observed = pd.read_csv(tmp_path / "o.camtrap-dp")
    kinds = np.where(table["error"].isna(), "animal", "unclassified")
    assert observed["observationType"].tolist() == kinds.tolist()
    assert observed["scientificName"].fillna("").tolist() == table["label"].fillna("").tolist()


def test_what_is_unsure_is_rolled_up_the_taxonomy(few: Path, bundle: Path, tmp_path: Path) -> None:
    """To the finest taxon that is sure enough, the class itself first; what all classes share says nothing."""
    phyla = {"fern": "Green", "moss": "Green", "newt": "Other"}
    taxonomy = {label: {"kingdom": "Life", "phylum": phylum} for label, phylum in phyla.items()}
    found = {}
    for level in (0.3, 0.6, 0.999):  # at this temperature all three classes are about equally likely
        calibration = calibrated(100.0, least=0.9, roll_up=level)
        other = with_info(bundle, tmp_path / f"{level}", taxonomy=taxonomy, calibration=calibration)
        out = tmp_path / f"{level}.csv"
        assert main(["predict", str(few), "--bundle", str(other), "--out", str(out)]) == 0
        found[level] = pd.read_csv(out)
        assert (found[level]["label"] == "unknown").all()
    assert (found[0.3]["taxon"] == found[0.3]["label_1"]).all()
    assert (found[0.3]["taxon_rank"] == "label").all()
    assert (found[0.6]["taxon"] == "Green").all()
    assert (found[0.6]["taxon_rank"] == "phylum").all()
    assert np.allclose(found[0.6]["taxon_confidence"], 2 / 3, atol=0.05)
    assert found[0.999]["taxon"].isna().all()


def test_megadetector_json(run: Run, few: Path, tmp_path: Path) -> None:
    spoil(few)
    assert run(few, "--out", tmp_path / "o.json", "--format", "megadetector", "--top", 2) == 0
    assert run(few, "--out", tmp_path / "o.csv", "--top", 2) == 0
    found = json.loads((tmp_path / "o.json").read_text())
    rows = pd.read_csv(tmp_path / "o.csv").set_index("path")
    assert [image["file"] for image in found["images"]] == list(rows.index)
    assert float(found["info"]["format_version"]) >= 1
    names = found["classification_categories"]
    for image in found["images"]:
        row = rows.loc[image["file"]]
        if isinstance(row["error"], str):
            assert image["failure"] == row["error"]
        else:
            (detection,) = image["detections"]
            assert detection["category"] in found["detection_categories"]
            assert detection["conf"] == row["confidence_1"]
            assert [names[number] for number, _ in detection["classifications"]] == [row["label_1"], row["label_2"]]


def test_camtrap_dp_observations(bundle: Path, few: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: "2026:07:01 06:30:00", 0x9011: "+02:00"})
    first = sorted(few.iterdir())[0]
    Image.open(first).save(first, exif=exif)
    (few / "z.jpg").write_bytes(b"")
    found = {}
    for name, least in (("sure", 0.0), ("unsure", 1.1)):
        other = with_info(bundle, tmp_path / name, calibration=calibrated(least=least))
        out = tmp_path / f"{name}.csv"
        command = ["predict", str(few), "--bundle", str(other), "--out", str(out), "--format", "camtrap-dp"]
        assert main(command) == 0
        found[name] = pd.read_csv(out)
    rows, unsure = found["sure"], found["unsure"]
    assert unsure["observationType"].tolist() == ["unknown"] * FEW + ["unclassified"]
    assert unsure["scientificName"].isna().all()
    assert rows["observationID"].is_unique
    assert rows["mediaID"].tolist() == [str(path) for path in sorted(few.iterdir())]
    assert set(rows["deploymentID"]) == {str(few)}
    assert rows["eventStart"][0] == "2026-07-01T06:30:00+02:00"
    assert rows["observationType"].tolist() == ["animal"] * FEW + ["unclassified"]
    assert rows["scientificName"].notna().tolist() == [True] * FEW + [False]
    assert set(rows["classificationMethod"]) == {"machine"}


def test_a_camera_s_clock_is_put_into_its_zone(
    run: Run, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Camtrap DP wants instants; a photo without any time is counted aloud."""
    for number, photo in enumerate(sorted(few.iterdir())[:3]):
        exif = Image.Exif()
        taken = ["2026:01:01 06:30:00", "2026:07:01 06:30:00", "0000:00:00 00:00:00"][number]
        exif.get_ifd(0x8769).update({0x9003: taken})
        Image.open(photo).save(photo, exif=exif)
    out = tmp_path / "o.csv"
    assert run(few, "--out", out, "--format", "camtrap-dp") == 0
    assert f"{FEW} photos have no time or no time zone" in capsys.readouterr().err
    assert run(few, "--out", out, "--format", "camtrap-dp", "--timezone", "Europe/Berlin") == 0
    assert f"{FEW - 2} photos have no time" in capsys.readouterr().err
    assert pd.read_csv(out)["eventStart"].dropna().tolist() == [
        "2026-01-01T06:30:00+01:00",
        "2026-07-01T06:30:00+02:00",
    ]


def test_a_folder_whose_name_looks_like_a_pattern_means_itself(run: Run, few: Path, tmp_path: Path) -> None:
    few.rename(tmp_path / "site [2024]")
    assert run(tmp_path / "site [2024]" / "*.jpg", "--out", tmp_path / "o.csv") == 0
    assert len(pd.read_csv(tmp_path / "o.csv")) == FEW


def test_plain_lists_and_ids_without_an_extension_find_their_photos(run: Run, few: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in few.iterdir())
    (tmp_path / "list.txt").write_text("".join(f"few/{name}\n" for name in names))
    (few / "ids.csv").write_text("Image_ID\n" + "".join(f"{name.removesuffix('.jpg')}\n" for name in names))
    assert run(tmp_path / "list.txt", "--out", tmp_path / "o.csv") == 0
    assert pd.read_csv(tmp_path / "o.csv")["path"].tolist() == [f"few/{name}" for name in names]
    assert run(few / "ids.csv", "--out", tmp_path / "s.csv", "--submission", "Image_ID,Label") == 0
    rows = pd.read_csv(tmp_path / "s.csv")
    assert rows["Image_ID"].tolist() == [name.removesuffix(".jpg") for name in names]
    assert rows["Label"].notna().all()


def test_timelapse_s_table_and_windows_paths_find_their_photos(run: Run, few: Path, tmp_path: Path) -> None:
    shutil.copytree(few, tmp_path / "again")
    names = sorted(path.name for path in few.iterdir())[:2]
    places = [(folder, name) for folder in ("few", "again") for name in names]
    (tmp_path / "t.csv").write_text("File,RelativePath\n" + "".join(f"{name},{folder}\n" for folder, name in places))
    (tmp_path / "w.csv").write_text("path\n" + "".join(f"{folder}\\{name}\n" for folder, name in places))
    for table in ("t.csv", "w.csv"):
        assert run(tmp_path / table, "--out", tmp_path / "o.csv") == 0
        rows = pd.read_csv(tmp_path / "o.csv")
        assert rows["path"].str.replace("\\", "/").tolist() == [f"{folder}/{name}" for folder, name in places]
        assert rows["label_1"].notna().all()


@pytest.mark.parametrize("by", ["index", "name"])
def test_submission_has_two_columns(run: Run, few: Path, bundle: Path, tmp_path: Path, by: str) -> None:
    names = sorted(path.name for path in few.iterdir())
    (tmp_path / "few" / "test.csv").write_text("Image_ID\n" + "".join(f"{name}\n" for name in reversed(names)))
    assert (
        run(few / "test.csv", "--out", tmp_path / "s.csv", "--submission", "Image_ID,Label", "--submission-label", by)
        == 0
    )
    assert run(few, "--out", tmp_path / "o.csv") == 0
    labels, expected = load_bundle(bundle).labels, by_name(tmp_path / "o.csv")
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["Image_ID", "Label"]
    assert [name for name, _ in rows[1:]] == names[::-1]
    for name, label in rows[1:]:
        assert (label if by == "name" else labels[int(label)]) == expected[name][0]


def test_what_an_interrupted_call_left_is_no_photo_of_the_next(run: Run, few: Path, tmp_path: Path) -> None:
    (few / "o.csv.part").touch()
    assert run(few / "*", "--out", few / "o.csv") == 0
    assert len(pd.read_csv(few / "o.csv")) == FEW


def test_a_submission_has_the_ids_of_its_column_beside_paths(run: Run, few: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in few.iterdir())[:2]
    table = "".join(f"{number},{name}\n" for number, name in enumerate([*names, names[0]]))
    (few / "test.csv").write_text(f"Image_ID,filename\n{table}")
    assert run(few / "test.csv", "--out", tmp_path / "s.csv", "--submission", "Image_ID,Label") == 0
    assert pd.read_csv(tmp_path / "s.csv")["Image_ID"].tolist() == [0, 1, 2], "one photo has two"


def test_best_is_the_model_that_the_comparison_names(
    bundle: Path, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(bundle, "models/newts")
    Path("metrics").mkdir()
    Path("metrics/comparison.json").write_text('{"best": "newts"}')
    assert main(["predict", "few", "--out", "o.csv"]) == 0
    assert pd.read_csv("o.csv")["path"][0].startswith("few/")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["empty", "--out", "o.csv"], "there is no photo in empty"),
        (["absent", "--out", "o.csv"], "absent does not exist"),
        (["no*.jpg", "--out", "o.csv"], "does not exist"),
        (["list.csv", "--out", "o.csv"], "no column of paths"),
        (["few", "--out", "o.xlsx"], "extension '.xlsx'"),
        (["few", "--out", "o"], "no format is known"),
        (["few", "--out", "empty", "--format", "csv"], "is a folder"),
        (["few", "--out", "o.csv", "--bundle", "models/absent"], "no bundle.json"),
        (["few", "--out", "o.csv", "--bundle", "best"], "comparison.json is missing"),
        (["few", "--out", "o.csv", "--submission", "Image_ID"], "two columns"),
        (["few", "--out", "o.json", "--submission", "a,b", "--format", "megadetector"], "leave out --format"),
        (["few", "again", "--out", "o.csv", "--submission", "a,b"], "would both be"),
        (["few/*-1000.jpg", "--out", "few/../few/fern-1000.jpg", "--format", "csv"], "would be overwritten"),
        (["lists/*.csv", "--out", "lists/b.csv"], "would be overwritten"),
        (["lists/b.csv", "--out", "lists/fern-1000.jpg", "--format", "csv"], "would be overwritten"),
        (["lists/b.csv", "again/b.csv", "--out", "o.csv"], "would both be 'fern-1000.jpg'"),
        (["boxes.csv", "--out", "o.csv"], "boxes.csv has boxes"),
        (["linked", "--out", "o.csv"], "1 link to a folder is not searched: name linked/few itself"),
        (["few", "--out", "s3://bucket/o.csv"], "is a URL"),
        pytest.param(["few", "--out", "pipe", "--format", "csv"], "is a device or a pipe", marks=needs_posix),
        (["few", "--out", "o.csv", "--submission-label", "name"], "is for --submission"),
        (["few", "--out", "o.csv", "--timezone", "+02:00"], "is for --format camtrap-dp"),
        (["few", "--out", "o.csv", "--format", "camtrap-dp", "--timezone", "Mars/North"], "Mars/North is unknown"),
    ],
)
def test_bad_input_is_one_sentence(
    bundle: Path,
    few: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("list.csv").write_text("number\n1\n")
    shutil.copytree("few", "again")
    shutil.copytree("few", "lists")
    for folder in ("lists", "again"):
        Path(folder, "b.csv").write_text("path\nfern-1000.jpg\n")
    Path("boxes.csv").write_text("path,bbox_x,bbox_y,bbox_width,bbox_height\nfew/fern-1000.jpg,0,0,0.5,0.5\n")
    Path("linked").mkdir()
    Path("linked/few").symlink_to(few, target_is_directory=True)
    if "pipe" in arguments:
        os.mkfifo("pipe")
    given = [] if "--bundle" in arguments else ["--bundle", str(bundle)]
    with pytest.raises(SystemExit) as ended:
        main(["predict", *arguments, *given])
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.glob("o*"))
