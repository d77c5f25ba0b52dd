"""Calibration: temperature scaling, and how far confidence and accuracy are apart.

Temperature scaling and the expected calibration error are those of Guo et al. (2017, "On Calibration of Modern Neural
Networks"); the adaptive error is that of Nixon et al. (2019, "Measuring Calibration in Deep Learning").
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.special import softmax as _softmax

from florafauna.base.errors import UserError
from florafauna.scores.blocks import blocks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BINS = 15  # as in Guo et al. (2017)
TEMPERATURES = (
    0.02,
    50.0,
)  # bounds of the search: a perfect model's temperature would be 0, a useless model's infinite


@dataclass(frozen=True)
class Bin:
    """Photos of similar confidence: their mean confidence and accuracy (0 to 1), and their number."""

    confidence: float
    accuracy: float
    photos: int


def softmax(logits: np.ndarray, temperature: float = 1.0) -> Floats:
    """Probabilities (n, classes): the softmax of logits (n, classes) divided by a temperature.

    >>> softmax(np.log([[1.0, 3.0]])).round(2).tolist()
    [[0.25, 0.75]]
    """
    if not temperature > 0:
        raise UserError(f"The temperature must be above 0, not {temperature}.")
    logits = np.asarray(logits)
    probabilities = np.empty(logits.shape)
    for part in blocks(len(logits)):
        probabilities[part] = _softmax(logits[part].astype(np.float64) / temperature, axis=1)
    return probabilities


def nll(logits: np.ndarray, targets: np.ndarray, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the targets in nats: lower is better, log(classes) is chance."""
    logits, targets = np.asarray(logits), np.asarray(targets)
    losses = np.empty(len(targets))
    for part in blocks(len(targets)):
        scaled = logits[part].astype(np.float64) / temperature
        losses[part] = -log_softmax(scaled, axis=1)[np.arange(len(scaled)), targets[part]]
    return float(losses.mean())


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature that minimises the validation NLL (Guo et al. 2017): above 1 for an overconfident model.

    Logits are (n, classes), targets (n,); never use the photos that the model is scored on.
    """
    if len(targets) == 0:
        raise UserError("There are no validation photos to fit the temperature on.")
    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(
        lambda log: nll(logits, targets, float(np.exp(log))),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def reliability(probabilities: np.ndarray, targets: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Photos binned by confidence, in bins of equal width; empty bins are left out."""
    confidences, correct = _confidences(probabilities, targets)
    numbers = np.minimum((confidences * bins).astype(np.int64), bins - 1)
    return [_bin(confidences, correct, numbers == number) for number in np.unique(numbers)]


def adaptive_reliability(probabilities: np.ndarray, targets: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Photos binned by confidence, in bins of equally many photos (to within one)."""
    confidences, correct = _confidences(probabilities, targets)
    order = np.argsort(confidences, kind="stable")
    return [_bin(confidences, correct, part) for part in np.array_split(order, bins) if len(part)]


def ece(probabilities: np.ndarray, targets: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error, 0 to 1: the mean gap between confidence and accuracy over bins of equal width."""
    return _gap(reliability(probabilities, targets, bins))


def adaptive_ece(probabilities: np.ndarray, targets: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error, 0 to 1, over bins of equally many photos (Nixon et al. 2019)."""
    return _gap(adaptive_reliability(probabilities, targets, bins))


def brier(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Multiclass Brier score, 0 to 2: the squared distance of probabilities from the truth, summed over classes."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    of_target = probabilities[np.arange(len(targets)), targets]
    return float(((probabilities**2).sum(axis=1) - 2 * of_target + 1).mean())


def _confidences(probabilities: np.ndarray, targets: np.ndarray) -> tuple[Floats, npt.NDArray[np.bool_]]:
    if len(targets) == 0:
        raise UserError("There are no photos to measure calibration on.")
    probabilities = np.asarray(probabilities, dtype=np.float64)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == targets


def _bin(confidences: Floats, correct: npt.NDArray[np.bool_], chosen: npt.NDArray) -> Bin:
    confidence = float(confidences[chosen].mean())
    return Bin(confidence, float(correct[chosen].mean()), len(confidences[chosen]))


def _gap(bins: list[Bin]) -> float:
    photos = sum(each.photos for each in bins)
    return sum(each.photos * abs(each.confidence - each.accuracy) for each in bins) / photos
