"""A change reruns exactly what depends on it: real git, real dvc, in a temporary repository."""

import json
import shutil

import pandas as pd
import pytest
from helpers.project import Project
from PIL import Image, ImageEnhance

from florafauna.bundle.info import read_info

MODELS = ("efficientnet", "convnext", "vit")
TRAIN = {f"train_{name}" for name in MODELS}
FOLDS = {f"folds@{name}" for name in MODELS}  # switched off: a second each
EVALUATE = {f"evaluate@{name}" for name in MODELS}
AFTER_SPLIT = {"preprocess", *TRAIN, *FOLDS, *EVALUATE, "compare"}


def split_of(project: Project) -> pd.Series:
    manifest = pd.read_csv(project.root / "data/manifest.csv", keep_default_na=False)
    return manifest.set_index("path")["split"]


def test_nothing_changed_runs_nothing(project: Project) -> None:
    assert project.repro().stages == set()
    assert project.run("git", "status", "--porcelain").out == ""


def test_one_models_rate_reruns_that_model_and_the_metrics_diff_shows_it_alone(changed: Project) -> None:
    """That it reruns nothing else is asserted where the change is made."""
    project = changed
    project.run("git", "checkout", "-q", "-b", "faster")
    project.commit()
    difference = json.loads(project.run("dvc", "metrics", "diff", "main", "faster", "--json").out)
    moved = set(difference.get("diff", difference))
    assert "metrics/vit.json" in moved
    assert moved <= {"metrics/vit.json", "metrics/comparison.json"}  # vit may be the best, or have been it
    assert "metrics/vit.json" in project.run("dvc", "metrics", "diff", "main", "--md").out


def test_store_size_reruns_everything_from_preprocess(project: Project) -> None:
    project.change_params(image__store_size=72)
    assert project.repro().stages == AFTER_SPLIT


def test_a_changed_test_photo_trains_nothing(project: Project) -> None:
    """Other bytes are another photo, whose group keeps its place by the photos in it that stay."""
    path, other = split_of(project)[lambda split: split == "test"].index[:2]
    labels = pd.read_csv(project.root / "photos/labels.csv", keep_default_na=False)
    labels.loc[labels["path"].isin([path, other]), "group"] = "kept"
    labels.to_csv(project.root / "photos/labels.csv", index=False)
    project.repro()
    assert split_of(project)[path] == "test"
    before = {name: (project.root / f"models/{name}/model.safetensors").read_bytes() for name in MODELS}
    with Image.open(project.root / "photos" / path) as image:
        ImageEnhance.Brightness(image.convert("RGB")).enhance(0.8).save(project.root / "photos" / path, quality=80)
    assert project.repro().stages == {"split", "preprocess", *FOLDS, *EVALUATE, "compare"}
    assert split_of(project)[path] == "test"
    for name, weights in before.items():
        assert (project.root / f"models/{name}/model.safetensors").read_bytes() == weights


def test_an_added_photo_moves_no_other(project: Project) -> None:
    before = split_of(project)
    with Image.open(project.root / "photos" / before.index[0]) as image:
        image.convert("RGB").rotate(37).save(project.root / "photos/violet_aster/added.jpg", quality=80)
    with (project.root / "photos/labels.csv").open("a") as file:
        file.write("violet_aster/added.jpg,violet_aster,\n")
    ran = project.repro().stages
    after = split_of(project)
    assert list(after[before.index]) == list(before)
    place = after["violet_aster/added.jpg"]
    assert ran == {"split", "preprocess", *FOLDS, *EVALUATE, "compare", *(TRAIN if place in ("train", "val") else ())}


def test_an_added_class_reruns_all_but_the_initial_weights(project: Project) -> None:
    before = split_of(project)
    lines = []
    for path in before.index[:12]:
        name = f"new_class/{path.replace('/', '_')}"
        (project.root / "photos/new_class").mkdir(exist_ok=True)
        with Image.open(project.root / "photos" / path) as image:
            image.convert("RGB").resize((97, 260)).rotate(90, expand=True).save(
                (project.root / "photos" / name).with_suffix(".png")
            )
        lines.append(f"{name.rpartition('.')[0]}.png,new_class,\n")
    project.append("photos/labels.csv", "".join(lines))
    assert project.repro().stages == {"split", *AFTER_SPLIT}
    assert list(split_of(project)[before.index]) == list(before)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("stages/split.py", {"split"}),
        ("florafauna/scores/bootstrap.py", {*EVALUATE, "compare"}),
    ],
)
def test_code_that_gives_the_same_result_reruns_its_stage_alone(
    project: Project, script: str, expected: set[str]
) -> None:
    """Evaluation measures its speed, which the report shows: so `compare` follows it."""
    project.append(script, "# a comment\n")
    assert project.repro().stages == expected


def test_a_param_of_evaluation_makes_the_bundles_anew_and_trains_nothing(project: Project) -> None:
    before = {name: (project.root / f"models/{name}/model.safetensors").read_bytes() for name in MODELS}
    project.change_params(evaluate__precision=0.4)
    assert project.repro().stages == {*EVALUATE, "compare"}
    for name, weights in before.items():
        bundle = project.root / "models" / name
        assert read_info(bundle)["calibration"]["thresholds"]["precision"] == 0.4
        assert (bundle / "model.safetensors").read_bytes() == weights
        assert "a precision of 40.0%" in (bundle / "MODEL_CARD.md").read_text()  # which so few photos cannot show


def test_training_code_reruns_training_and_what_it_moves_alone(project: Project) -> None:
    """The same weights come out on a CPU; only the durations differ, and those the report shows."""
    project.append("florafauna/training/_schedule.py", "# a comment\n")
    assert project.repro().stages == {*TRAIN, *FOLDS, "compare"}


def test_a_model_is_fetched_from_the_run_cache_instead_of_trained_again(project: Project) -> None:
    views = project.params()["models"]["convnext"]["views"]
    project.change_params(models__convnext__views=views + 1)
    project.repro()
    project.change_params(models__convnext__views=views)
    again = project.repro()
    assert "train_convnext" not in again.stages
    assert project.run("git", "diff", "--stat", "--", "metrics/convnext.json").out == ""


def test_plots_of_two_branches(changed: Project) -> None:
    project = changed
    project.run("git", "checkout", "-q", "-b", "other")
    project.commit()
    page = project.run("dvc", "plots", "diff", "main", "--json").out
    for name in ("confusion", "history.csv", "reliability"):
        assert name in page
    shown = project.run("dvc", "plots", "show", "-o", "plots_html").out
    assert "index.html" in shown
    shutil.rmtree(project.root / "plots_html")
