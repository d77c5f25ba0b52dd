"""Training a ViT's last two blocks, with its frozen prefix remembered and without."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from benchmarks.head_only import stores
from benchmarks.photos import draw_folder
from benchmarks.results import Section
from benchmarks.timing import median_seconds, pairs
from benchmarks.training_parts import job, parts_of
from florafauna.base.files import sha256_file
from florafauna.model.compute import reuse_freed_memory
from florafauna.model.settings import ModelParams
from florafauna.model.weights import make_initial_weights
from florafauna.training._feeds import Feed, Photos, PixelFeed, choose_feed
from florafauna.training.loop import fit

MODEL, SIZE = "vit_tiny_patch16_224", 224
PHOTOS, CLASSES, ONE_IN = 160, 4, 5  # drawn, of 400×300 pixels; one in so many for validation
EPOCHS, VIEWS, BATCH, RUNS = 10, 2, 32, 5
POLICY = "rand-m9-mstd0.5-inc1"
ABOUT = f"""The last two blocks, the last norm and the head of {MODEL} (random weights: they cost the same) on
{PHOTOS - PHOTOS // ONE_IN} drawn photos and {PHOTOS // ONE_IN} for validation, {EPOCHS} epochs over {VIEWS} views with
`{POLICY}`, batches of {BATCH}, {SIZE} px. Both are florafauna's loop (`fit`) on the same pixel store and the
same views; the peer is fed pixels and runs the whole model in every epoch, florafauna computes the frozen blocks once a
view, which is counted."""


def run() -> Section:
    """Both ways in turn."""
    reuse_freed_memory()  # as every training does
    with TemporaryDirectory() as name:
        root, model = Path(name), params()
        manifest = draw_folder(root / "photos", 400, 300, 32, PHOTOS, CLASSES)
        split = ["val" if number % ONE_IN == 0 else "train" for number in range(len(manifest))]
        stores(manifest.assign(split=split), root / "photos", root / "store")
        make_initial_weights(model.architecture, model.weights, root / "initial.safetensors")
        timed = pairs(lambda: train(root, model, prefix=False), lambda: train(root, model, prefix=True), RUNS)
    row = (f"{MODEL}, blocks 10 and 11", median_seconds(timed.theirs), median_seconds(timed.ours), timed.ratio)
    return Section("Frozen blocks remembered", ABOUT, ("model", "without prefix", "with prefix", "times faster"), [row])


def params() -> ModelParams:
    """One model's params."""
    given: dict[str, Any] = {
        "architecture": {"name": MODEL},
        "weights": {"source": "none"},
        "trainable": ["blocks.10", "blocks.11", "norm", "head"],
        "norms": "tail",
        "optimizer": "adamw",
        "epochs": EPOCHS,
        "patience": EPOCHS,
        "batch_size": BATCH,
        "train_size": SIZE,
        "test_size": SIZE,
        "precision": "fp32",
        "augment": {"rand_augment": POLICY},
        "views": VIEWS,
    }
    return ModelParams.model_validate(given)


def train(root: Path, model: ModelParams, prefix: bool) -> list[float]:
    """Train with the feed that the pipeline chooses, or else with pixels; returns the validation scores."""
    shutil.rmtree(root / "scratch", ignore_errors=True)
    work = job(model, root / "store", root / "initial.safetensors", root / "scratch")

    def feed(photos: Photos, model: nn.Module) -> Feed:
        if not prefix:
            return PixelFeed(photos, model, model)
        chosen, remark = choose_feed(photos, model, sha256_file(work.initial), work.scratch / "features")
        if isinstance(chosen, PixelFeed):
            raise RuntimeError(f"the prefix was not used: {remark}")
        return chosen

    return fit(parts_of(work, feed)).scores
