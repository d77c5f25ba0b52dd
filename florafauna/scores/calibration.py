"""Calibration: temperature scaling, and how far confidence and accuracy are apart.

Temperature scaling and the expected calibration error are those of Guo et al. (2017, "On Calibration of Modern Neural
Networks"); the adaptive error is that of Nixon et al. (2019, "Measuring Calibration in Deep Learning"). The expected
calibration error of few photos is noise for the most part (Bröcker & Smith 2007, "Increasing the Reliability of
Reliability Diagrams"), so it comes with what a calibrated model would show.

One temperature for all classes is all that is fitted: a bias for each class (Alexandari et al. 2020) would need many
validation photos of every class, and softmax(logits / temperature) is what other programs compute from a bundle. How
far confidence is off for single classes is reported instead.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.special import softmax as _softmax
from scipy.stats import norm

from florafauna.base.errors import UserError
from florafauna.scores._promise import intraclass_correlation
from florafauna.scores.blocks import blocks
from florafauna.scores.bootstrap import Resampling, Truth, group_codes, resample_weights

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BINS = 15  # as in Guo et al. (2017)
TEMPERATURES = (1e-3, 1e3)  # bounds of the search
SPREAD = 0.5  # standard deviation of log temperature expected before any photo is seen
STEPS, SOME = 29, 1000  # temperatures tried first, and photos to try them on
DRAWS = 400  # of what a calibrated model would show, and of resampled groups


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

    Logits are (n, classes), targets (n,); never use the photos that the model is scored on. Where these are nearly all
    right, ever lower temperatures are likelier, and photos of unknown species would look certain. So log temperature
    has a prior, normal around 0 with a deviation of `SPREAD`: that of the least NLL on new photos in simulation.
    """
    if len(targets) == 0:
        raise UserError("There are no validation photos to fit the temperature on.")
    every = max(1, len(targets) // SOME)
    logs = np.log(np.geomspace(*TEMPERATURES, STEPS))
    # There may be two minima, one of them of the prior's making: the right one is near the best of some steps.
    best = int(np.argmin([_loss(log, logits[::every], targets[::every], len(targets)) for log in logs]))
    found = minimize_scalar(
        _loss,
        bounds=(logs[max(best - 1, 0)], logs[min(best + 1, STEPS - 1)]),
        args=(logits, targets, len(targets)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def _loss(log_temperature: float, logits: np.ndarray, targets: np.ndarray, photos: int) -> float:
    """The negative log posterior, as if `photos` were like these."""
    return photos * nll(logits, targets, float(np.exp(log_temperature))) + (log_temperature / SPREAD) ** 2 / 2


def at_bound(temperature: float) -> bool:
    """Whether the search for a temperature ended where it had to, so that confidences mean little."""
    return not TEMPERATURES[0] * 1.01 < temperature < TEMPERATURES[1] / 1.01


def reliability(probabilities: np.ndarray, targets: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Photos binned by confidence, in bins of equal width; empty bins are left out."""
    confidences, correct = _confidences(probabilities, targets)
    numbers = _numbers(confidences, bins)
    return [_bin(confidences, correct, numbers == number) for number in np.unique(numbers)]


def adaptive_reliability(probabilities: np.ndarray, targets: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Photos binned by confidence, in bins of equally many photos (to within one)."""
    confidences, correct = _confidences(probabilities, targets)
    order = np.argsort(confidences, kind="stable")
    return [_bin(confidences, correct, part) for part in np.array_split(order, bins) if len(part)]


def ece(probabilities: np.ndarray, targets: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error, 0 to 1: the mean gap between confidence and accuracy over bins of equal width."""
    return _gap(reliability(probabilities, targets, bins))


@dataclass(frozen=True)
class EceRange:
    """The interval of an expected calibration error, and the interval in which that of a calibrated model would lie."""

    low: float
    high: float
    calibrated_low: float
    calibrated_high: float


def ece_range(
    probabilities: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> EceRange:
    """How far the expected calibration error can be trusted, given the groups (n,) of photos.

    A calibrated model with these confidences is drawn: photos right with the probability that their confidence says,
    those of a group together as often as they are here. The interval comes from resampled groups, whose errors are
    larger by their noise, which is taken off its lower end; it begins at 0 where a calibrated model could show as much.
    """
    confidences, correct = _confidences(probabilities, targets)
    codes, photos = group_codes(groups, len(targets)), len(targets)
    bins, rng = _numbers(confidences, BINS), np.random.default_rng(seed)
    tail = (1 - confidence) / 2
    drawn = np.empty(DRAWS)
    alike = np.sqrt(intraclass_correlation(correct, codes))
    for draw in range(DRAWS):
        chances = rng.random(photos)
        if alike > 0:  # with probability √icc a photo shares its group's draw, so two of them do so with icc
            chances = np.where(rng.random(photos) < alike, rng.random(codes.max() + 1)[codes], chances)
        drawn[draw] = np.abs(np.bincount(bins, confidences - (chances < confidences))).sum() / photos
    calibrated_low, calibrated_high = np.quantile(drawn, [tail, 1 - tail])
    sizes = np.bincount(codes)
    shape = (bins.max() + 1, len(sizes))
    of_groups = sparse.csr_array((confidences - correct, (bins, codes)), shape=shape)
    weights = resample_weights(Truth(targets, probabilities.shape[1], codes), Resampling(DRAWS, seed))
    resampled = np.concatenate([np.abs(of_groups @ each.T).sum(axis=0) / (each @ sizes) for each in weights])
    found = float(np.abs(of_groups.sum(axis=1)).sum()) / photos
    half = float(norm.ppf(1 - tail) * resampled.std())
    low = found - 2 * max(0.0, float(resampled.mean()) - found) - half
    return EceRange(
        max(0.0, low) if found > calibrated_high else 0.0,
        min(1.0, found + half),
        float(calibrated_low),
        float(calibrated_high),
    )


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


def _numbers(confidences: Floats, bins: int) -> Ints:
    return np.minimum((confidences * bins).astype(np.int64), bins - 1)


def _bin(confidences: Floats, correct: npt.NDArray[np.bool_], chosen: npt.NDArray) -> Bin:
    confidence = float(confidences[chosen].mean())
    return Bin(confidence, float(correct[chosen].mean()), len(confidences[chosen]))


def _gap(bins: list[Bin]) -> float:
    photos = sum(each.photos for each in bins)
    return sum(each.photos * abs(each.confidence - each.accuracy) for each in bins) / photos
