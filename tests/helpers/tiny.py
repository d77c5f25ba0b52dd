"""Trainings small enough for every test: 48 drawn photos of three classes, models of 0.1 to 0.3 million parameters."""

import hashlib
import os
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from florafauna.evaluate import evaluate
from florafauna.folds.out_of_fold import write_nothing
from florafauna.model.compute import Compute
from florafauna.model.settings import Architecture, ModelParams, Weights
from florafauna.model.weights import InitialWeights, load_initial_weights, make_initial_weights
from florafauna.pixels.store import PixelStore
from florafauna.scores.settings import EvaluateParams
from florafauna.training import loop as training
from florafauna.training._feeds import Feed, Photos
from florafauna.training._loss import loss_of
from florafauna.training._parts import Parts
from florafauna.training.job import TrainingJob
from florafauna.training.loop import OPTIMIZERS
from florafauna.training.trainable import build, data_config, freeze, parameter_groups

LABELS = ["fern", "moss", "newt"]
TRAIN, VAL = 30, 18
SIDE = 40  # of a stored photo, in pixels
QUICK = EvaluateParams(resamples=100)
CPU = Compute(torch.device("cpu"), "fp32")
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "test_efficientnet": {},
    "test_convnext": {},
    "test_vit": {"img_size": 32},
}


def draw_photos(folder: Path, count: int, first_seed: int) -> pd.DataFrame:
    """Noisy stripes: upright, level or slanting by class, in any colour, and every sixth photo as another class."""
    rows = []
    for number in range(count):
        rng = np.random.default_rng(first_seed + number)
        target = number % len(LABELS)
        drawn = int(rng.integers(len(LABELS))) if number % 6 == 5 else target
        y, x = np.mgrid[:SIDE, : SIDE + 8]
        wave = np.sin([x, y, x + y][drawn] * rng.uniform(0.4, 0.9) + rng.uniform(0, 6))
        pixels = 127 + 60 * wave[..., None] * rng.uniform(0.3, 1, 3) + rng.normal(0, 30, (SIDE, SIDE + 8, 3))
        name = f"{LABELS[target]}-{first_seed + number}.jpg"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name, quality=90)
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        rows.append({"path": name, "label": LABELS[target], "target": target, "sha256": digest})
    manifest = pd.DataFrame(rows).sort_values("path", ignore_index=True)
    return manifest.assign(width=SIDE + 8, height=SIDE, held_out="", group="", cluster="")


def params(architecture: str = "test_efficientnet", **values: Any) -> ModelParams:
    """A short training without any augmentation but for what is asked for, nor a linear probe ahead of it."""
    short: dict[str, Any] = {
        "trainable": "all",
        "head_init": "zero",
        "epochs": 2,
        "batch_size": 6,
        "train_size": 32,
        "precision": "fp32",
        "rate": 1e-3,
    }
    creation = {"name": architecture, **ARCHITECTURES.get(architecture, {})}
    return ModelParams.model_validate({"architecture": creation, "weights": {"source": "none"}, **short, **values})


@dataclass(frozen=True)
class Place:
    """The stored photos, and initial weights, which are made once for each architecture."""

    root: Path

    @property
    def train(self) -> Path:
        """The store of training photos."""
        return self.root / "train"

    @property
    def val(self) -> Path:
        """The store of validation photos."""
        return self.root / "val"

    def initial(self, architecture: Architecture) -> Path:
        """Random initial weights."""
        path = self.root / "initial" / f"{architecture.name}.safetensors"
        if not path.is_file():
            make_initial_weights(architecture, Weights(source="none", seed=1), path)
        return path

    def job(self, folder: Path, model: ModelParams) -> TrainingJob:
        """A training whose files lie in `folder`."""
        return TrainingJob(
            name="newts",
            params=model,
            initial=self.initial(model.architecture),
            train=self.train,
            val=self.val,
            scratch=folder / "scratch",
            out=folder / "model",
            timing=folder / "timing.json",
        )

    def trained(self, folder: Path, model: ModelParams) -> Path:
        """Train; returns the trained model's folder."""
        job = self.job(folder, model)
        training.train(job)
        return job.out

    def bundle(self, folder: Path, model: ModelParams, how: EvaluateParams = QUICK) -> Path:
        """Train and evaluate, the validation photos standing for test photos, too; returns the bundle's folder."""
        return self.evaluated(self.trained(folder, model), folder, how)

    def evaluated(self, trained: Path, folder: Path, how: EvaluateParams = QUICK) -> Path:
        """Evaluate a trained model; predictions, metrics.json, details.json and the bundle lie in `folder`."""
        write_nothing(folder / "folds")
        evaluate.evaluate(
            evaluate.EvaluationJob(
                "newts",
                how,
                trained=trained,
                val=self.val,
                test=self.val,
                folds=folder / "folds",
                predictions=folder / "predictions",
                metrics=folder / "metrics.json",
                details=folder / "details.json",
                bundle=folder / "bundle",
            )
        )
        return folder / "bundle"

    def photos(self, model: nn.Module, model_params: ModelParams) -> Photos:
        """The photos as a training with these params sees them."""
        data = data_config(model, model_params)
        return Photos(PixelStore(self.train), PixelStore(self.val), model_params, data, CPU)

    def built(self, model_params: ModelParams) -> tuple[nn.Module, InitialWeights]:
        """The model that training starts from, frozen as its params say."""
        initial = load_initial_weights(self.initial(model_params.architecture))
        model = build(model_params, initial.tensors, initial.overlay, len(LABELS))
        freeze(model, model_params.trainable, model_params.norms)
        return CPU.place(model), initial

    def parts(self, folder: Path, model: nn.Module, model_params: ModelParams, feed: Feed) -> Parts:
        """What `fit` and `train_epoch` work with, around a feed of one's own choice."""
        groups = parameter_groups(model, model_params)
        return Parts(
            job=self.job(folder, model_params),
            model=model,
            feed=feed,
            compute=CPU,
            optimizer=OPTIMIZERS[model_params.optimizer](groups, lr=model_params.rate),
            scaler=torch.amp.GradScaler("cpu", enabled=False),
            average={},
            loss=loss_of(model_params, feed.photos.train, CPU.device),
            folder=folder / "state",
        )


def train_until_killed(job: TrainingJob, saves: int | None, between_saves: float, log: Path) -> None:
    """Train, but die by SIGKILL at the moment when file number `saves` + 1 would take its final name."""
    torch.set_num_threads(1)
    training.SECONDS_BETWEEN_SAVES = between_saves
    if saves is not None:
        sys.addaudithook(_killer(saves))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file, redirect_stdout(file), redirect_stderr(file):
        training.train(job)


def _killer(saves: int) -> Callable[[str, tuple[object, ...]], None]:
    done: list[tuple[object, ...]] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename":
            if len(done) == saves:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(arguments)

    return hook
