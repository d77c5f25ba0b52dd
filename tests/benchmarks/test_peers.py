"""The benchmarks against peers run, and compare like with like."""

import re
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.machines import needs_posix
from PIL import Image
from torchvision.datasets import ImageFolder

from benchmarks import gpu, notebook_way, ranks, repro
from benchmarks.__main__ import NAMES
from benchmarks.noop import chain, declared
from benchmarks.noop import repro as no_op
from benchmarks.notebook_way import OWN, TIMM, link_folders, recipe_of, serving_best
from benchmarks.shared import copy_photos, manifest_of
from benchmarks.timing import in_turn
from florafauna.base.cores import usable_cores
from florafauna.model.settings import ModelParams


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of eight photos, a folder each."""
    for label, shade in (("fern", 60), ("newt", 180)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(8):
            pixels = np.random.default_rng(number).normal(shade, 20, (40, 48, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.jpg")
    return tmp_path / "photos"


def params(**values: object) -> ModelParams:
    facts = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "crop_pct": 0.9}
    given = {
        "architecture": {"name": "test_efficientnet"},
        "weights": {"source": "none", **facts},
        "trainable": ["blocks.4", "head"],
        "epochs": 2,
        "warmup_epochs": 0,
        "batch_size": 4,
        "train_size": 32,
    }
    return ModelParams.model_validate(given | values)


def split(photos: Path) -> pd.DataFrame:
    manifest = manifest_of(photos, one_in=4)
    test = manifest["path"].str.endswith("0.jpg")
    return manifest.assign(split=manifest["split"].where(~test, "test"))


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_can_be_imported_and_run(name: str) -> None:
    assert callable(import_module(f"benchmarks.{name}").run)


def test_the_notebooks_see_the_split_of_the_manifest(photos: Path, tmp_path: Path) -> None:
    manifest = split(photos)
    link_folders(manifest, photos, tmp_path / "folders")
    for name in ("train", "val", "test"):
        seen = ImageFolder(str(tmp_path / "folders" / name)).samples
        expected = manifest[manifest["split"] == name]
        assert {(Path(file).resolve(), target) for file, target in seen} == {
            (photos / path, target) for path, target in zip(expected["path"], expected["target"], strict=True)
        }


@pytest.mark.parametrize("transform", [OWN, TIMM])
def test_a_notebook_trains_what_is_open_and_predicts_every_test_photo(
    photos: Path, tmp_path: Path, transform: str
) -> None:
    manifest = split(photos)
    link_folders(manifest, photos, tmp_path / "folders")
    recipe = recipe_of(params(), None, transform)
    trained = notebook_way.train(recipe, tmp_path / "folders")
    assert sorted(trained.predicted) == ["fern__0.jpg", "newt__0.jpg"]
    assert set(trained.predicted.values()) <= {"fern", "newt"}
    assert len(trained.val_weighted_f1) == 2
    assert serving_best(recipe, tmp_path / "folders", choices=[0]).workers == 0


def test_a_recipe_is_what_params_say() -> None:
    recipe = recipe_of(params(optimizer="adam", rate=0.5, batch_size=7), Path("w.safetensors"), TIMM)
    assert (recipe.optimizer, recipe.rate, recipe.batch_size, recipe.epochs) == ("adam", 0.5, 7, 2)
    assert (recipe.size, recipe.crop_pct, recipe.trainable) == (32, 0.9, ["blocks.4", "head"])
    with pytest.raises(ValueError, match="train_size"):
        recipe_of(params(train_size=None), None, TIMM)


def test_copied_photos_are_evenly_spaced(photos: Path, tmp_path: Path) -> None:
    assert copy_photos(tmp_path / "some", 4, photos) == 8
    assert sorted(path.name for path in (tmp_path / "some/fern").iterdir()) == ["0.jpg", "2.jpg", "4.jpg", "6.jpg"]
    assert copy_photos(tmp_path / "all", None, photos) == 16


@pytest.mark.parametrize(("wrong_of_ours", "sign"), [(20, "-"), (0, "+")])
def test_the_difference_is_ours_minus_theirs(wrong_of_ours: int, sign: str) -> None:
    labels = ["fern", "newt"] * 50
    test = pd.DataFrame({"path": range(100), "label": labels, "group": [str(number) for number in range(100)]})
    theirs = ["newt"] * 10 + labels[10:]  # five of them wrong
    ours = ["fern" if label == "newt" else "newt" for label in labels[:wrong_of_ours]] + labels[wrong_of_ours:]
    f1_theirs, f1_ours, difference = repro.scored(theirs, ours, test)
    assert difference.startswith(sign)
    assert f1_theirs.startswith("0.95")
    assert f1_ours.startswith("0.80" if wrong_of_ours else "1.00")


def test_the_gpu_benchmark_also_runs_on_a_cpu() -> None:
    sizes = gpu.Sizes(size=32, store_size=40, batch=4, photos=8, drawn=2, classes=2)
    rows = gpu.measure(("test_efficientnet", "test_convnext"), sizes, peak=1e9, runs=1, precision="fp32")
    assert [row[0] for row in rows] == ["test_efficientnet, fp32", "test_convnext, fp32"]
    assert all("steps/s" in row[1] and "steps/s" in row[2] and int(row[-1].rstrip("%")) > 0 for row in rows)
    assert gpu.measured_peak(torch.device("cpu"), 64, "fp32", tries=2) > 0


@needs_posix
def test_scaling_compares_one_process_with_one_a_gpu() -> None:
    sizes = gpu.Sizes(size=32, store_size=40, batch=4, photos=8, drawn=2, classes=2)
    models = ("test_efficientnet", "test_convnext")
    assert gpu.scaling(models, sizes, gpus=1) == ["not measured, one was there"] * 2
    for speed in gpu.scaling(models, sizes, gpus=2, epochs=1, precision="fp32"):
        found = re.fullmatch(r"2: \*\*(.*)×\*\* \((.*)%\)", speed)
        assert found, speed
        assert float(found[2]) == pytest.approx(50 * float(found[1]), abs=1)


@pytest.mark.skipif(usable_cores() < 2 or sys.platform != "linux", reason="each process is put on a core of its own")
def test_the_benchmark_of_one_training_by_two_processes_runs() -> None:
    sizes = ranks.Sizes(photos=8, size=32, batch=4, rounds=1, epochs=1, longer=1)
    cases = {"norms": {"architecture": {"name": "test_efficientnet"}}}
    cases["prefix"] = {"architecture": {"name": "test_vit"}, "trainable": "head", "views": 1}
    rows = ranks.measure(cases, sizes)
    assert [len(row) for row in rows] == [len(ranks.COLUMNS)] * 2
    assert [row[0] for row in rows] == ["norms", "prefix"]


def test_without_a_gpu_nothing_is_claimed() -> None:
    section = gpu.run()
    assert "python -m benchmarks gpu" in section.about
    assert {cell for row in section.rows for cell in row[1:]} == {"not measured"}


def test_a_no_op_that_runs_a_stage_is_an_error(tmp_path: Path) -> None:
    chain(tmp_path / "empty", [2, 4])
    assert declared(tmp_path / "empty") == [2, 4]
    no_op(tmp_path / "empty")
    (tmp_path / "empty/0.txt").write_text("something\n")
    with pytest.raises(RuntimeError, match="no no-op"):
        no_op(tmp_path / "empty")


def test_ways_are_timed_in_turn() -> None:
    order: list[str] = []
    seconds = in_turn((lambda: order.append("a"), lambda: order.append("b")), 3)
    assert order == ["a", "b"] * 3
    assert [len(each) for each in seconds] == [3, 3]
