"""The evaluate stage: a bundle scores the validation and test photos; its logits and scores are written."""

import time
from pathlib import Path

import numpy as np
import pandas as pd

from florafauna.bundle import Bundle, load_bundle, predict_logits
from florafauna.compute import Compute, for_inference, hardware
from florafauna.files import write_json
from florafauna.params import EvaluateParams
from florafauna.predictions import PHOTO, Predictions, write_predictions
from florafauna.scoring import score
from florafauna.store import PixelStore


def evaluate(
    name: str,
    folder: Path,
    val: Path,
    test: Path,
    params: EvaluateParams,
    predictions: Path,
    metrics: Path,
    per_class: Path,
    timing: Path,
) -> None:
    """Write `predictions` (logits of val and test), `metrics` and `per_class` (made of them alone) and `timing`."""
    bundle = load_bundle(folder)
    compute = for_inference(bundle.info["precision"])
    start, parts = time.monotonic(), []
    for split, store in (("test", PixelStore(test)), ("val", PixelStore(val))):
        parts.append((_photos(store, split), _predict(name, bundle, store, compute)))
    seconds = time.monotonic() - start
    photos = pd.concat([photos for photos, _ in parts], ignore_index=True)
    logits = np.concatenate([each for _, each in parts])
    ancestors = tuple(PixelStore(test).ancestors)
    of_seeds = tuple(_logits(name, load_bundle(run), val, test, compute) for run in _further_seeds(folder))
    made = Predictions(name, bundle.labels, photos, logits, ancestors, of_seeds)
    write_predictions(predictions, made)
    about = {key: bundle.info[key] for key in ("parameters", "trainable_parameters", "best_epoch")}
    size = (folder / "model.safetensors").stat().st_size
    scores = score(made, params)
    write_json(metrics, scores.summary | {"model": about | {"megabytes": round(size / 1e6, 3)}})
    write_json(per_class, scores.per_class)
    rate = round(len(photos) / seconds, 1)
    write_json(timing, {"photos_per_second": rate, "device": compute.device.type, "hardware": hardware()})
    result = scores.summary["test"]
    print(
        f"{name}: test weighted F1 {result['weighted_f1']:.4f} ({result['weighted_f1_low']:.4f} to "
        f"{result['weighted_f1_high']:.4f}) on {result['n']} photos, accuracy {result['accuracy']:.4f}",
        flush=True,
    )


def _further_seeds(folder: Path) -> list[Path]:
    """Bundles of the runs with further seeds, in the order of the seeds."""
    return sorted((folder / "seeds").glob("*"), key=lambda path: int(path.name))


def _logits(name: str, bundle: Bundle, val: Path, test: Path, compute: Compute) -> np.ndarray:
    return np.concatenate([_predict(name, bundle, PixelStore(store), compute) for store in (test, val)])


def _photos(store: PixelStore, split: str) -> pd.DataFrame:
    return store.index.assign(split=split)[PHOTO]


def _predict(name: str, bundle: Bundle, store: PixelStore, compute: Compute) -> np.ndarray:
    print(f"{name}: {len(store)} photos of {store.folder}", flush=True)
    return predict_logits(bundle, store, compute, compute.default_workers)
