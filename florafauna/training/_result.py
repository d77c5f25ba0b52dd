"""What a training leaves: the model, what it says of itself, and its timing."""

import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import timm
import torch
import torchvision
from torch import nn

from florafauna.base.metrics import weighted_f1
from florafauna.base.version import own_version
from florafauna.bundle.bundle import describe_data, load_trained, predict_logits, save_trained
from florafauna.model.compute import hardware, peak_memory
from florafauna.model.weights import InitialWeights
from florafauna.training._compiling import Decision
from florafauna.training._feeds import Feed, Photos, PixelFeed
from florafauna.training._resume import Epoch, State
from florafauna.training.trainable import count_parameters


def describe(
    name: str, model: nn.Module, initial: InitialWeights, initial_sha256: str, photos: Photos
) -> dict[str, Any]:
    """What training.json says of the model, its origin and its photos; the scores come on top."""
    parameters, trainable = count_parameters(model)
    return {
        "name": name,
        "architecture": photos.params.architecture.model_dump(),
        "overlay": initial.overlay,
        "labels": list(photos.train.labels),
        "data": describe_data(photos.data),
        "store_size": photos.train.store_size,
        "precision": photos.compute.precision,
        "parameters": parameters,
        "trainable_parameters": trainable,
        "weights": initial.origin | {"initial_sha256": initial_sha256},
        "photos": {"train": photos.train.facts, "val": photos.val.facts},
        "params": photos.params.model_dump(mode="json"),
        "versions": _versions(),
    }


def write_checked(out: Path, model: nn.Module, info: dict[str, Any], feed: Feed, history: Sequence[Epoch]) -> None:
    """Write the model and its learning curve. What was written must score on the validation photos what was logged.

    Up to the answer for one photo on the boundary of two classes, where sums may be rounded differently: on a GPU, and
    where what was logged was scored behind a frozen prefix, which is folded and packed.
    """
    photos = feed.photos
    exact = isinstance(feed, PixelFeed) and not photos.compute.on_gpu
    save_trained(out, model, info)
    bundle, logged = load_trained(out), info["val"]["weighted_f1"]
    predicted = predict_logits(bundle, photos.val, photos.compute, as_trained=True).argmax(1)
    score = weighted_f1(photos.val.targets, predicted)
    if abs(score - logged) > (0.0 if exact else 2 / len(photos.val)):
        raise RuntimeError(f"the saved model scores {score} on the validation photos, but training logged {logged}")
    pd.DataFrame(history).to_csv(out / "history.csv", index=False, lineterminator="\n")


def timing(photos: Photos, state: State, prefix_seconds: float, compiling: Decision | None) -> dict[str, Any]:
    """What the run took, and on what; `compiling` is what `compile: auto` has decided."""
    peak, seconds = peak_memory(photos.compute), state.seconds + prefix_seconds
    return {
        "seconds": round(seconds, 2),
        "prefix_seconds": round(prefix_seconds, 2),
        "photos_per_second": round(len(photos.train) * state.epoch / seconds, 1),
        "peak_memory_mb": None if peak is None else round(peak / 2**20),
        "device": photos.compute.device.type,
        "hardware": hardware(),
        "precision": photos.compute.precision,
        "compiling": compiling and asdict(compiling),
    }


def _versions() -> dict[str, str]:
    """The versions that can change a result."""
    return {
        "florafauna": own_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
    }
