"""A trained model on disk, and `predict_logits`: the one way to score photos with it.

Training leaves `models/trained/M/`, evaluation makes the bundle `models/M/` of it: the same weights, described fully.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from florafauna.base.errors import UserError
from florafauna.base.files import sha256_bytes, sha256_file, write_atomic
from florafauna.bundle.inference import Ready, forward
from florafauna.bundle.info import BUNDLE, TRAINING, WEIGHTS, read_info, read_training, write_training
from florafauna.model.compute import Compute
from florafauna.model.network import DataConfig, create
from florafauna.model.ranks import by_all, part
from florafauna.model.settings import Architecture
from florafauna.pixels.centre import PREDICTION_BATCH
from florafauna.pixels.loading import AlteredView, EvalView, View, batches
from florafauna.pixels.store import PixelStore


@dataclass(frozen=True)
class Bundle:
    """A trained model with all that is needed to apply it."""

    model: nn.Module
    info: dict[str, Any]  # bundle.json or training.json

    @property
    def labels(self) -> list[str]:
        """The classes in the order of the logits."""
        return list(self.info["labels"])

    @property
    def data(self) -> DataConfig:
        """Normalisation, interpolation, crop and sizes."""
        saved = self.info["data"]
        return DataConfig(**saved | {"mean": tuple(saved["mean"]), "std": tuple(saved["std"])})


def save_trained(folder: Path, model: nn.Module, info: dict[str, Any]) -> None:
    """Write model.safetensors and, last, training.json with its sha256: a folder without the latter is incomplete."""
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()})
    write_atomic(folder / WEIGHTS, data)
    write_training(folder, info | {"sha256": sha256_bytes(data)})


def load_trained(folder: Path) -> Bundle:
    """Read what a training left; `info` is training.json, in which calibration and scores are missing."""
    return _load(folder, read_training(folder), TRAINING)


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle; `UserError` if it is incomplete, changed, or of another format.

    >>> load_bundle(Path("models/vit")).labels  # doctest: +SKIP
    """
    return _load(folder, read_info(folder), BUNDLE)


def _load(folder: Path, info: dict[str, Any], described: str) -> Bundle:
    file = folder / WEIGHTS
    if not file.is_file():
        raise UserError(f"{file} is missing; run `dvc pull {folder}` or `dvc repro`.")
    if sha256_file(file) != info["sha256"]:
        raise UserError(f"{file} is not the file that {described} describes (sha256 differs); fetch {folder} again.")
    try:
        model = create(Architecture(**info["architecture"]), len(info["labels"]), info["overlay"])
    except UserError as error:
        raise UserError(f"{folder / described}: {error}") from None
    try:
        model.load_state_dict(load_file(file))
    except (RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(
            f"{file} does not fit the architecture in {described}: {reason} Fetch {folder} again."
        ) from None
    broken = [name for name, tensor in model.named_parameters() if not tensor.isfinite().all()]
    broken += [name for name, tensor in model.named_buffers() if tensor.isnan().any()]
    if broken:
        raise UserError(f"{file} holds NaN or infinite numbers (in {broken[0]}); fetch {folder} again or train anew.")
    return Bundle(model.eval(), info)


def predict_logits(
    bundle: Bundle,
    store: PixelStore,
    compute: Compute,
    workers: int = 0,
    as_trained: bool = False,
    rows: range | None = None,
    altered: Callable[[np.ndarray, str], np.ndarray] | None = None,
) -> np.ndarray:
    """Logits, float32 (photos, classes), of all photos of a store in its order, or of some rows.

    `as_trained` asks for the model as it is and for whole batches, as training validates, in place of `Ready`.
    `altered` changes the stored pixels of a photo, given its name, before it is seen.
    """
    if list(store.labels) != bundle.labels:
        raise UserError(f"the photos in {store.folder} have other classes than the model; run `dvc repro`.")
    store.verify()
    data = bundle.data
    view: View = EvalView(data.test_size, data.crop_pct, data.interpolation)
    if altered is not None:
        view = AlteredView(view, altered)
    rows = rows if rows is not None else range(len(store))
    drawn = batches(store, view, rows, PREDICTION_BATCH, workers=workers)
    none = torch.empty(0, len(bundle.labels))
    if as_trained:
        model = compute.place(bundle.model).eval()
        with torch.inference_mode():
            logits = [forward(model, batch.images, data, compute) for batch in drawn]
    else:
        ready = Ready(bundle.model, data, compute)
        logits = [ready.logits(batch.images) for batch in drawn]
    return torch.cat([none, *logits]).numpy()


def predict_together(
    bundle: Bundle,
    store: PixelStore,
    compute: Compute,
    altered: Callable[[np.ndarray, str], np.ndarray] | None = None,
) -> np.ndarray:
    """As `predict_logits`, of which each process of the job does its part; all get all logits."""
    rows, workers = part(len(store), PREDICTION_BATCH), compute.default_workers
    return np.concatenate(by_all(lambda: predict_logits(bundle, store, compute, workers, rows=rows, altered=altered)))


def describe_data(data: DataConfig) -> dict[str, Any]:
    """The data config as bundle.json holds it, in types that JSON has."""
    return asdict(data) | {"mean": list(data.mean), "std": list(data.std)}
