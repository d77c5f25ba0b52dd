"""The report as a file: what it says is what the metrics files say, and names are text."""

import base64
import json
import re
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers.reading import Element, embedded, read
from helpers.report_project import COMMIT, EVALUATE, MARKUP, MD5, NAMES, Project, make_project
from PIL import Image

from florafauna.base.errors import UserError
from florafauna.base.files import write_atomic
from florafauna.compare.report._mistakes import MOST_ERRORS
from florafauna.compare.report._page import MATRIX_CLASSES, ROWS_AT_FIRST
from florafauna.scores.calibration import softmax
from florafauna.scores.classification import per_class
from florafauna.scores.predictions import Predictions, read_predictions, write_predictions
from florafauna.scores.score import score
from florafauna.scores.settings import EvaluateParams


@pytest.fixture(scope="module")
def page(project: Project) -> Element:
    return read(project.page.read_text(encoding="utf-8"))


def test_every_figure_equals_the_metrics_file(project: Project, page: Element) -> None:
    figures = [element for element in page.all("data") if "data-source" in element.attributes]
    sources = [tuple(json.loads(element.attributes["data-source"])) for element in figures]
    for element, source in zip(figures, sources, strict=True):
        value = _in_metrics(project.root, source)
        assert float(element.attributes["value"]) == value, source
        _assert_shows(element, value)
    for model in project.rows:
        for name in (
            "weighted_f1",
            "weighted_f1_low",
            "weighted_f1_high",
            "macro_f1",
            "accuracy",
            "balanced_accuracy",
        ):
            assert ("details", model, "test", name) in sources
        for measure in ("ece", "adaptive_ece", "brier", "nll"):
            assert {("details", model, "calibration", measure, when) for when in ("before", "after")} <= set(sources)
        costs = ("parameters", "trainable_parameters", "megabytes", "training_seconds", "peak_memory_mb")
        assert {("costs", model, cost) for cost in (*costs, "photos_per_second")} <= set(sources)
        for path in (
            "requested_precision",
            "aurc",
            "global.threshold",
            "global.test.precision",
            "global.test.coverage",
        ):
            assert ("details", model, "abstention", *path.split(".")) in sources
        assert {("details", model, "novelty", each) for each in ("auroc", "fpr95")} <= set(sources)
        for rank in ("genus", "class", "kingdom"):
            assert ("details", model, "ranks", "by_rank", rank, "weighted_f1") in sources
            assert ("details", model, "ranks", "roll_up", "test", "answered_at", rank) in sources
    assert {("data", "photos", "quarantined"), ("data", "imbalance"), ("data", "splits", "train")} <= set(sources)


def test_f1_of_each_class_equals_the_metrics_files(project: Project, page: Element) -> None:
    table = page.one("table", id="class-table")
    models = [heading.text for heading in table.one("thead").all("th")[2:]]
    assert sorted(models) == sorted(project.rows)
    scores = {
        name: json.loads((project.root / f"predictions/{name}/per_class.json").read_text())["test"]
        for name in project.models
    }
    test = predictions_of(project, "ensemble").part("test")
    scores["ensemble"] = per_class(test.targets, test.predicted, project.labels)
    rows = table.one("tbody").all("tr")
    assert sorted(row.one("th").text for row in rows) == sorted(NAMES)
    for row in rows:
        label = row.one("th").text
        n, *f1 = row.all("data")
        assert int(n.attributes["value"]) == scores[models[0]][label]["n"]
        expected = [scores[name][label]["f1"] for name in models]
        assert [float(each.attributes["value"]) for each in f1] == pytest.approx(expected, abs=1e-6)


def test_every_data_element_shows_its_value(page: Element) -> None:
    for element in page.all("data"):
        if "%" not in element.text:
            _assert_shows(element, float(element.attributes["value"]))


def test_verdict_comes_first(project: Project, page: Element) -> None:
    comparison = json.loads((project.root / "metrics/details/comparison.json").read_text())
    assert page.one("h1").text == f"{comparison['verdict']}."
    assert [section.attributes["id"] for section in page.one("main").all("header")] == ["verdict"]


def test_rows_are_ranked_and_the_ensemble_is_compared_with_the_best_model(project: Project, page: Element) -> None:
    comparison = json.loads((project.root / "metrics/details/comparison.json").read_text())
    rows = page.one("table", id="model-table").one("tbody").all("tr")
    assert [row.one("th").text for row in rows] == list(comparison["models"])
    assert sorted(comparison["models"]) == sorted(project.rows)
    (pair,) = [name for name in comparison["pairs"] if "ensemble" in name]
    assert comparison["best"] in pair.split(" - ")
    assert comparison["pairs"][pair]["sentence"] in page.one("p", id="ensemble-says").text
    pairs = page.one("table", id="pair-table").one("tbody").all("tr")
    assert [row.one("th").text.replace(" over ", " - ") for row in pairs] == list(comparison["pairs"])
    costs = pd.read_csv(project.root / "plots/costs.csv")
    assert [row.all("td")[-1].text for row in rows] == ["yes" if pareto else "no" for pareto in costs["pareto"]]


def test_without_a_taxonomy_there_are_no_ranks(many_classes: Project) -> None:
    page = read(many_classes.page.read_text(encoding="utf-8"))
    assert not page.all("section", id="ranks")
    assert page.all("section", id="abstention")


def test_a_threshold_that_cannot_be_had_is_a_dash_and_a_sentence(tmp_path: Path) -> None:
    project = make_project(tmp_path, NAMES, each=4)
    for name in project.models:
        file = tmp_path / f"predictions/{name}/logits.parquet"
        scores = score(read_predictions(file), EvaluateParams(resamples=200, precision=0.99))
        details = tmp_path / f"metrics/details/{name}.json"
        details.write_text(json.dumps(json.loads(details.read_text()) | scores.details))
        (tmp_path / f"predictions/{name}/per_class.json").write_text(json.dumps(scores.per_class))
    page = read(project.write())
    rows = {row.one("th").text: row for row in page.one("table", id="abstention-table").one("tbody").all("tr")}
    assert [cell.text for cell in rows["oak"].all("td")[:4]] == ["0.99", "–", "–", "0.000"]
    assert "oak: 12 photos cannot show a precision of 99.0%" in page.one("section", id="abstention").text


def test_confusion_matrix_counts_all_predictions(project: Project, page: Element) -> None:
    models = embedded(page)["models"]
    assert sorted(models) == sorted(project.rows)
    for name, cells in models.items():
        test = predictions_of(project, name).part("test")
        counts = np.zeros((len(NAMES), len(NAMES)), dtype=int)
        for truth, predicted, photos, shown in cells:
            counts[truth, predicted] = photos
            assert len(shown) <= photos
        expected = np.zeros_like(counts)
        np.add.at(expected, (test.targets, test.predicted), 1)
        assert (counts == expected).all()


def test_gallery_counts_equal_the_confusion_matrix(page: Element) -> None:
    facts = embedded(page)
    for name, cells in facts["models"].items():
        errors = {(t, p): (photos, shown) for t, p, photos, shown in cells if t != p}
        total = sum(photos for photos, _ in errors.values())
        panel = page.one("div", data_model=name)
        assert int(panel.one("data", **{"class": "error-count"}).attributes["value"]) == total
        shown = panel.one("div", data_gallery="confident").all("figure")
        assert 0 < len(shown) == total < MOST_ERRORS
        names = [(figure.attributes["data-truth"], figure.attributes["data-predicted"]) for figure in shown]
        for (truth, predicted), (photos, behind) in errors.items():
            assert names.count((facts["labels"][truth], facts["labels"][predicted])) == photos == len(behind)
        for button in panel.all("button", **{"class": "to-cell"}):
            cell = int(button.attributes["data-row"]), int(button.attributes["data-column"])
            assert int(button.attributes["data-count"]) == errors[cell][0]


def test_most_confident_errors_come_first(page: Element) -> None:
    for gallery in page.all("div", data_gallery="confident"):
        confidences = [float(figure.one("data").attributes["value"]) for figure in gallery.all("figure")]
        assert confidences == sorted(confidences, reverse=True)


def test_photos_are_embedded_once_and_small(page: Element) -> None:
    photos = embedded(page)["photos"]
    assert len({path for path, _ in photos}) == len(photos) > 10
    for _, uri in photos:
        image = Image.open(BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,"))))
        assert max(image.size) <= 96
    for image in [image for image in page.all("img") if "src" not in image.attributes]:
        assert 0 <= int(image.attributes["data-photo"]) < len(photos)


def test_planted_wrong_labels_are_suspected(project: Project, page: Element) -> None:
    paths = [each.attributes["data-path"] for each in page.all("li", **{"class": "suspect"})]
    assert set(project.planted) <= set(paths)


def test_names_are_text(page: Element) -> None:
    assert not [image for image in page.all("img") if "onerror" in image.attributes]
    assert MARKUP in [heading.text for heading in page.all("th")]
    assert "<b>Vulpes</b>" in page.one("section", id="data").text
    assert "<cpu 0>, 2 threads" in page.one("section", id="provenance").text
    assert MARKUP in embedded(page)["labels"]


def test_nothing_is_fetched(project: Project, page: Element) -> None:
    text = project.page.read_text(encoding="utf-8")
    assert not re.findall(r"https?://|url\(|@import", text)
    for element in page.all():
        assert element.attributes.get("href", "#")[0] in "#d"
        assert element.attributes.get("src", "data:image/webp;").startswith("data:image/webp;")
    assert page.one("link").attributes["href"] == "data:,"


def test_data_section_names_quarantined_files_and_waivers(page: Element) -> None:
    section = page.one("section", id="data")
    rows = section.one("table", id="quarantine-table").one("tbody").all("tr")
    assert [(row.one("th").text, row.one("data").text) for row in rows] == [("label conflict", "4"), ("truncated", "1")]
    assert "cut.jpg" in rows[1].text
    assert "the file ends early" in rows[1].text
    assert len(rows[0].all("code")) == 3
    for word in ("Parus mayor", "Bubo bubo / bubo bubo", "really_a_png.jpg", f"{sorted(NAMES)[1]}: train only"):
        assert word in section.text


def test_provenance_names_commit_hashes_versions_and_machine(project: Project, page: Element) -> None:
    head = subprocess.run(["git", "-C", str(project.root), "rev-parse", "HEAD"], capture_output=True, text=True)
    text = page.one("section", id="provenance").text
    for word in (
        head.stdout.strip(),
        MD5,
        "0c" * 32,
        "1c" * 32,
        "ab" * 32,
        "torch 2.9.9",
        "24.5",
        "timm_oak, img_size 128",
        "What that licence demands",
        "keep <this> copy",
    ):
        assert word
        assert word in text


def test_provenance_shows_the_params_of_the_comparison_and_of_each_bundle(tmp_path: Path) -> None:
    project = make_project(tmp_path, NAMES, each=4)
    (tmp_path / "params.yaml").write_text("evaluate: {resamples: 77}")  # no dependency of the report
    page = read(project.write())
    shown = yaml.safe_load(page.one("section", id="provenance").one("pre").text)
    assert shown["evaluate"] == EVALUATE.model_dump(mode="json")
    assert shown["models"] == {
        "oak": {"rate": 0.125, "trainable": "all"}, "elm": {"rate": 0.0625, "trainable": "all"},
    }  # fmt: skip


def test_provenance_says_whether_code_params_or_data_differ_from_the_commit(tmp_path: Path) -> None:
    project = make_project(tmp_path, NAMES, models=("oak",), each=4, git=True)
    (tmp_path / "params.yaml").write_text("a: 1")
    for command in (["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b.c", *COMMIT]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True, capture_output=True)

    def said() -> str:
        (row,) = [
            row for row in read(project.write()).one("section", id="provenance").all("dd") if "commit" in row.text
        ]
        return row.text.partition(", ")[2]

    assert said() == "without uncommitted changes"
    for written in ("data/manifest.csv", "data/.gitignore", "metrics/vit.json"):
        (tmp_path / written).write_text("the pipeline writes this itself")
    assert said() == "without uncommitted changes"
    for changed in ("params.yaml", "photos/new.jpg", "florafauna/new.py"):
        file = tmp_path / changed
        before = file.read_bytes() if file.exists() else None
        write_atomic(file, "a: 2")
        assert said() == "with uncommitted changes"
        file.unlink() if before is None else file.write_bytes(before)
        assert said() == "without uncommitted changes"


def test_what_dvc_knows_of_the_report_before_is_not_in_the_report(tmp_path: Path) -> None:
    project = make_project(tmp_path, NAMES, models=("oak",), each=4)
    before = project.write()
    lock = tmp_path / "dvc.lock"
    stages = yaml.safe_load(lock.read_text())
    stages["stages"]["compare"] = {"cmd": "a", "outs": [{"path": "plots", "md5": "5a" * 16, "size": 1}]}
    lock.write_text(yaml.safe_dump(stages))
    assert project.write() == before


def test_same_results_give_the_same_bytes(project: Project) -> None:
    before = project.page.read_bytes()
    project.write()
    assert project.page.read_bytes() == before


def test_one_model_without_git_and_lock(tmp_path: Path) -> None:
    project = make_project(tmp_path, NAMES, models=("oak",))
    (tmp_path / "dvc.lock").unlink()
    page = read(project.write())
    assert page.one("h1").text == "oak is the only model."
    assert "unknown (no git commit)" in page.one("section", id="provenance").text
    assert not page.all("table", id="pair-table")
    assert "ensemble" not in page.text


def test_every_class_predicted_right(tmp_path: Path) -> None:
    project = make_project(tmp_path, NAMES, each=4)
    for name in project.models:
        file = tmp_path / f"predictions/{name}/logits.parquet"
        made = read_predictions(file)
        write_predictions(
            file, Predictions(name, made.labels, made.photos, 9 * np.eye(6, dtype=np.float32)[made.targets])
        )
    page = read(project.write())
    assert [each.text for each in page.all("data", **{"class": "error-count"})] == ["0", "0", "0"]
    assert "No photo is suspected" in page.one("section", id="labels").text


@pytest.mark.parametrize(
    "missing", ["metrics/data.json", "data/quarantine.csv", "data/examples.parquet", "models/oak/bundle.json"]
)
def test_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    project = make_project(tmp_path, NAMES, each=4)
    (tmp_path / missing).unlink()
    with pytest.raises(UserError, match=missing):
        project.write()


def test_many_classes_give_a_page_of_sane_size(many_classes: Project) -> None:
    text = many_classes.page.read_text(encoding="utf-8")
    page = read(text)
    facts = embedded(page)
    for table in ("class-table", "count-table"):
        rows = page.one("table", id=table).one("tbody").all("tr")
        assert len(rows) == ROWS_AT_FIRST
        names = [row.one("th").text for row in rows] + [row[0] for row in facts["rest"][table]]
        assert sorted(names) == many_classes.labels
    assert facts["matrixClasses"] == MATRIX_CLASSES < 150
    assert f"The {MATRIX_CLASSES} classes with most errors" in page.one("section", id="confusion").text
    thumbnails = sum(len(uri) for _, uri in facts["photos"])
    assert len(text) - thumbnails < 400_000


def predictions_of(project: Project, name: str) -> Predictions:
    """Those of a model as they were saved; the ensemble's as their definition says."""
    saved = [read_predictions(project.root / f"predictions/{each}/logits.parquet") for each in project.models]
    if name != "ensemble":
        return saved[project.models.index(name)]
    temperatures = [
        _in_metrics(project.root, ("details", each, "calibration", "temperature")) for each in project.models
    ]
    means = np.mean([softmax(each.logits, by) for each, by in zip(saved, temperatures, strict=True)], axis=0)
    return replace(saved[0], logits=np.log(means))


def _in_metrics(root: Path, source: tuple[str, ...]) -> Any:
    """A figure by its source on the page; what is known of the ensemble is among the details of the comparison."""
    kind, *keys = source
    if kind == "costs":
        return pd.read_csv(root / "plots/costs.csv", index_col="model").at[*keys]
    file = {
        "data": "metrics/data.json",
        "details": f"metrics/details/{'comparison' if keys[0] == 'ensemble' else keys[0]}.json",
        "timing": f"metrics/timing/{keys[0]}.json",
        "prediction": f"predictions/{keys[0]}/timing.json",
    }
    value = json.loads((root / file[kind]).read_text(encoding="utf-8"))
    for key in keys if kind == "data" or keys[0] == "ensemble" else keys[1:]:
        value = value[key]
    return value


def _assert_shows(element: Element, value: float) -> None:
    text = element.text.replace(",", "")
    digits = len(text.partition(".")[2])
    assert abs(float(text) - value) <= 0.5 * 10**-digits + 1e-12


def test_duplicates_suspects_and_quarantined_photos_are_shown(page: Element) -> None:
    """Four copies, in one cluster, and the same four files as label conflicts; the truncated file has no picture."""
    section = page.one("section", id="data")
    shown = [image.attributes["alt"] for image in section.all("img")]
    assert shown == [f"twin{number}.jpg" for number in range(4)] * 2 + ["twin0.jpg", "twin1.jpg"]
    pair = section.all("ul")[-2]
    assert [item.text for item in pair.all("li")] == ["Lynx, traintwin0.jpg", "<b>Vulpes</b>, traintwin1.jpg"]
    assert "In more than one split: 0 groups, 0 clusters and 0 files with equal content" in section.text
