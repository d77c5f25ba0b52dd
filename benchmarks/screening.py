"""Screening of ten small backbones, against a script with timm and scikit-learn on the same photos and folds."""

import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from torch.utils.data import DataLoader, Dataset

from benchmarks.head_only import STORE_SIZE, stores
from benchmarks.results import Section
from benchmarks.shared import CONFIG, TENSORFLOW, copy_photos, manifest_of, require_shared, weights
from benchmarks.timing import Pairs, median_seconds
from florafauna.model.weights import make_initial_weights
from florafauna.pixels.store import PixelStore
from florafauna.screen._heads import Fold, Photos, cross_validated, rounds, solved
from florafauna.screen._saved import read_features
from florafauna.screen.features import FeaturesJob, write_features
from florafauna.screen.screen import photos_of
from florafauna.screen.settings import Backbone
from florafauna.training.frozen.logistic import L2

OF_A_CLASS, SIZE, FOLDS, BATCH, WORKERS = None, 160, 5, 64, 2
REAL = ("mobilenetv2_035", "mobilenetv2_100")
RANDOM = (
    "edgenext_xx_small", "lcnet_050", "mobilenetv3_small_050", "mobilenetv3_small_100", "regnetx_002", "resnet10t",
    "tinynet_e", "vit_tiny_patch16_224",
)  # fmt: skip
ABOUT = """{photos} photos of the shared set at {size} px, {folds} folds, eight L2 penalties, threads: {threads}. The
script, in a process of its own that has run before the clock starts: for each backbone timm's evaluation transform of
the originals in a DataLoader of {workers} processes, features in batches of {batch}, then for each fold scikit-learn's
LogisticRegression (lbfgs, 300 steps) with every penalty, the one with the best weighted F1 on a further fold taken.
florafauna: decoding once for all backbones ({decoding:.1f} s), then features and heads, each backbone in turn with
the script. Two backbones have real weights, eight random ones, the same for both. Weighted F1 in cross-validation,
script and florafauna: {scores}; over all backbones it differs by {off:.3f} at most ({mean:.3f} on average), as the
script makes its views from the originals and florafauna from pixels stored at {stored} px."""


@dataclass(frozen=True)
class Task:
    """What the script is given of one backbone: timm's arguments, mean and std, and the backbone's weights."""

    arguments: dict[str, Any]
    config: dict[str, Any]
    weights: Path


def run() -> Section:
    """Every backbone in turn, both ways."""
    require_shared()
    with TemporaryDirectory() as name, ProcessPoolExecutor(1, get_context("spawn")) as script:
        root = Path(name)
        copy_photos(root / "photos", OF_A_CLASS)
        start = time.perf_counter()
        stores(manifest_of(root / "photos"), root / "photos", root / "store")
        decoding = time.perf_counter() - start
        places = (root / "store/train", root / "store/val")
        opened = [PixelStore(place) for place in places]
        photos = photos_of(opened)
        files = [root / "photos" / path for store in opened for path in store.names]
        folds = rounds(photos, FOLDS, 0)
        timed, shown = Pairs([], []), list[str]()
        scores: list[tuple[float, float]] = []
        for backbone in (*REAL, *RANDOM):
            given, initial = _backbone(backbone), root / f"{backbone}.safetensors"
            start_from = given.weights.model_copy(update={"file": str(weights(backbone))})
            make_initial_weights(given.architecture, start_from if backbone in REAL else given.weights, initial)
            task = Task(given.architecture.arguments | {"model_name": backbone}, given.weights.overlay, initial)
            if not scores:
                script.submit(screened_by_script, task, files[:BATCH], photos, []).result()  # imports, not counted
            start = time.perf_counter()
            theirs = script.submit(screened_by_script, task, files, photos, folds).result()
            between = time.perf_counter()
            write_features(FeaturesJob(backbone, given, initial, places, root / "features" / backbone))
            features = read_features(backbone, root / "features" / backbone, opened)
            ours = cross_validated(solved, torch.from_numpy(features.matrix), photos, folds, torch.device("cpu"))
            timed.theirs.append(between - start)
            timed.ours.append(time.perf_counter() - between)
            scores.append((_score(photos, theirs), _score(photos, ours)))
            if backbone in REAL:
                shown.append(f"{backbone} {scores[-1][0]:.3f} and {scores[-1][1]:.3f}")
    off = np.abs(np.subtract(*np.array(scores).T))
    total = sum(timed.theirs) / (sum(timed.ours) + decoding)
    about = ABOUT.format(
        photos=len(photos.targets),
        size=SIZE,
        folds=FOLDS,
        threads=torch.get_num_threads(),
        workers=WORKERS,
        batch=BATCH,
        decoding=decoding,
        scores=", ".join(shown),
        off=off.max(),
        mean=off.mean(),
        stored=STORE_SIZE,
    )
    rows = [
        ("a backbone (median)", median_seconds(timed.theirs), median_seconds(timed.ours), timed.ratio),
        (f"all {len(scores)}, with decoding", f"{sum(timed.theirs):.0f} s", f"{sum(timed.ours) + decoding:.0f} s",
         f"**{total:.2f}×**"),
    ]  # fmt: skip
    return Section("Screening", about, ("what", "script", "florafauna", "times faster"), rows)


class Originals(Dataset[torch.Tensor]):
    """Photos as timm evaluates them."""

    def __init__(self, files: list[Path], transform: Any) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> torch.Tensor:
        with Image.open(self.files[number]) as image:
            views: torch.Tensor = self.transform(image.convert("RGB"))
            return views


def screened_by_script(task: Task, files: list[Path], photos: Photos, folds: list[Fold]) -> np.ndarray:
    """The script: the class index that each photo gets from a head that has not seen it."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    model = timm.create_model(**task.arguments, num_classes=0, pretrained_cfg_overlay=task.config).eval()
    model.load_state_dict(load_file(task.weights))
    config = timm.data.resolve_model_data_config(model) | {"input_size": (3, SIZE, SIZE)}
    loader = DataLoader(
        Originals(files, timm.data.create_transform(**config, is_training=False)),
        BATCH,
        num_workers=WORKERS,
        multiprocessing_context="fork",
    )
    with torch.inference_mode():
        x = torch.cat([model(images) for images in loader]).numpy().astype(np.float64)
    predicted, y = np.zeros(len(files), dtype=np.int64), photos.targets
    for fold in folds:
        mean = x[fold.fit].mean(0)
        scaled = (x - mean) / np.sqrt(((x[fold.fit] - mean) ** 2).mean())
        best = -1.0
        for l2 in L2:
            head = LogisticRegression(C=1 / (l2 * len(fold.fit)), max_iter=300).fit(scaled[fold.fit], y[fold.fit])
            score = f1_score(y[fold.choose], head.predict(scaled[fold.choose]), average="weighted", zero_division=0)
            if score > best:
                best, predicted[fold.score] = score, head.predict(scaled[fold.score])
    return predicted


def _score(photos: Photos, predicted: np.ndarray) -> float:
    return float(f1_score(photos.targets, predicted, average="weighted"))


def _backbone(name: str) -> Backbone:
    size = {"img_size": SIZE} if name.startswith("vit") else {}
    architecture = {"name": name, **(TENSORFLOW if name in REAL else size)}
    start = {"source": "file", "file": f"data/weights/{name}.safetensors", **CONFIG}
    given = start if name in REAL else {"source": "none"}
    return Backbone.model_validate({"architecture": architecture, "weights": given, "size": SIZE, "precision": "fp32"})
