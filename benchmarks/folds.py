"""Every photo tested once: how much narrower the interval is than with a split, for the few photos that users have."""

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from benchmarks.results import Section
from benchmarks.shared import CONFIG, PHOTOS, TENSORFLOW, require_shared, weights
from florafauna.crossval.crossval import CrossValidation, cross_validate
from florafauna.evaluate.evaluate import EvaluationJob, evaluate
from florafauna.folds.out_of_fold import OutOfFold, read_out_of_fold
from florafauna.folds.settings import FoldParams
from florafauna.model.settings import ModelParams
from florafauna.model.weights import make_initial_weights
from florafauna.photos.settings import DataParams
from florafauna.preprocess.preprocess import preprocess
from florafauna.scores.settings import EvaluateParams
from florafauna.split.dataset import prepare
from florafauna.split.settings import SplitParams
from florafauna.training.job import TrainingJob
from florafauna.training.loop import train

MODEL, SIZE, STORE_SIZE = "mobilenetv2_035", 160, 192
FOLDS = 5
COUNTS = (500, 1000)
ABOUT = """{model} with weights from ImageNet, its head solved for, on some of the shared photos (15 species,
near-duplicates on one side), scored on the test photos of a split (0.15 for validation, 0.2 for testing) and on all
photos by {folds} folds. Intervals at 95 %, over photos by cluster of duplicates. Seconds are those of training and
scoring, the frozen prefix included; the folds run it once for all."""


def run() -> Section:
    """Each number of photos, with the split and with folds."""
    require_shared()
    rows = []
    for count in COUNTS:
        with TemporaryDirectory() as name:
            work = Path(name)
            photos = some_photos(count)
            stores_of(photos, work)
            start = time.monotonic()
            train(TrainingJob("m", params(), *inputs(work), work / "scratch", work / "trained", work / "timing.json"))
            split_seconds, start = time.monotonic() - start, time.monotonic()
            cross_validated(work)
            seconds = (split_seconds, time.monotonic() - start)
            figures = scores(work)
            for way, part, spent in zip(("split", f"{FOLDS} folds"), ("test", "cv"), seconds, strict=True):
                low, high = figures[part]["weighted_f1_low"], figures[part]["weighted_f1_high"]
                interval = f"{figures[part]['weighted_f1']:.3f} ({low:.3f} to {high:.3f})"
                n = figures[part]["n"]
                rows.append((f"{len(photos)}, {way}", str(n), interval, f"**{high - low:.3f}**", f"{spent:.0f} s"))
    about = ABOUT.format(model=MODEL, folds=FOLDS)
    columns = ("photos", "tested", "weighted F1 (95 %)", "width", "training")
    return Section("Every photo tested once", about, columns, rows)


def params() -> ModelParams:
    """A head that is solved for over one augmented view."""
    given: dict[str, Any] = {
        "architecture": {"name": MODEL, **TENSORFLOW},
        "weights": {"source": "file", "file": f"data/weights/{MODEL}.safetensors", **CONFIG},
        "trainable": "head",
        "optimizer": "lbfgs",
        "views": 1,
        "train_size": SIZE,
        "test_size": SIZE,
        "precision": "fp32",
        "augment": {"scale": [0.4, 1.0]},
    }
    return ModelParams.model_validate(given)


def some_photos(count: int | None) -> pd.DataFrame:
    """Paths and labels of so many of the shared photos (None: of all), drawn by seed within each class."""
    paths = sorted(file.relative_to(PHOTOS).as_posix() for file in PHOTOS.glob("*/*"))
    photos = pd.DataFrame({"path": paths, "label": [path.partition("/")[0] for path in paths]})
    if count is None:
        return photos
    chosen = photos.groupby("label").sample(frac=count / len(photos), random_state=0)
    return chosen.sort_values("path", ignore_index=True)


def stores_of(photos: pd.DataFrame, work: Path) -> None:
    """The stages split, preprocess and weights, below `work`."""
    photos.to_csv(work / "labels.csv", index=False)
    (work / "corrections.csv").write_text("path,label\n")
    data = DataParams(root=str(PHOTOS), labels=str(work / "labels.csv"), max_unreadable=0.5)
    dataset = prepare(data, SplitParams(val=0.15, test=0.2), work / "corrections.csv")
    files = ("manifest.csv", "quarantine.csv", "examples.parquet", "data.json", "places.csv")
    dataset.write(*(work / name for name in files))
    preprocess(work / "manifest.csv", PHOTOS, work / "store", STORE_SIZE, work / "pixels")
    model = params()
    given = model.weights.model_copy(update={"file": str(weights(MODEL))})
    make_initial_weights(model.architecture, given, work / "initial.safetensors")


def inputs(work: Path) -> tuple[Path, Path, Path]:
    """The initial weights and the stores of a training."""
    return work / "initial.safetensors", work / "store/train", work / "store/val"


def cross_validated(work: Path) -> OutOfFold:
    """The stage folds, with a cache of its own."""
    stores = tuple(work / "store" / split for split in ("train", "val", "test"))
    how, out = FoldParams(folds=FOLDS), work / "folds"
    initial, manifest = work / "initial.safetensors", work / "manifest.csv"
    cross_validate(CrossValidation("m", params(), how, initial, stores, manifest, work / "own", out))
    found = read_out_of_fold(out)
    assert found is not None
    return found


def scores(work: Path) -> dict[str, Any]:
    """The stage evaluate: metrics/details/M.json."""
    evaluate(
        EvaluationJob(
            "m",
            EvaluateParams(folds=FOLDS),
            trained=work / "trained",
            val=work / "store/val",
            test=work / "store/test",
            folds=work / "folds",
            predictions=work / "predictions",
            metrics=work / "metrics.json",
            details=work / "details.json",
            bundle=work / "bundle",
        )
    )
    figures: dict[str, Any] = json.loads((work / "details.json").read_text())
    return figures
