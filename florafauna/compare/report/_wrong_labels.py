"""Suspected wrong labels: photos for a person to look at, found by confident learning.

Northcutt, Jiang and Chuang (2021, "Confident Learning: Estimating Uncertainty in Dataset Labels"), pruned by class and
ranked by self-confidence: of the filters in cleanlab 2.9 the one that finds most planted errors at equal precision.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from florafauna.compare._classifiers import Model
from florafauna.compare._ensemble import ensemble_logits
from florafauna.scores.blocks import blocks
from florafauna.scores.calibration import softmax
from florafauna.scores.predictions import Predictions

MOST = 200
RULE = (
    "Listed are photos that the models together (the mean of their calibrated probabilities) take for another class "
    "than their label says: of each class as many as confident learning estimates to be mislabelled (Northcutt, Jiang "
    "and Chuang 2021), those first whose label is least probable."
)
OF_ALL = " Every photo is looked at, by models that were trained without it and its group."
OF_SOME = " Only test and validation photos are looked at; with evaluate.folds: 5 it would be every photo."


@dataclass(frozen=True)
class Suspect:
    """A photo, its label, the class that the models predict instead, and the mean probability they give to either."""

    path: str
    split: str
    label: str
    instead: str
    of_label: float
    confidence: float


def opinion(models: Sequence[Model]) -> Predictions:
    """The logits of the models' mean probabilities: of all photos if cross-validated, else of validation and test."""
    of_all = all(each.out_of_fold is not None for each in models)
    found = [each.cross_validated if of_all else each.predictions for each in models]
    mixed = ensemble_logits([each.logits for each in found], [each.temperature for each in models])
    return replace(found[0], logits=mixed, of_seeds=(), covered=None)


def suspected(predictions: Predictions) -> list[Suspect]:
    """All suspects by `RULE`, the least probable label first."""
    targets, classes = predictions.targets, len(predictions.labels)
    of_label, confidence = np.empty(len(targets)), np.empty(len(targets))
    for part, probabilities in _probabilities(predictions):
        of_label[part] = probabilities[np.arange(len(probabilities)), targets[part]]
        confidence[part] = probabilities.max(axis=1)
    photos = np.bincount(targets, minlength=classes)
    typical = np.bincount(targets, of_label, minlength=classes) / np.maximum(photos, 1)
    thresholds = np.where(photos > 0, typical, np.inf)
    order = np.lexsort((of_label, targets))  # within each class the least probable label first
    rank = np.empty(len(targets), dtype=np.int64)
    rank[order] = np.arange(len(targets)) - (np.cumsum(photos) - photos)[targets[order]]
    chosen = (rank < _estimated_errors(predictions, thresholds)[targets]) & (predictions.predicted != targets)
    rows = np.flatnonzero(chosen)
    return [
        Suspect(
            str(predictions.photos["path"].iat[row]),
            str(predictions.photos["split"].iat[row]),
            predictions.labels[targets[row]],
            predictions.labels[predictions.predicted[row]],
            float(of_label[row]),
            float(confidence[row]),
        )
        for row in rows[np.argsort(of_label[rows], kind="stable")]
    ]


def _estimated_errors(predictions: Predictions, thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """How many photos of each class (classes,) are mislabelled, by the diagonal of the calibrated confident joint.

    A photo counts for the likeliest class whose probability reaches that class's mean over the photos labelled with it.
    """
    classes = len(thresholds)
    confident, right = np.zeros(classes), np.zeros(classes)
    for part, probabilities in _probabilities(predictions):
        reached = np.where(probabilities >= thresholds - 1e-6, probabilities, -1.0)
        sure, label = reached.max(axis=1) >= 0, predictions.targets[part]
        confident += np.bincount(label[sure], minlength=classes)
        right += np.bincount(label[sure & (reached.argmax(axis=1) == label)], minlength=classes)
    photos = np.bincount(predictions.targets, minlength=classes)
    share = 1 - np.maximum(right, 1) / np.maximum(np.maximum(confident, right), 1)
    return np.rint(share * photos).astype(np.int64)


def _probabilities(predictions: Predictions) -> Iterator[tuple[slice, npt.NDArray[np.float64]]]:
    for part in blocks(len(predictions.photos)):
        yield part, softmax(predictions.logits[part])
