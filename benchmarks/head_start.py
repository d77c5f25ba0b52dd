"""How the classifier should start: `head_init` in three strategies, by validation scores alone, over five seeds."""

import json
import shutil
import statistics
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.results import Section
from benchmarks.shared import CONFIG, DATA, FEW, TENSORFLOW, require_shared, split_and_store, weights
from benchmarks.training_parts import job
from florafauna.base.files import write_json
from florafauna.model.settings import ModelParams
from florafauna.model.weights import make_initial_weights
from florafauna.photos.settings import DataParams
from florafauna.pixels.store import PixelStore
from florafauna.split.settings import SplitParams
from florafauna.training.loop import train

REPOSITORY = Path(__file__).resolve().parent.parent
WORK = REPOSITORY / ".florafauna/benchmarks/head_start"  # until all runs are done: an interrupted benchmark is resumed
STARTS = ("random", "normal", "zero", "probe")
SOLVED = "solved"
SEEDS = range(5)

SAMPLE = REPOSITORY / "data/sample"
PHOTOS = {
    "all shared": DATA,
    "sample": DataParams(root=str(SAMPLE), labels=str(SAMPLE / "labels.csv"), groups=("group",)),
    "shared": DATA,
}
FEWER = {"shared": FEW}  # training photos of a class; of the others all are used
STORE_SIZE = {"all shared": 256, "sample": 144, "shared": 144}
BACKBONES = {
    "all shared": ("mobilenetv2_035",),
    "sample": ("test_efficientnet", "test_vit"),
    "shared": ("mobilenetv2_035", "mobilenetv2_100"),
}
LAST_STAGE = {
    "test_efficientnet": ["blocks.4", "conv_head", "bn2", "classifier"],
    "test_vit": ["blocks.4", "blocks.5", "norm", "head"],
    "mobilenetv2_035": ["blocks.6", "conv_head", "bn2", "head"],
    "mobilenetv2_100": ["blocks.6", "conv_head", "bn2", "head"],
}
STRATEGIES: dict[str, dict[str, dict[str, Any]]] = {
    "all shared": {"all layers": {"rate": 1e-3, "epochs": 5, "train_size": 160}},  # as in the benchmark real_photos
    "sample": {
        "head only": {"rate": 1e-2, "views": 5, "epochs": 15},
        "last stage and head": {"rate": 1e-3, "views": 5, "epochs": 10},
        "all layers": {"rate": 2e-3, "epochs": 10},
    },
    "shared": {
        "head only": {"rate": 5e-3, "views": 2, "epochs": 40},
        "last stage and head": {"rate": 1e-3, "views": 2, "epochs": 10},
        "all layers": {"rate": 1e-3, "epochs": 4, "train_size": 80},
    },
}
RECIPE: dict[str, dict[str, Any]] = {
    "all shared": {"batch_size": 64, "augment": {"scale": [0.4, 1.0]}},
    "sample": {"batch_size": 32, "augment": {"scale": [0.35, 1.0]}, "label_smoothing": 0.1},
    "shared": {"batch_size": 32, "augment": {"scale": [0.4, 1.0]}},
}
ABOUT = """Weighted F1 on the *validation* photos, mean ± standard deviation over {seeds} seeds, which draw the head,
the views and the order of the photos; the split stays. `random` is the classifier as timm draws it, `normal` has a
standard deviation of 0.01, `probe` starts from the solved head; AdamW trains them all. `solved` is `optimizer: lbfgs`,
which needs no start. Sample: {sample} and {sample_val} drawn photos, at 96 px, 10 to 15 epochs. Shared: {shared} real
photos for training, 20 of a class, and {shared_val} for validation; the head 40 epochs and the last stage 10, at 96 px,
all layers 4 epochs at 80 px. All shared: {all_shared} photos for training, the same for validation, 5 epochs at
160 px. The test photos are not used. The default is the start with the best mean on the real photos; where another one
wins, params.yaml can say so, as the sample's does."""


@dataclass(frozen=True)
class Setting:
    """One row of the table: which photos, which backbone, which strategy."""

    photos: str  # sample | shared
    strategy: str
    backbone: str

    @property
    def starts(self) -> tuple[str, ...]:
        """Its columns."""
        return (*STARTS, SOLVED) if self.strategy == "head only" else STARTS

    def params(self, start: str, seed: int) -> ModelParams:
        """Those of one run."""
        name, given = self.backbone, STRATEGIES[self.photos][self.strategy]
        shared = self.photos != "sample"
        size = {"img_size": 96} if name == "test_vit" else {}
        trainable = {"head only": "head", "all layers": "all"}.get(self.strategy, LAST_STAGE.get(name))
        values: dict[str, Any] = {
            "architecture": {"name": name, **(TENSORFLOW if shared else size)},
            "weights": {"source": "file", "file": f"data/weights/{name}.safetensors", **(CONFIG if shared else {})},
            "trainable": trainable,
            "train_size": 96,
            "patience": given["epochs"],
            "precision": "fp32",
            "workers": 0,
            "seed": seed,
        }
        how = {"optimizer": "lbfgs"} if start == SOLVED else {"optimizer": "adamw", "head_init": start}
        return ModelParams.model_validate(values | RECIPE[self.photos] | given | how)


SETTINGS = [
    Setting(photos, strategy, backbone)
    for photos, strategies in STRATEGIES.items()
    for strategy, backbone in product(strategies, BACKBONES[photos])
]


def run() -> Section:
    """Every run that is still to be done, seed by seed; then the table."""
    require_shared()
    torch.set_num_threads(1)
    for photos, data in PHOTOS.items():
        if not (WORK / photos / "store").is_dir():
            split = SplitParams(val=0.15, test=0.2)
            split_and_store(data, split, WORK / photos, STORE_SIZE[photos], FEWER.get(photos))
    runs = [(setting, start, seed) for seed in SEEDS for setting in SETTINGS for start in setting.starts]
    scores = {one: score(*one) for one in runs}
    rows, columns = [], (*STARTS, SOLVED)
    for setting in SETTINGS:
        cells = {start: [scores[setting, start, seed] for seed in SEEDS] for start in setting.starts}
        texts = {start: f"{statistics.mean(each):.3f} ± {statistics.stdev(each):.3f}" for start, each in cells.items()}
        rows.append((setting.photos, setting.strategy, setting.backbone, *(texts.get(start, "") for start in columns)))
    for drawn in (True, False):
        these = [pair for pair in product(SETTINGS, SEEDS) if (pair[0].photos == "sample") == drawn]
        means = [statistics.mean(scores[setting, start, seed] for setting, seed in these) for start in STARTS]
        of = f"mean of the {len(these) // len(SEEDS)} on {'drawn' if drawn else 'real'} photos"
        rows.append((of, "", "", *(f"**{mean:.3f}**" for mean in means), ""))
    counts = {
        f"{photos}{suffix}".replace(" ", "_"): len(PixelStore(WORK / photos / "store" / split))
        for photos, (suffix, split) in product(PHOTOS, (("", "train"), ("_val", "val")))
    }
    shutil.rmtree(WORK)
    about = ABOUT.format(seeds=len(SEEDS), **counts)
    return Section("How the head starts", about, ("photos", "strategy", "backbone", *columns), rows)


def score(setting: Setting, start: str, seed: int) -> float:
    """Weighted F1 on the validation photos of one run, which is remembered."""
    folder = WORK / setting.photos
    name = "-".join((setting.backbone, setting.strategy, start, str(seed))).replace(" ", "_")
    known = folder / f"scores/{name}.json"
    if not known.is_file():
        model = setting.params(start, seed)
        given = REPOSITORY / f"data/weights/{setting.backbone}.safetensors"
        file = given if setting.photos == "sample" else weights(setting.backbone)
        initial = folder / f"{setting.backbone}.safetensors"
        make_initial_weights(model.architecture, model.weights.model_copy(update={"file": str(file)}), initial)
        work = job(model, folder / "store", initial, folder / "scratch")
        train(work)
        write_json(known, json.loads((work.out / "training.json").read_text(encoding="utf-8"))["val"])
    return float(json.loads(known.read_text(encoding="utf-8"))["weighted_f1"])
