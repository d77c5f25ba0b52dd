"""Training a head alone, against the notebooks' loop on the same model and the same photos."""

import shutil
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from benchmarks import notebook_way
from benchmarks.notebook_way import TIMM, link_folders, recipe_of, serving_best
from benchmarks.results import Section
from benchmarks.shared import CONFIG, TENSORFLOW, copy_photos, manifest_of, require_shared, weights
from benchmarks.timing import Pairs, in_turn, median_seconds
from benchmarks.training_parts import job
from florafauna.model.settings import ModelParams
from florafauna.model.weights import make_initial_weights
from florafauna.photos.sources import open_source
from florafauna.preprocess._write import build_store
from florafauna.training.loop import train

MODEL, SIZE, STORE_SIZE = "mobilenetv2_100", 224, 256
OF_A_CLASS, EPOCHS, BATCH = 16, 15, 64
VIEWS = (4, 1)
RUNS = 5
ABOUT = """The head of {model} with weights from ImageNet on {train} photos of the shared set ({val} for validation),
{epochs} epochs of batches of {batch} at {size} px, AdamW, validation after every epoch, the best kept.
Notebooks' way, in a process of its own that has run before the clock starts: ImageFolder on the originals, timm's
create_transform (`rand-m9-mstd0.5-inc1`, bicubic), a DataLoader with {workers} worker processes (the fastest of those
tried here), the whole model in every epoch, backward through the head alone. florafauna,
all of it counted: decoding the originals into the pixel store, the frozen prefix once a view, {epochs} epochs of the
head, the saved model reloaded and checked on the validation photos."""


def run() -> Section:
    """With each number of views, against the same runs of the notebooks' way."""
    require_shared()
    with TemporaryDirectory() as name:
        root = Path(name)
        copy_photos(root / "photos", OF_A_CLASS)
        manifest = manifest_of(root / "photos")
        models = [params(views) for views in VIEWS]
        # florafauna tells the C library of its process to use freed memory again; the peer must not profit from that.
        with ProcessPoolExecutor(1, get_context("spawn")) as notebooks:
            theirs, workers = _notebook(root, manifest, models[0], notebooks)
            ways = [_pipeline(root, manifest, model) for model in models]
            for way in ways:
                way()  # not counted: lazy imports, processes; the notebooks' way has had its turn in finding workers
            peer, *ours = in_turn((theirs, *ways), RUNS)
    timed = [Pairs(peer, seconds) for seconds in ours]
    rows = [
        (f"{views} view{'s' if views > 1 else ''}", median_seconds(peer), median_seconds(each.ours), each.ratio)
        for views, each in zip(VIEWS, timed, strict=True)
    ]
    counts = manifest["split"].value_counts()
    facts = {"model": MODEL, "train": counts["train"], "val": counts["val"], "epochs": EPOCHS, "batch": BATCH}
    about = ABOUT.format(**facts, size=SIZE, workers=workers)
    return Section("Head only", about, ("florafauna with", "notebooks' way", "florafauna", "times faster"), rows)


def params(views: int) -> ModelParams:
    """One model's params."""
    given: dict[str, Any] = {
        "architecture": {"name": MODEL, **TENSORFLOW},
        "weights": {"source": "file", "file": f"data/weights/{MODEL}.safetensors", **CONFIG},
        "trainable": "head",
        "head_init": "random",  # as the notebooks have it
        "optimizer": "adamw",
        "rate": 5e-3,
        "epochs": EPOCHS,
        "patience": EPOCHS,
        "batch_size": BATCH,
        "train_size": SIZE,
        "test_size": SIZE,
        "precision": "fp32",
        "augment": {"rand_augment": notebook_way.POLICY},
        "views": views,
    }
    return ModelParams.model_validate(given)


def _notebook(
    root: Path, manifest: pd.DataFrame, model: ModelParams, notebooks: Executor
) -> tuple[Callable[[], object], int]:
    """The peer, and how many workers serve it best."""
    folders = root / "folders"
    link_folders(manifest, root / "photos", folders)
    recipe = notebooks.submit(serving_best, recipe_of(model, weights(MODEL), TIMM), folders).result()
    return lambda: notebooks.submit(notebook_way.train, recipe, folders, test=False).result(), recipe.workers


def _pipeline(root: Path, manifest: pd.DataFrame, model: ModelParams) -> Callable[[], object]:
    """The stages preprocess and train, with nothing remembered."""
    given = model.weights.model_copy(update={"file": str(weights(MODEL))})
    make_initial_weights(model.architecture, given, root / "initial.safetensors")
    work = job(model, root / "store", root / "initial.safetensors", root / "scratch")

    def way() -> None:
        for folder in (root / "store", root / "scratch"):
            shutil.rmtree(folder, ignore_errors=True)
        stores(manifest, root / "photos", root / "store")
        train(work)

    return way


def stores(manifest: pd.DataFrame, photos: Path, out: Path) -> None:
    """The pixel stores of the training and the validation photos."""
    labels = sorted(manifest["label"].unique())
    for split in ("train", "val"):
        rows = manifest[manifest["split"] == split].reset_index(drop=True)
        build_store(rows, labels, open_source(photos), out / split, STORE_SIZE)
