"""Suspected wrong labels: photos for a person to look at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from florafauna.compare.report._predicted import PredictedLabels

LEAST = 0.5
MOST = 200
RULE = (
    "A test or validation photo is listed if all models predict the same class and it is not the label, each with a "
    "calibrated probability of at least one half and of at least the model's average for this class on photos labelled "
    "with it (the threshold of confident learning: Northcutt, Jiang and Chuang 2021). The most confident come first."
)


@dataclass(frozen=True)
class Suspect:
    """A photo, its label, the class that all models predict instead, and the lowest probability any gives it."""

    path: str
    split: str
    label: str
    instead: str
    confidence: float


def suspected(models: Sequence[PredictedLabels]) -> list[Suspect]:
    """All suspects by `RULE`. The models must have predicted the same photos."""
    first = models[0]
    sure = first.predicted != first.targets
    least = np.full(len(first.targets), np.inf)
    for model in models:
        sure &= (model.predicted == first.predicted) & (model.confidence >= _thresholds(model)[model.predicted])
        least = np.minimum(least, model.confidence)
    rows = np.flatnonzero(sure)
    return [
        Suspect(
            str(first.photos["path"].iat[row]),
            str(first.photos["split"].iat[row]),
            first.labels[first.targets[row]],
            first.labels[first.predicted[row]],
            float(least[row]),
        )
        for row in rows[np.argsort(-least[rows], kind="stable")]
    ]


def _thresholds(model: PredictedLabels) -> np.ndarray:
    """The probability that each class must reach, (classes,); 1 for a class without photos."""
    photos = np.bincount(model.targets, minlength=len(model.labels))
    sums = np.bincount(model.targets, model.of_label, minlength=len(model.labels))
    return np.where(photos > 0, np.maximum(sums / np.maximum(photos, 1), LEAST), 1.0)
