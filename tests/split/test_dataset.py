"""From labelled photos to manifest, quarantine and counts: the embedded sample, layouts, given splits, leaks."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from florafauna.base.errors import UserError
from florafauna.photos.settings import DataParams
from florafauna.pixels.resize import resize
from florafauna.preprocess.decode import decode
from florafauna.split._assign import assign
from florafauna.split.dataset import Dataset, prepare
from florafauna.split.settings import SplitParams


@pytest.fixture
def corrections(tmp_path: Path) -> Path:
    path = tmp_path / "corrections.csv"
    path.write_text("path,label\n")
    return path


def blob(seed: int, background: tuple[int, int, int] | None = None) -> bytes:
    """A JPEG of 64 × 64 px with random shapes, unlike any other."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (6, 6, 3))
    picture = Image.fromarray(small.astype(np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
    if background is not None:
        shade = np.asarray(picture, dtype=float) * 0.35 + np.array(background) * 0.65
        picture = Image.fromarray(shade.clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write(root: Path, photos: dict[str, bytes]) -> None:
    for path, data in photos.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)


def table(root: Path, rows: pd.DataFrame) -> DataParams:
    rows.to_csv(root / "labels.csv", index=False)
    return DataParams(root=str(root), labels=str(root / "labels.csv"))


def folders(root: Path) -> DataParams:
    return DataParams(root=str(root), labels=str(root))


def assert_counts_add_up(dataset: Dataset) -> None:
    facts = dataset.facts
    assert facts["photos"]["input"] == facts["photos"]["used"] + facts["photos"]["quarantined"]
    assert facts["photos"]["used"] == len(dataset.manifest)
    assert sum(facts["quarantine"].values()) == len(dataset.quarantine)
    for counts in facts["per_class"].values():
        assert counts["input"] == counts["used"] + counts["quarantined"]
    for name in ("input", "used", "quarantined"):
        unlabelled = 0 if name == "used" else facts["photos"]["without_label"]
        assert sum(counts[name] for counts in facts["per_class"].values()) + unlabelled == facts["photos"][name]


def test_every_oddity_of_the_sample_meets_the_fate_that_its_readme_names(repository: Path, corrections: Path) -> None:
    root = repository / "data/sample"
    data = DataParams(root=str(root), labels=str(root / "labels.csv"), groups=("group",))
    dataset = prepare(data, SplitParams(), corrections)
    assert_counts_add_up(dataset)
    reasons = dataset.quarantine.set_index("path")["reason"].to_dict()
    listed = [line.split("|") for line in (root / "README.md").read_text().splitlines() if line.startswith("| `")]
    assert len(listed) == 14
    for _, path, _, fate, _ in listed:
        path, fate = path.strip(" `"), fate.strip()
        assert reasons.pop(path, "used") == fate.removeprefix("quarantined: ").partition(",")[0]
    assert reasons == {}
    cluster = dataset.manifest.set_index("path")["cluster"]
    copies = ["three_bar_darter/012.jpg", "three_bar_darter/012_web.jpg", "three_bar_darter/012_mirrored.jpg"]
    assert len(set(cluster[copies])) == 1
    assert cluster["creek_maple/010.jpg"] == cluster["creek_maple/copy_of_010.jpg"] != ""
    turned = dataset.manifest.set_index("path").loc["creek_maple/exif_6.jpg"]
    with Image.open(root / "creek_maple/exif_6.jpg") as stored:
        assert (turned["width"], turned["height"]) == (stored.height, stored.width)


def test_equal_input_gives_equal_bytes(repository: Path, corrections: Path, tmp_path: Path) -> None:
    root = repository / "data/sample"
    data = DataParams(root=str(root), labels=str(root / "labels.csv"), groups=("group",))
    for run, workers in (("one", 1), ("two", 2)):
        out = tmp_path / run
        prepared = prepare(data, SplitParams(), corrections, workers=workers)
        prepared.write(out / "m.csv", out / "q.csv", out / "e.parquet", out / "d.json", out / "p.csv")
    for name in ("m.csv", "q.csv", "e.parquet", "d.json", "p.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_layout_of_the_ten_class_archive(tmp_path: Path, corrections: Path) -> None:
    """train/ and val/ alone: val is the test set, and validation photos are taken out of train."""
    root = tmp_path / "inaturalist_12K"
    classes = ("Amphibia", "Plantae")
    write(root, {f"train/{c}/{n}.jpg": blob(100 * k + n) for k, c in enumerate(classes) for n in range(30)})
    write(root, {f"val/{c}/{n}.jpg": blob(1000 + 100 * k + n) for k, c in enumerate(classes) for n in range(6)})
    dataset = prepare(DataParams(root=str(root), labels=str(root)), SplitParams(val=0.2), corrections)
    manifest = dataset.manifest
    assert set(manifest.loc[manifest["path"].str.startswith("val/"), "split"]) == {"test"}
    assert set(manifest.loc[manifest["path"].str.startswith("train/"), "split"]) == {"train", "val"}
    assert sorted(manifest["label"].unique()) == list(classes)
    assert_counts_add_up(dataset)


def test_a_given_split_is_kept_and_what_crosses_it_does_not_train(tmp_path: Path, corrections: Path) -> None:
    photos = {f"{n:02d}.jpg": blob(n) for n in range(24)}
    photos["copy.jpg"] = photos["20.jpg"]
    write(tmp_path / "photos", photos)
    names = sorted(photos)
    rows = pd.DataFrame({"path": names, "label": [("ash", "beech")[n % 2] for n in range(len(names))]})
    rows["split"] = ["train"] * 12 + ["val"] * 6 + ["test"] * 7
    rows.loc[rows["path"] == "copy.jpg", ["split", "label"]] = ["train", rows.set_index("path").at["20.jpg", "label"]]
    dataset = prepare(table(tmp_path / "photos", rows), SplitParams(), corrections)
    given = rows.set_index("path")["split"]
    manifest = dataset.manifest.set_index("path")["split"]
    assert list(manifest) == list(given[manifest.index])
    assert list(dataset.quarantine["path"]) == ["copy.jpg"]
    assert list(dataset.quarantine["reason"]) == ["leak"]
    assert "20.jpg" in dataset.quarantine["detail"].iloc[0]
    assert len(dataset.facts["leaks"]) == 1
    assert_counts_add_up(dataset)


def test_new_sites_and_later_photos_are_a_second_test_set(tmp_path: Path, corrections: Path) -> None:
    photos = {f"{n:03d}.jpg": blob(n) for n in range(80)}
    write(tmp_path / "photos", photos)
    rows = pd.DataFrame({"path": sorted(photos), "label": ["ash", "beech"] * 40})
    rows["location"] = [f"site {n % 8}" for n in range(80)]
    rows["datetime"] = ["2023-05-01" if n < 60 else "2024-05-01" for n in range(80)]
    data = table(tmp_path / "photos", rows).model_copy(update={"groups": ()})
    split = SplitParams.model_validate({"after": "2024-01-01", "held_out_locations": ["site 3"]})
    manifest = prepare(data, split, corrections).manifest.set_index("path")
    late, there = set(rows.loc[60:, "path"]), set(rows.loc[rows["location"] == "site 3", "path"])
    assert set(manifest.index[manifest["held_out"] == "location"]) == there
    assert set(manifest.index[manifest["held_out"] == "time"]) == late - there
    assert set(manifest.loc[manifest["held_out"] != "", "split"]) == {"test"}
    assert set(manifest.loc[manifest["held_out"] == "", "split"]) == {"train", "val", "test"}


def test_a_year_alone_is_held_out_by_its_first_day_and_what_is_unclear_is_said() -> None:
    photos = pd.DataFrame({"label": ["ash", "beech"] * 15, "sha256": [f"{n:064x}" for n in range(30)]})
    photos["key"] = photos["sha256"]
    photos["datetime"] = ["2025", "2024", "2024-06", "", "2024-07-01T05:00:00", *["2023-01-01"] * 25]
    assigned = assign(photos, SplitParams.model_validate({"after": "2024-07-01"}), ())
    assert list(assigned.table["held_out"][:5]) == ["time", "", "", "", "time"]
    assert (
        "2 photos have no date that says whether they are earlier than 2024-07-01, and are taken so" in assigned.notes
    )


def test_corrections_win_and_an_empty_label_takes_a_photo_out(tmp_path: Path, corrections: Path) -> None:
    write(tmp_path / "photos", {f"{label}/{n}.jpg": blob(n + 50 * (label == "ash"))
                                for label in ("ash", "beech") for n in range(12)})  # fmt: skip
    (tmp_path / "photos/ash/4.jpg").rename(tmp_path / "photos/ash/e\u0301.jpg")  # é as macOS may write it
    corrections.write_text("path,label\nash/1.jpg,beech\nash/2.jpg,remove\nash/3.jpg,\nash/é.jpg,remove\n,\n,\n")
    dataset = prepare(
        DataParams(root=str(tmp_path / "photos"), labels=str(tmp_path / "photos")), SplitParams(), corrections
    )
    labels = dataset.manifest.set_index("path")["label"]
    assert labels["ash/1.jpg"] == "beech"
    assert not {"ash/2.jpg", "ash/3.jpg", "ash/e\u0301.jpg"} & set(labels.index)
    assert dataset.quarantine.set_index("path").at["ash/2.jpg", "reason"] == "removed"
    assert_counts_add_up(dataset)


@pytest.mark.parametrize(
    ("photo", "reason"), [("a.jpg", "label_conflict"), ("b.jpg", "no_label"), ("c.jpg", "unlisted")]
)
def test_a_label_for_a_photo_that_is_left_out_is_refused_and_its_removal_is_not(
    tmp_path: Path, corrections: Path, photo: str, reason: str
) -> None:
    write(tmp_path / "photos", {f"{name}.jpg": blob(number) for number, name in enumerate("abcdefghi")})
    listed = "".join(f"{name}.jpg,{'ash' if name < 'g' else 'elm'}\n" for name in "defghi")
    (tmp_path / "labels.csv").write_text(f"path,label\na.jpg,ash\na.jpg,elm\nb.jpg,\n{listed}")
    data = DataParams(root=str(tmp_path / "photos"), labels=str(tmp_path / "labels.csv"))
    corrections.write_text(f"path,label\n{photo},remove\n")
    assert len(prepare(data, SplitParams(), corrections, workers=1).manifest) == 6
    corrections.write_text(f"path,label\n{photo},ash\n")
    with pytest.raises(UserError, match=rf"has a label for {photo}, which is left out \({reason}: .*remove this row"):
        prepare(data, SplitParams(), corrections, workers=1)


def test_the_same_picture_under_two_labels_names_both_files(tmp_path: Path, corrections: Path) -> None:
    photos = {f"{label}/{n}.jpg": blob(n + 50 * (label == "ash")) for label in ("ash", "beech") for n in range(8)}
    photos["beech/again.jpg"] = photos["ash/3.jpg"]
    write(tmp_path / "photos", photos)
    dataset = prepare(
        DataParams(root=str(tmp_path / "photos"), labels=str(tmp_path / "photos")), SplitParams(), corrections
    )
    assert list(dataset.quarantine["path"]) == ["ash/3.jpg", "beech/again.jpg"]
    for detail in dataset.quarantine["detail"]:
        assert "ash/3.jpg" in detail
        assert "beech/again.jpg" in detail


def test_counts_add_up_where_files_have_no_label(tmp_path: Path, corrections: Path) -> None:
    root = tmp_path / "photos"
    write(root, {f"{label}/{n}.jpg": blob(n + 50 * (label == "ash")) for label in ("ash", "beech") for n in range(12)})
    write(root, {"ash/new\nline.jpg": blob(200), "stray.jpg": blob(201), "beech/empty.jpg": b""})
    dataset = prepare(folders(root).model_copy(update={"max_unreadable": 1.0}), SplitParams(), corrections)
    assert_counts_add_up(dataset)
    assert len(dataset.quarantine) == 3


def test_labels_that_differ_by_case_or_space_are_suspects(tmp_path: Path, corrections: Path) -> None:
    names = ("Ash", "ash ", "beech")
    photos = {f"{k}_{n}.jpg": blob(k * 40 + n) for k in range(3) for n in range(8)}
    write(tmp_path / "photos", photos)
    rows = pd.DataFrame({"path": sorted(photos), "label": [names[int(path[0])] for path in sorted(photos)]})
    facts = prepare(table(tmp_path / "photos", rows), SplitParams(), corrections).facts
    assert facts["suspects"]["spelling"] == [["Ash", "ash "]]


def test_labels_that_look_like_none_are_suspects_and_classes(
    tmp_path: Path, corrections: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("NA", "?", "none", "beech")
    write(tmp_path / "photos", photos := {f"{k}_{n}.jpg": blob(k * 40 + n) for k in range(4) for n in range(4)})
    rows = pd.DataFrame({"path": sorted(photos), "label": [names[int(path[0])] for path in sorted(photos)]})
    dataset = prepare(table(tmp_path / "photos", rows), SplitParams(), corrections)
    assert dataset.facts["suspects"]["look_like_none"] == ["?", "NA", "none"]
    assert dataset.facts["classes"] == 4
    dataset.write(*(tmp_path / name for name in ("m.csv", "q.csv", "e.parquet", "d.json", "p.csv")))
    out = capsys.readouterr().out
    assert "split: labels that look like none are classes: ?, NA, none" in out
    assert "split: labels from labels.csv: column label; 16 of 16 rows found" in out


@pytest.mark.parametrize("rare", ["omit", "other", "stop"])
def test_classes_with_too_few_photos(tmp_path: Path, corrections: Path, rare: str) -> None:
    counts = {"ash": 6, "beech": 5, "elm": 2, "yew": 1}
    photos = {f"{k}_{n}.jpg": blob(50 * k + n) for k, count in enumerate(counts.values()) for n in range(count)}
    write(tmp_path / "photos", photos)
    rows = pd.DataFrame({"path": sorted(photos), "label": [list(counts)[int(path[0])] for path in sorted(photos)]})
    data = table(tmp_path / "photos", rows).model_copy(update={"rare": rare})
    if rare == "stop":
        with pytest.raises(
            UserError, match=r"class 'elm' has 2 usable photos and needs 3 .* as do 1 more .*data\.rare"
        ):
            prepare(data, SplitParams(), corrections)
        return
    dataset = prepare(data, SplitParams(), corrections)
    assert_counts_add_up(dataset)
    if rare == "omit":
        assert set(dataset.manifest["label"]) == {"ash", "beech"}
        assert dataset.facts["quarantine"] == {"rare_class": 3}
        assert dataset.facts["per_class"]["elm"]["quarantined"] == 2
        assert any(
            "2 classes with fewer than 3 photos are left out: elm (2), yew (1)" in note for note in dataset.notes
        )
    else:
        assert dataset.manifest["label"].value_counts().to_dict() == {"ash": 6, "beech": 5, "other": 3}
        assert any("are 'other': elm (2), yew (1)" in note for note in dataset.notes)
    fewest = prepare(data.model_copy(update={"least": 1}), SplitParams(), corrections)
    assert set(fewest.manifest["label"]) == set(counts)


def test_where_photos_are_joined_groups_are_counted(tmp_path: Path, corrections: Path) -> None:
    photos = {f"{label}_{n}.jpg": blob(50 * k + n) for k, label in enumerate(("ash", "beech", "elm")) for n in range(6)}
    write(tmp_path / "photos", photos)
    bed = [path.replace("elm_", "elm_1")[:5] if path.startswith("elm") else path for path in sorted(photos)]
    rows = pd.DataFrame({"path": sorted(photos), "label": [path[:-6] for path in sorted(photos)], "bed": bed})
    data = table(tmp_path / "photos", rows).model_copy(update={"groups": ("bed",)})
    dataset = prepare(data, SplitParams(), corrections)
    assert set(dataset.manifest["label"]) == {"ash", "beech"}
    assert set(dataset.quarantine["detail"]) == {"its class has 1 usable group(s), fewer than data.least (3)"}


def test_a_background_that_betrays_the_camera_scores_under_a_random_split_alone(
    tmp_path: Path, corrections: Path
) -> None:
    """Every camera saw one species; the pictures differ in nothing but the camera's colour. A classifier that reads
    the background is right on photos of known cameras and helpless at new ones: only the group split shows it."""
    root, rng, rows = tmp_path / "photos", np.random.default_rng(0), []
    for camera in range(60):
        colour = tuple(int(value) for value in rng.integers(0, 255, 3))
        for shot in range(10):
            path = f"{camera:02d}_{shot}.jpg"
            write(root, {path: blob(1000 * camera + shot, colour)})
            rows.append((path, f"species {camera % 4}", f"camera {camera}"))
    data = table(root, pd.DataFrame(rows, columns=["path", "label", "location"]))

    def score(groups: tuple[str, ...]) -> float:
        manifest = prepare(data.model_copy(update={"groups": groups}), SplitParams(test=0.3), corrections).manifest
        seen = [decode((root / path).read_bytes(), 64, resize) for path in manifest["path"]]
        colours = np.stack([pixels.mean((0, 1)) for pixels in seen]) / 255
        known = colours[(manifest["split"] == "train").to_numpy()]
        features = np.exp(-200 * ((colours[:, None] - known[None]) ** 2).sum(axis=2))
        train, test = manifest["split"] == "train", manifest["split"] == "test"
        model = LogisticRegression(C=100, max_iter=500).fit(features[train], manifest.loc[train, "label"])
        return float(model.score(features[test], manifest.loc[test, "label"]))

    assert score(()) > 0.8
    assert score(("location",)) < 0.45  # chance is 0.25


def test_a_run_that_cannot_be_split_by_its_groups_says_so(tmp_path: Path, corrections: Path) -> None:
    write(tmp_path / "photos", {f"{n}.jpg": blob(n) for n in range(20)})
    rows = pd.DataFrame({"path": [f"{n}.jpg" for n in range(20)], "label": ["ash", "beech"] * 10, "location": "here"})
    data = table(tmp_path / "photos", rows).model_copy(update={"groups": ("location",)})
    with pytest.raises(UserError, match=r"0 classes have 3 groups or more.*data\.groups"):
        prepare(data, SplitParams(), corrections)


@pytest.mark.parametrize("mark", ["\r", "\r\n", "\x85", "\u2028", "\v"])
def test_line_breaks_in_values_do_not_break_the_manifest(tmp_path: Path, corrections: Path, mark: str) -> None:
    paths = [f"{number}.jpg" for number in range(12)]
    write(tmp_path, {path: blob(number) for number, path in enumerate(paths)})
    labels = [f"red{mark}fox", "elk"] * 6
    rows = pd.DataFrame({"path": paths, "label": labels, "location": f"A{mark}"})
    rows["burst"] = [f"{number}{mark}1" for number in range(12)]
    rows.to_parquet(tmp_path / "labels.parquet")
    data = DataParams(root=str(tmp_path), labels=str(tmp_path / "labels.parquet"), groups=("burst",))
    dataset = prepare(data, SplitParams(), corrections)
    assert "30 values of label, location, burst hold line breaks, which were made spaces" in dataset.notes
    names = ("manifest.csv", "quarantine.csv", "examples.parquet", "data.json", "places.csv")
    dataset.write(*(tmp_path / "out" / name for name in names))
    written = (tmp_path / "out/manifest.csv").read_bytes().decode()
    assert len(written.splitlines()) == 13
    read = pd.read_csv(tmp_path / "out/manifest.csv", keep_default_na=False)
    assert sorted(set(read["label"])) == ["elk", "red fox"]
    assert set(read["location"]) == {"A"}


def test_labels_that_a_model_advised_are_marked_and_counted(tmp_path: Path, corrections: Path) -> None:
    write(tmp_path / "photos", {f"{label}/{n}.jpg": blob(n + 50 * (label == "ash"))
                                for label in ("ash", "beech") for n in range(12)})  # fmt: skip
    rows = ["path,label", "ash/0.jpg,beech,model", "ash/1.jpg,beech", "ash/2.jpg,ash,model", "beech/3.jpg,remove,model"]
    corrections.write_text("\n".join(rows) + "\n")
    dataset = prepare(
        DataParams(root=str(tmp_path / "photos"), labels=str(tmp_path / "photos")), SplitParams(), corrections
    )
    marked = dataset.manifest.set_index("path")["corrected"]
    assert dict(marked[marked != ""]) == {"ash/0.jpg": "model", "ash/1.jpg": "person"}
    assert dataset.facts["corrected"] == {"by_a_person": 1, "on_a_models_advice": ["ash/0.jpg"]}
    (detail,) = dataset.quarantine["detail"]
    assert detail.endswith("corrections.csv, on a model's advice"), "photos taken out favour the model, too"


def test_the_manifest_keeps_a_column_that_is_left_out_by(tmp_path: Path, corrections: Path) -> None:
    photos = {f"{n:02d}.jpg": blob(n) for n in range(24)}
    write(tmp_path / "photos", photos)
    rows = pd.DataFrame(
        {"path": sorted(photos), "label": ["ash", "beech"] * 12, "weather": [f"w{n % 4}" for n in range(24)]}
    )
    data = table(tmp_path / "photos", rows).model_copy(update={"groups": ()})
    assert "weather" not in prepare(data, SplitParams(), corrections).manifest
    manifest = prepare(data, SplitParams(), corrections, by="weather").manifest
    assert list(manifest["weather"]) == list(rows["weather"])
    with pytest.raises(UserError, match=r"evaluate.by needs a column 'site' and .*; its columns are weather"):
        prepare(data, SplitParams(), corrections, by="site")
