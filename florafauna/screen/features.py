"""What a frozen backbone makes of every training and validation photo, in one view: computed once, in one file."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from florafauna.base.errors import UserError
from florafauna.base.files import atomic_path, write_json
from florafauna.base.progress import track
from florafauna.bundle.inference import Ready
from florafauna.model.compute import for_inference, hardware, memory_advice, peak_memory
from florafauna.model.network import try_out
from florafauna.model.weights import load_initial_weights
from florafauna.pixels.centre import PREDICTION_BATCH
from florafauna.pixels.loading import EvalView, batches
from florafauna.pixels.store import PixelStore
from florafauna.screen._saved import ABOUT, FEATURES
from florafauna.screen.settings import Backbone
from florafauna.training.trainable import build, data_config, made_for_size


@dataclass(frozen=True)
class FeaturesJob:
    """One backbone: its params and initial weights, the pixel stores of all photos, the folder that is written."""

    name: str
    params: Backbone
    initial: Path
    stores: tuple[Path, ...]
    out: Path


def write_features(job: FeaturesJob) -> None:
    """Run the backbone over the photos of the stores, as a bundle is run; write the features, and what it costs.

    `UserError` where a feature is NaN or infinite, or memory runs out.
    """
    initial, compute = load_initial_weights(job.initial), for_inference(job.params.precision)
    stores = [PixelStore(folder) for folder in job.stores]
    params = made_for_size(job.params.as_model, initial.overlay)
    model = build(params, initial.tensors, initial.overlay, len(stores[0].labels))
    data = data_config(model, params)
    try_out(model, data.test_size, job.params.architecture.name)
    for store in stores:
        store.verify()
    parameters = sum(value.numel() for name, value in model.named_parameters() if name in initial.tensors)
    view, photos = EvalView(data.test_size, data.crop_pct, data.interpolation), sum(map(len, stores))
    with memory_advice(lambda: f"lower screen.backbones.{job.name}.size ({data.test_size})."):
        ready, start = Ready(model, data, compute), time.monotonic()
        drawn = (
            ready.features(batch.images)
            for store in stores
            for batch in batches(store, view, range(len(store)), PREDICTION_BATCH, workers=compute.default_workers)
        )
        total = sum(-(-len(store) // PREDICTION_BATCH) for store in stores)
        with atomic_path(job.out / FEATURES) as temporary:
            width = _write(temporary, photos, track(drawn, job.name, total))
        seconds = time.monotonic() - start
    peak = peak_memory(compute)
    about = {
        "architecture": job.params.architecture.model_dump(),
        "weights": initial.origin,
        "size": data.test_size,
        "features": width,
        "parameters": parameters,
        "megabytes": round(job.initial.stat().st_size / 1e6, 3),
        "photos": [store.facts for store in stores],
        "photos_per_second": round(photos / seconds, 1),
        "peak_memory_mb": None if peak is None else round(peak / 2**20),
        "hardware": hardware(),
        "precision": compute.precision,
    }
    write_json(job.out / ABOUT, about)
    print(f"{job.name}: {photos} photos × {width} features, {photos / seconds:.1f} photos/s", flush=True)


def _write(path: Path, photos: int, drawn: Iterable[torch.Tensor]) -> int:
    """One .npy file, a batch at a time; returns the number of features."""
    matrix: np.memmap | None = None
    done = 0
    for features in drawn:
        rows: np.ndarray = features.numpy()
        if not np.isfinite(rows).all():
            raise UserError("the backbone's features are NaN or infinite; use precision: fp32 or other weights.")
        if matrix is None:
            matrix = np.lib.format.open_memmap(path, "w+", np.dtype(np.float32), (photos, rows.shape[1]))
        matrix[done : done + len(rows)] = rows
        done += len(rows)
    assert matrix is not None
    matrix.flush()
    return int(matrix.shape[1])
