"""When to say "not sure": thresholds for a required precision, what abstaining costs, and whether novel classes show.

Confidence is the highest class probability of a photo (Hendrycks & Gimpel 2017, "A Baseline for Detecting
Misclassified and Out-of-Distribution Examples"). A threshold is chosen on validation photos so that a lower confidence
bound of the precision reaches the required one, and its precision and coverage are then measured on test photos.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp
from scipy.stats import beta, rankdata

from florafauna.base.errors import UserError
from florafauna.scores.blocks import blocks

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

STEPS = 50  # thresholds tried between the first one and accepting everything
SPARE_ERRORS = 2  # allowed at the first threshold tried, so that one confident error does not end the search


@dataclass(frozen=True)
class Threshold:
    """Accept a prediction whose confidence is at least `threshold`; None if no threshold reaches the precision.

    `precision` and `bound` (its lower confidence bound) are those of the `accepted` validation photos. `too_few` says
    that there are too few photos to show the precision even if all were correct.
    """

    threshold: float | None
    accepted: int
    precision: float | None
    bound: float | None
    sentence: str
    too_few: bool = False


@dataclass(frozen=True)
class Realised:
    """Precision and coverage (0 to 1) on photos that the threshold was not chosen on; None if none is accepted."""

    precision: float | None
    coverage: float
    accepted: int
    photos: int


@dataclass(frozen=True)
class RiskCoverage:
    """Risk (share of errors among accepted photos) at each coverage (share accepted), most confident photos first."""

    coverage: Floats
    risk: Floats
    aurc: float


@dataclass(frozen=True)
class NoveltyOfClass:
    """How well confidence separates one class, as if never learnt, from the others: AUROC and FPR, 0 to 1."""

    target: int
    photos: int
    auroc: float
    fpr95: float


@dataclass(frozen=True)
class Novelty:
    """Means over the classes with photos; an AUROC of 0.5 is chance."""

    auroc: float
    fpr95: float
    classes: list[NoveltyOfClass]


def lower_bound(right: npt.ArrayLike, photos: npt.ArrayLike, confidence: float = 0.95) -> np.ndarray:
    """One-sided Clopper-Pearson (1934) lower bound of a share, given that `right` of `photos` are correct.

    >>> round(float(lower_bound(95, 100)), 3)
    0.898
    """
    right, photos = np.asarray(right), np.asarray(photos)
    bound = beta.ppf(1 - confidence, np.maximum(right, 1), photos - right + 1)
    return np.where(right > 0, bound, 0.0)


def choose_threshold(
    confidences: np.ndarray, correct: np.ndarray, precision: float, confidence: float = 0.95
) -> Threshold:
    """The lowest threshold at which a lower bound of the accepted photos' precision reaches the required one.

    `confidences` and `correct` are those of validation photos (n,). Thresholds are tried from the highest down until
    one fails; as this order is fixed before looking at errors, trying many does not weaken the bound (fixed-sequence
    testing; Angelopoulos et al. 2021, "Learn then Test").
    """
    if not 0 < precision < 1:
        raise UserError(f"The required precision must be between 0 and 1, not {precision}.")
    confidences, correct = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=bool)
    photos = len(confidences)
    first = _fewest(precision, confidence, photos)
    if first is None:
        needed = int(np.ceil(np.log(1 - confidence) / np.log(precision)))
        return _unattainable(
            f"{_photos(photos)} cannot show a precision of {precision:.1%}: even if all are correct, {needed} are "
            "needed.",
            too_few=True,
        )
    order = np.argsort(-confidences, kind="stable")
    falling, right = confidences[order], np.cumsum(correct[order])
    # Photos of equal confidence are accepted or rejected together, so a count extends to the last of its ties.
    tried = np.unique(np.linspace(first, photos, min(STEPS, photos - first + 1)).round().astype(np.int64))
    tried = np.unique(np.searchsorted(-falling, -falling[tried - 1], side="right"))
    bounds = lower_bound(right[tried - 1], tried, confidence)
    passed = int(np.argmin(bounds >= precision)) if (bounds < precision).any() else len(tried)
    if passed == 0:
        return _unattainable(
            f"No threshold gives a precision of {precision:.1%}: of the {tried[0]} most confident photos "
            f"{right[tried[0] - 1] / tried[0]:.1%} are correct, which shows {bounds[0]:.1%} at most."
        )
    accepted, bound = int(tried[passed - 1]), float(bounds[passed - 1])
    share, threshold = float(right[accepted - 1] / accepted), float(falling[accepted - 1])
    return Threshold(
        threshold,
        accepted,
        share,
        bound,
        f"At a confidence of {threshold:.3f} or more, {share:.1%} of {_photos(accepted)} are correct "
        f"(at least {bound:.1%}).",
    )


def global_threshold(
    probabilities: np.ndarray, targets: np.ndarray, precision: float, confidence: float = 0.95
) -> Threshold:
    """One threshold for all predictions, from validation probabilities (n, classes) and targets (n,)."""
    predictions = probabilities.argmax(axis=1)
    return choose_threshold(probabilities.max(axis=1), predictions == targets, precision, confidence)


def class_thresholds(
    probabilities: np.ndarray, targets: np.ndarray, precision: float, confidence: float = 0.95
) -> list[Threshold]:
    """A threshold for each predicted class, in the order of the classes; each bound holds for its class alone."""
    predictions, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    chosen = (predictions == target for target in range(probabilities.shape[1]))
    return [choose_threshold(confidences[of], targets[of] == predictions[of], precision, confidence) for of in chosen]


def decisive(one: Threshold, each: Sequence[Threshold]) -> list[Threshold]:
    """The threshold that applies to each predicted class: its own, if it has enough photos.

    A class with too few falls back on the global threshold; one with enough photos that reaches no threshold does not.
    """
    return [one if own.too_few else own for own in each]


def accepted_by(probabilities: np.ndarray, thresholds: Threshold | Sequence[Threshold]) -> Bools:
    """Which photos (n,) are accepted by a global threshold, or by that of the predicted class."""
    given = [thresholds] * probabilities.shape[1] if isinstance(thresholds, Threshold) else list(thresholds)
    least = np.array([np.inf if each.threshold is None else each.threshold for each in given])
    return np.asarray(probabilities.max(axis=1) >= least[probabilities.argmax(axis=1)])


def realised(probabilities: np.ndarray, targets: np.ndarray, thresholds: Threshold | Sequence[Threshold]) -> Realised:
    """Precision and coverage on test photos of a global threshold, or of one for each class."""
    accepted = accepted_by(probabilities, thresholds)
    correct = probabilities.argmax(axis=1) == targets
    count, photos = int(accepted.sum()), len(targets)
    precision = float(correct[accepted].mean()) if count else None
    return Realised(precision, count / photos if photos else 0.0, count, photos)


def realised_by_class(
    probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[Threshold]
) -> list[Realised]:
    """Precision and coverage of each class's threshold among the test photos predicted as that class."""
    predictions = probabilities.argmax(axis=1)
    chosen = (predictions == target for target in range(probabilities.shape[1]))
    return [realised(probabilities[of], targets[of], thresholds) for of in chosen]


def risk_coverage(confidences: np.ndarray, correct: np.ndarray) -> RiskCoverage:
    """The risk at every coverage, and the area under that curve (Geifman & El-Yaniv 2017): lower is better.

    Photos of equal confidence share their mean error, so the order of photos does not matter.
    """
    photos = len(confidences)
    if photos == 0:
        raise UserError("There are no photos to draw a risk-coverage curve for.")
    order = np.argsort(-np.asarray(confidences), kind="stable")
    wrong = 1.0 - np.asarray(correct, dtype=np.float64)[order]
    _, tie = np.unique(-np.asarray(confidences)[order], return_inverse=True)
    wrong = (np.bincount(tie, wrong) / np.bincount(tie))[tie]
    accepted = np.arange(1, photos + 1)
    risk = np.cumsum(wrong) / accepted
    return RiskCoverage(accepted / photos, risk, float(risk.mean()))


def novelty(logits: np.ndarray, targets: np.ndarray) -> Novelty:
    """Would photos of a class that the model never learnt get low confidences? Estimated for each class, no retraining.

    Class k is left out by dropping its logit from the softmax of all photos: photos of k then stand for the unknown,
    the others for the known. Logits are (n, classes). The estimate is optimistic, as the features have seen class k.
    `fpr95` is the share of unknown photos accepted where 95 % of the known ones are (Hendrycks & Gimpel 2017).
    """
    logits, targets = np.asarray(logits), np.asarray(targets)
    if logits.shape[1] < 3:
        raise UserError(f"Leaving a class out needs at least 3 classes, not {logits.shape[1]}.")
    without = _ConfidenceWithout(logits)
    found = []
    for target in np.unique(targets):
        unknown = targets == target
        if unknown.all():
            continue
        confidences = without(int(target))
        auroc, fpr95 = separation(confidences[~unknown], confidences[unknown])
        found.append(NoveltyOfClass(int(target), int(unknown.sum()), auroc, fpr95))
    if not found:
        raise UserError("Leaving a class out needs photos of at least 2 classes.")
    return Novelty(
        float(np.mean([each.auroc for each in found])), float(np.mean([each.fpr95 for each in found])), found
    )


def separation(known: np.ndarray, unknown: np.ndarray) -> tuple[float, float]:
    """AUROC of known against unknown confidences, and the share of unknown accepted where 95 % of the known are."""
    ranks = rankdata(np.concatenate([known, unknown]))[: len(known)]
    above = ranks.sum() - len(known) * (len(known) + 1) / 2
    least = np.sort(known)[len(known) - int(np.ceil(0.95 * len(known)))]
    return float(above / (len(known) * len(unknown))), float(np.mean(unknown >= least))


class _ConfidenceWithout:
    """Highest probability of each photo when a class is dropped: O(n) for each class, not O(n · classes)."""

    def __init__(self, logits: np.ndarray) -> None:
        self.logits, self.best = logits, logits.argmax(axis=1)
        self.top = logits.max(axis=1).astype(np.float64)
        self.total, self.second = np.empty(len(logits)), np.empty(len(logits))
        for part in blocks(len(logits)):
            # A photo's sum without its likeliest class cannot be computed by subtraction: it would cancel to nothing.
            rest = logits[part].astype(np.float64)
            self.total[part] = logsumexp(rest, axis=1)
            rest[np.arange(len(rest)), self.best[part]] = -np.inf
            self.second[part] = np.exp(rest.max(axis=1) - logsumexp(rest, axis=1))

    def __call__(self, target: int) -> Floats:
        share = np.exp(self.logits[:, target].astype(np.float64) - self.total)
        kept = np.exp(self.top - self.total) / np.maximum(1 - share, 1e-300)
        # Rounded, so that photos of full confidence tie rather than differ by how they were computed.
        return np.where(self.best == target, self.second, kept).round(12)


def _fewest(precision: float, confidence: float, photos: int) -> int | None:
    """The fewest photos that could show the precision, with `SPARE_ERRORS` or as many of them as possible."""
    counts = np.arange(1, photos + 1)
    for errors in range(SPARE_ERRORS, -1, -1):
        enough = lower_bound(np.maximum(counts - errors, 0), counts, confidence) >= precision
        if enough.any():
            return int(counts[np.argmax(enough)])
    return None


def _unattainable(sentence: str, too_few: bool = False) -> Threshold:
    return Threshold(None, 0, None, None, sentence, too_few)


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"
