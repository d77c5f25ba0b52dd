"""The predicted class of each photo, with its calibrated confidence. The probabilities are not kept."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from florafauna.scores.blocks import blocks
from florafauna.scores.calibration import softmax
from florafauna.scores.predictions import Predictions


@dataclass(frozen=True)
class PredictedLabels:
    """One model's predictions for some photos; all arrays are (photos,), in the order of the photos.

    `confidence` is the calibrated probability of the predicted class, `of_label` that of the labelled class.
    """

    model: str
    labels: list[str]
    photos: pd.DataFrame
    targets: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    of_label: npt.NDArray[np.float64]

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether prediction and label agree."""
        return np.asarray(self.predicted == self.targets)

    @property
    def errors(self) -> npt.NDArray[np.int64]:
        """Rows of the photos where they differ, the most confident first."""
        rows = np.flatnonzero(~self.correct)
        return rows[np.argsort(-self.confidence[rows], kind="stable")]


def predicted_labels(predictions: Predictions, temperature: float) -> PredictedLabels:
    """Predicted labels from saved logits; probabilities are softmax(logits / temperature)."""
    predicted, targets = predictions.predicted.astype(np.int64), predictions.targets
    confidence, of_label = np.empty(len(targets)), np.empty(len(targets))
    for part in blocks(len(targets)):
        probabilities = softmax(predictions.logits[part], temperature)
        rows = np.arange(len(probabilities))
        confidence[part] = probabilities[rows, predicted[part]]
        of_label[part] = probabilities[rows, targets[part]]
    return PredictedLabels(
        predictions.model, predictions.labels, predictions.photos, targets, predicted, confidence, of_label
    )
