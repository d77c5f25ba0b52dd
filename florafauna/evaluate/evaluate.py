"""The evaluate stage: run a trained model on the validation and test photos; write logits, scores and the bundle."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from florafauna.base.files import write_json
from florafauna.bundle.bundle import Bundle, load_trained, predict_together
from florafauna.bundle.info import WEIGHTS, read_training
from florafauna.evaluate._cover import Cover
from florafauna.evaluate.finish import bundle_info, write_bundle
from florafauna.folds.out_of_fold import FINAL, OutOfFold, read_out_of_fold
from florafauna.model.compute import Compute, for_inference, hardware
from florafauna.model.ranks import rank
from florafauna.pixels.store import PixelStore
from florafauna.scores.cross_validation import out_of_fold_predictions
from florafauna.scores.predictions import ALSO, LOGITS, PER_CLASS, PHOTO, TIMING, Predictions, write_predictions
from florafauna.scores.score import Scores, score
from florafauna.scores.settings import EvaluateParams


@dataclass(frozen=True)
class EvaluationJob:
    """The evaluation of one model: the folders that it reads, and where it writes."""

    name: str
    params: EvaluateParams
    trained: Path  # output of training
    val: Path
    test: Path
    folds: Path  # output of the cross-validation, which may be off
    predictions: Path  # a folder
    metrics: Path
    details: Path
    bundle: Path  # a folder


def evaluate(job: EvaluationJob) -> None:
    """Write logits, scores by class and speed (all in `predictions`), `metrics`, `details` and `bundle`.

    The scores are computed from the logits alone.

    >>> job = EvaluationJob("vit", params, trained, val, test, folds, predictions, metrics, more, out)  # doctest: +SKIP
    >>> evaluate(job)  # doctest: +SKIP
    vit: test weighted F1 0.6941 (0.5975 to 0.7763) on 117 photos, accuracy 0.7094
    """
    trained = load_trained(job.trained)
    compute = for_inference(trained.info["precision"])
    stores = {"test": PixelStore(job.test), "val": PixelStore(job.val)}
    start = time.monotonic()
    logits = _logits(job.name, trained, stores.values(), compute)
    seconds = time.monotonic() - start
    photos = pd.concat([_photos(store, split) for split, store in stores.items()], ignore_index=True).fillna("")
    ancestors = tuple(stores["test"].ancestors)
    of_seeds = tuple(_logits(job.name, load_trained(run), stores.values(), compute) for run in _further_seeds(job))
    covered = _without_animals(job.name, trained, stores, compute)
    if rank():
        return  # the first process goes on
    predictions = Predictions(job.name, trained.labels, photos, logits, ancestors, of_seeds, covered)
    write_predictions(job.predictions / LOGITS, predictions)
    speed = {"photos_per_second": round(len(photos) / seconds, 1)}
    write_json(job.predictions / TIMING, speed | {"device": compute.device.type, "hardware": hardware()})
    found = read_out_of_fold(job.folds)
    scores = all_scores(predictions, found, job.params)
    handed_on = job.folds / FINAL if found is not None and found.is_final else job.trained
    info = read_training(handed_on)
    write_json(job.predictions / PER_CLASS, scores.per_class)
    write_json(job.metrics, scores.metrics)
    write_json(job.details, scores.details | {"model": model_details(info, handed_on)})
    boxes = {} if stores["test"].boxes is None else {"boxes": stores["test"].boxes}  # so that `predict` crops alike
    of_photos = {split: store.facts for split, store in stores.items()}
    write_bundle(job.bundle, handed_on, bundle_info(info | boxes, scores, ancestors, of_photos, job.params))
    if "temperature" in scores.per_class["sentences"]:
        print(f"{job.name}: {scores.per_class['sentences']['temperature']}", flush=True)
    test = scores.details["test"]
    print(
        f"{job.name}: test weighted F1 {test['weighted_f1']:.4f} ({test['weighted_f1_low']:.4f} to "
        f"{test['weighted_f1_high']:.4f}) on {test['n']} photos, accuracy {test['accuracy']:.4f}",
        flush=True,
    )


def all_scores(predictions: Predictions, found: OutOfFold | None, params: EvaluateParams) -> Scores:
    """The scores of a model, and the calibration of the one that is handed on.

    Where that was trained on all photos, temperature and thresholds are chosen on the out-of-fold logits of them all.
    """
    scores = score(predictions, params, found)
    if found is None or not found.is_final:
        return scores
    test, all_photos = predictions.part("test"), out_of_fold_predictions(predictions.model, found)
    photos = pd.concat([all_photos.photos.assign(split="val"), test.photos], ignore_index=True)
    logits = np.concatenate([all_photos.logits, test.logits])
    chosen = replace(predictions, photos=photos, logits=logits, of_seeds=(), covered=None)
    return replace(scores, calibration=score(chosen, params).calibration)


def model_details(info: dict[str, Any], folder: Path) -> dict[str, Any]:
    """`model` of metrics/details/M.json, from training.json or bundle.json and the weights beside it."""
    size = (folder / WEIGHTS).stat().st_size
    about = {key: info[key] for key in ("parameters", "trainable_parameters", "best_epoch")}
    return about | {"megabytes": round(size / 1e6, 3)}


def _further_seeds(job: EvaluationJob) -> list[Path]:
    """The models trained with further seeds, in the order of the seeds."""
    return sorted((job.trained / "seeds").glob("*"), key=lambda path: int(path.name))


def _logits(name: str, trained: Bundle, stores: Iterable[PixelStore], compute: Compute) -> np.ndarray:
    return np.concatenate([_predict(name, trained, store, compute) for store in stores])


def _photos(store: PixelStore, split: str) -> pd.DataFrame:
    also = [name for name in ALSO if name in store.columns]
    photos = store.table(*(column for column in PHOTO if column != "split"), *also).assign(split=split)
    return photos[[*PHOTO, *also]]


def _predict(name: str, trained: Bundle, store: PixelStore, compute: Compute, cover: Cover | None = None) -> np.ndarray:
    print(f"{name}: {len(store)} photos of {store.folder}{', animals covered' if cover else ''}", flush=True)
    return predict_together(trained, store, compute, cover)


def _without_animals(name: str, trained: Bundle, stores: dict[str, PixelStore], compute: Compute) -> np.ndarray | None:
    """`Predictions.covered` of whole photos with boxes."""
    cover = Cover.of(stores["test"])
    if cover is None:
        return None
    logits = _predict(name, trained, stores["test"], compute, cover)
    logits[[not cover.boxes.get(path) for path in stores["test"].names]] = np.nan
    of_val = np.full((len(stores["val"]), logits.shape[1]), np.nan, dtype=np.float32)
    return np.concatenate([logits if split == "test" else of_val for split in stores])
