"""Rare classes: class weights and logit adjustment where one class has 100 training photos and another 1."""

import statistics
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.results import Section
from benchmarks.shared import DATA, PHOTOS, initial_weights, mobilenet, require_shared, split_and_store
from benchmarks.training_parts import job
from florafauna.bundle.bundle import load_trained, predict_logits
from florafauna.model.compute import choose
from florafauna.pixels.store import PixelStore
from florafauna.scores.classification import point_scores
from florafauna.split.settings import SplitParams
from florafauna.training.loop import train

MODEL, SIZE, STORE_SIZE = "mobilenetv2_035", 96, 112
LARGEST, RATIO = 100, 100
SEEDS = range(5)
STRATEGIES: dict[str, dict[str, Any]] = {
    "head only, solved": {"trainable": "head", "optimizer": "lbfgs", "views": 2},
    "last stage and head": {
        "trainable": ["blocks.6", "conv_head", "bn2", "head"],
        "views": 2,
        "epochs": 8,
        "head_init": "zero",
    },
}
WAYS: dict[str, dict[str, Any]] = {
    "cross-entropy": {},
    "class_weighting: balanced": {"class_weighting": "balanced"},
    "loss: logit_adjusted": {"loss": "logit_adjusted"},
}
ABOUT = """{model} at {size} px on the shared photos, of whose 15 classes {largest} to 1 are left for training, each
class with the same share of the one before; the seed draws which classes are rare, and which photos are left. The
validation photos and the {test} test photos are as they are, nearly as many of each class. In the last column they
count by their class's share of the training photos, as in a test set with the same long tail, where rare classes
hardly matter. Mean over {seeds} seeds; in brackets the difference to cross-entropy and its standard error, in pairs."""


def run() -> Section:
    """All ways on the same photos."""
    require_shared()
    torch.set_num_threads(1)
    scores: dict[tuple[str, str], list[tuple[float, float, float]]] = {key: [] for key in product(STRATEGIES, WAYS)}
    with TemporaryDirectory() as name:
        root = Path(name)
        initial_weights(MODEL, root / "initial.safetensors")
        for seed in SEEDS:
            work = root / str(seed)
            split = SplitParams(val=0.15, test=0.2)
            split_and_store(DATA, split, work, STORE_SIZE, counts(seed), seed)
            for (strategy, given), (way, chosen) in product(STRATEGIES.items(), WAYS.items()):
                model = mobilenet(MODEL, train_size=SIZE, seed=seed, rate=1e-3, batch_size=32, **given, **chosen)
                one = job(model, work / "store", root / "initial.safetensors", work / "scratch")
                train(one)
                scores[strategy, way].append(scored(one.out, work / "store"))
        test = len(PixelStore(work / "store/test"))
    rows = [
        (strategy, way, *(_cell(scores[strategy, way], scores[strategy, next(iter(WAYS))], n) for n in range(3)))
        for strategy, way in scores
    ]
    about = ABOUT.format(model=MODEL, size=SIZE, largest=LARGEST, test=test, seeds=len(SEEDS))
    columns = ("strategy", "loss", "macro F1", "weighted F1", "accuracy under the training shares")
    return Section("Rare classes", about, columns, rows)


def counts(seed: int) -> dict[str, int]:
    """Training photos of each class: LARGEST · RATIO^(-rank / (classes - 1)), the ranks drawn."""
    labels = sorted(folder.name for folder in PHOTOS.glob("*/"))
    np.random.default_rng(seed).shuffle(labels)
    first = next(label for label in labels if len(list((PHOTOS / label).iterdir())) > 1.6 * LARGEST)  # has enough
    labels.insert(0, labels.pop(labels.index(first)))
    return {label: round(LARGEST * RATIO ** (-rank / (len(labels) - 1))) for rank, label in enumerate(labels)}


def scored(trained: Path, store: Path) -> tuple[float, float, float]:
    """Macro F1, weighted F1, and accuracy with each class in its share of the training photos."""
    bundle, test, train_store = load_trained(trained), PixelStore(store / "test"), PixelStore(store / "train")
    logits = predict_logits(bundle, test, choose("fp32"))
    predictions = logits.argmax(1)
    right = pd.Series(predictions == test.targets).groupby(test.targets).mean()
    share = pd.Series(train_store.targets).value_counts(normalize=True)
    scores = point_scores(logits, test.targets)
    return scores["macro_f1"], scores["weighted_f1"], float((right * share).sum())


def _cell(ours: list[tuple[float, float, float]], plain: list[tuple[float, float, float]], number: int) -> str:
    mean = statistics.mean(each[number] for each in ours)
    if ours is plain:
        return f"{mean:.3f}"
    gains = [each[number] - other[number] for each, other in zip(ours, plain, strict=True)]
    return f"{mean:.3f} ({statistics.mean(gains):+.3f} ± {statistics.stdev(gains) / len(gains) ** 0.5:.3f})"
