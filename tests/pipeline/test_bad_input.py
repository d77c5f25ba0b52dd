"""A user's mistake ends a stage with one sentence, a failing exit code, and nothing half-written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from helpers.project import Project, new_project


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return new_project(tmp_path_factory.mktemp("template") / "repository")


@pytest.fixture
def broken(template: Project, tmp_path: Path) -> Project:
    return template.copy_to(tmp_path / "repository")


def no_photos(project: Project) -> None:
    shutil.rmtree(project.root / "photos")
    (project.root / "photos").mkdir()
    (project.root / "photos/labels.csv").write_text("path,species\n")


def one_class(project: Project) -> None:
    labels = pd.read_csv(project.root / "photos/labels.csv", keep_default_na=False)
    labels.assign(species="fern").to_csv(project.root / "photos/labels.csv", index=False)


def small_class(project: Project) -> None:
    labels = pd.read_csv(project.root / "photos/labels.csv", keep_default_na=False)
    labels.loc[:1, "species"] = "Ladder_Fern"
    labels.to_csv(project.root / "photos/labels.csv", index=False)
    project.change_params(data__rare="stop")


def missing_root(project: Project) -> None:
    project.change_params(data__root="nowhere")


def outside(project: Project) -> None:
    project.append("photos/labels.csv", "../secret.jpg,ladder_fern,\n")


def absolute(project: Project) -> None:
    project.append("photos/labels.csv", "/etc/passwd,ladder_fern,\n")


def unreadable(project: Project) -> None:
    for photo in sorted((project.root / "photos").rglob("*.jpg"))[:12]:
        photo.write_bytes(b"")


def misspelt(project: Project) -> None:
    project.change_params(split__tset=0.2)


def no_group_column(project: Project) -> None:
    project.change_params(data__groups=["burst"])


def unknown_correction(project: Project) -> None:
    project.append("data/corrections.csv", "ladder_fern/9999.jpg,creek_maple\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_photos, ["photos", "photos"]),
        (one_class, ["fern", "two classes"]),
        (small_class, ["Ladder_Fern", "1 usable group", "ladder_fern", "data.rare"]),
        (missing_root, ["data.root", "nowhere"]),
        (outside, ["../secret.jpg"]),
        (absolute, ["/etc/passwd"]),
        (unreadable, ["data.max_unreadable", "12 empty"]),
        (misspelt, ["split.tset", "'test'"]),
        (no_group_column, ["burst", "group"]),
        (unknown_correction, ["ladder_fern/9999.jpg", "corrections.csv"]),
    ],
)
def test_split_ends_with_one_sentence(broken: Project, damage: Callable[[Project], None], words: list[str]) -> None:
    damage(broken)
    run = broken.run("python", "-m", "stages.split", check=False)
    assert run.code == 1
    assert "Traceback" not in run.err
    (sentence,) = [line for line in run.err.splitlines() if line.startswith("florafauna: ")]
    assert sentence.endswith((".", "?"))
    for word in words:
        assert word in sentence
    for path in ("data/manifest.csv", "data/quarantine.csv", "metrics/data.json"):
        assert not (broken.root / path).exists()
    assert not list(broken.root.rglob("*.tmp"))


def test_an_unknown_model_is_named(broken: Project) -> None:
    run = broken.run("python", "-m", "stages.train", "resnet", check=False)
    assert (run.code, "Traceback" in run.err) == (1, False)
    assert "no model 'resnet'" in run.err


def test_models_scored_on_different_photos_are_not_compared(project: Project) -> None:
    from florafauna.scores.predictions import Predictions, read_predictions, write_predictions

    path = project.root / "predictions/vit/logits.parquet"
    all_of_them = read_predictions(path)
    fewer = Predictions("vit", all_of_them.labels, all_of_them.photos[1:], all_of_them.logits[1:])
    path.unlink()
    write_predictions(path, fewer)
    run = project.run("python", "-m", "stages.compare", "efficientnet", "convnext", "vit", check=False)
    assert (run.code, "Traceback" in run.err) == (1, False)
    assert "different photos" in run.err
