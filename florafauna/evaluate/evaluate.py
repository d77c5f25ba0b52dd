"""The evaluate stage: a trained model scores the validation and test photos; logits, scores and bundle are written."""

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from florafauna.base.files import write_json
from florafauna.bundle.bundle import Bundle, load_trained, predict_logits
from florafauna.evaluate.finish import describe, write_bundle
from florafauna.model.compute import Compute, for_inference, hardware
from florafauna.pixels.store import PixelStore
from florafauna.scores.predictions import PHOTO, Predictions, write_predictions
from florafauna.scores.scoring import score
from florafauna.scores.settings import EvaluateParams


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
    bundle: Path,
) -> None:
    """Write `predictions` (logits of val and test), `metrics` and `per_class` (made of them alone), `timing`, `bundle`.

    `folder` holds what training left.
    """
    trained = load_trained(folder)
    compute = for_inference(trained.info["precision"])
    stores = {"test": PixelStore(test), "val": PixelStore(val)}
    start, parts = time.monotonic(), []
    for split, store in stores.items():
        parts.append((_photos(store, split), _predict(name, trained, store, compute)))
    seconds = time.monotonic() - start
    photos = pd.concat([photos for photos, _ in parts], ignore_index=True)
    logits = np.concatenate([each for _, each in parts])
    ancestors = tuple(stores["test"].ancestors)
    of_seeds = tuple(_logits(name, load_trained(run), stores.values(), compute) for run in _further_seeds(folder))
    made = Predictions(name, trained.labels, photos, logits, ancestors, of_seeds)
    write_predictions(predictions, made)
    about = {key: trained.info[key] for key in ("parameters", "trainable_parameters", "best_epoch")}
    size = (folder / "model.safetensors").stat().st_size
    scores = score(made, params)
    write_json(metrics, scores.summary | {"model": about | {"megabytes": round(size / 1e6, 3)}})
    write_json(per_class, scores.per_class)
    rate = round(len(photos) / seconds, 1)
    facts = {split: store.facts for split, store in stores.items()}
    write_bundle(bundle, folder, describe(trained.info, scores, ancestors, facts, params))
    write_json(timing, {"photos_per_second": rate, "device": compute.device.type, "hardware": hardware()})
    result = scores.summary["test"]
    print(
        f"{name}: test weighted F1 {result['weighted_f1']:.4f} ({result['weighted_f1_low']:.4f} to "
        f"{result['weighted_f1_high']:.4f}) on {result['n']} photos, accuracy {result['accuracy']:.4f}",
        flush=True,
    )


def _further_seeds(folder: Path) -> list[Path]:
    """Models of the runs with further seeds, in the order of the seeds."""
    return sorted((folder / "seeds").glob("*"), key=lambda path: int(path.name))


def _logits(name: str, trained: Bundle, stores: Iterable[PixelStore], compute: Compute) -> np.ndarray:
    return np.concatenate([_predict(name, trained, store, compute) for store in stores])


def _photos(store: PixelStore, split: str) -> pd.DataFrame:
    return store.table(*(column for column in PHOTO if column != "split")).assign(split=split)[PHOTO]


def _predict(name: str, trained: Bundle, store: PixelStore, compute: Compute) -> np.ndarray:
    print(f"{name}: {len(store)} photos of {store.folder}", flush=True)
    return predict_logits(trained, store, compute, compute.default_workers)
