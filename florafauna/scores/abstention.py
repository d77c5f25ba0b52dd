"""When to say "not sure": thresholds for a required precision, what abstaining costs, and whether novel classes show.

Confidence is the highest class probability of a photo (Hendrycks & Gimpel 2017, "A Baseline for Detecting
Misclassified and Out-of-Distribution Examples"). The promise: of the photos accepted, at least the required share is
right, over all classes together, at the stated confidence and for photos like those of validation. One threshold for
all classes keeps it, and accepts as many photos as possible where confidences are calibrated (Chow 1970); a class whose
confidences claim more than validation shows has one of its own. What they give is then measured on test photos.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp
from scipy.stats import rankdata

from florafauna.base.errors import UserError
from florafauna.scores._promise import (
    effective_sizes,
    intraclass_correlation,
    last_shown,
    lower_bound,
    photos_needed,
    tried,
)
from florafauna.scores.blocks import blocks
from florafauna.scores.bootstrap import group_codes, share_interval

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SOME = 50  # thresholds from which it is guessed how many photos would do


@dataclass(frozen=True)
class Threshold:
    """Accept a prediction whose confidence is at least `threshold`; None if no threshold shows the precision.

    `precision` and `bound` (its lower confidence bound) are those of the `accepted` validation photos.
    """

    threshold: float | None
    accepted: int
    precision: float | None
    bound: float | None
    sentence: str


@dataclass(frozen=True)
class Realised:
    """Precision, its interval, and coverage (0 to 1) on photos that the threshold was not chosen on.

    The precision and its bounds are None if no photo is accepted.
    """

    precision: float | None
    low: float | None
    high: float | None
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


def choose_threshold(
    confidences: np.ndarray,
    correct: np.ndarray,
    groups: np.ndarray | None = None,
    precision: float = 0.95,
    confidence: float = 0.95,
    icc: float | None = None,
) -> Threshold:
    """The lowest threshold that shows the precision: a lower bound of the accepted photos' share of right ones does.

    `confidences` and `correct` are those of validation photos (n,), `groups` (n,) names those that belong together, and
    `icc` says how much alike these are (default: found here). See `_promise.last_shown` for the tests.
    """
    confidences, correct = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=bool)
    codes, photos = group_codes(groups, len(correct)), len(correct)
    if not photos:
        raise UserError("There are no photos to choose a threshold on.")
    if icc is None:
        icc = intraclass_correlation(correct, codes)
    order = np.argsort(-confidences, kind="stable")
    falling, right = confidences[order], np.cumsum(correct[order])
    effective = effective_sizes(codes[order], icc)
    # Photos of equal confidence are accepted or rejected together, so a count extends to the last of its ties.
    counts = np.unique(np.searchsorted(-falling, -falling[tried(effective, precision, confidence) - 1], side="right"))
    worth = effective[counts - 1]
    last, bound = last_shown(right[counts - 1] * worth / counts, worth, precision, confidence)
    if last < 0:
        some = np.unique(np.geomspace(1, photos, SOME).round().astype(np.int64))
        return not_shown(
            right[some - 1] * effective[some - 1] / some, effective[some - 1], photos, precision, confidence
        )
    accepted = int(counts[last])
    return _shown(float(falling[accepted - 1]), int(right[accepted - 1]), accepted, float(worth[last]), bound)


def not_shown(right: Floats, effective: Floats, photos: int, precision: float, confidence: float) -> Threshold:
    """No threshold, and why: see `_promise.photos_needed` for the arguments."""
    needed = photos_needed(right, effective, photos, precision, confidence)
    more = "more photos alone would not do" if needed is None else f"about {_two_digits(needed)} such photos would do"
    on = _photos(photos) + _worth(photos, float(effective.max(initial=0)))
    return Threshold(None, 0, None, None, f"No threshold shows a precision of {precision:.1%} on {on}; {more}.")


def choose_thresholds(
    probabilities: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray | None = None,
    precision: float = 0.95,
    confidence: float = 0.95,
) -> tuple[Threshold, list[Threshold]]:
    """The common threshold, and the one that applies to each predicted class: what `predict` goes by.

    From validation probabilities (n, classes), targets and groups (n,). A class falls short if an upper bound of its
    precision lies below the required one among the photos whose confidence claims that. Then it needs a threshold at
    which it shows the precision by itself, or is never accepted: both at 1 − (1 − confidence) / classes, as there are
    many. All other classes, however few photos they have, share the common threshold, which is chosen on their photos.
    """
    predictions, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    correct, codes, classes = predictions == targets, group_codes(groups, len(targets)), probabilities.shape[1]
    icc, corrected = intraclass_correlation(correct, codes), 1 - (1 - confidence) / classes
    short = np.zeros(classes, dtype=bool)
    for target in np.unique(predictions):
        sure = (predictions == target) & (confidences >= precision)
        worth = effective_sizes(codes[sure], icc)[-1:]
        wrong = (1 - correct[sure].mean()) * worth if len(worth) else worth
        short[target] = (1 - lower_bound(wrong, worth, corrected) < precision).any()
    rest = ~short[predictions] if not short[predictions].all() else np.ones(len(targets), dtype=bool)
    common = choose_threshold(confidences[rest], correct[rest], codes[rest], precision, confidence, icc)
    each = [common] * classes
    for target in np.flatnonzero(short):
        of = predictions == target
        each[target] = choose_threshold(confidences[of], correct[of], codes[of], precision, corrected, icc)
    return common, each


def accepted_by(probabilities: np.ndarray, thresholds: Threshold | Sequence[Threshold]) -> Bools:
    """Which photos (n,) are accepted by a common threshold, or by that of the predicted class."""
    given = [thresholds] * probabilities.shape[1] if isinstance(thresholds, Threshold) else list(thresholds)
    least = np.array([np.inf if each.threshold is None else each.threshold for each in given])
    return np.asarray(probabilities.max(axis=1) >= least[probabilities.argmax(axis=1)])


def realised(
    probabilities: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray | None,
    thresholds: Threshold | Sequence[Threshold],
    confidence: float = 0.95,
) -> Realised:
    """Precision and coverage on test photos of a common threshold, or of one for each class."""
    accepted = accepted_by(probabilities, thresholds)
    correct = probabilities.argmax(axis=1) == targets
    return realised_by(accepted, correct, groups, confidence)


def realised_by(accepted: Bools, correct: Bools, groups: np.ndarray | None, confidence: float = 0.95) -> Realised:
    """The same, given which photos are accepted and which are right, (n,)."""
    count, photos = int(accepted.sum()), len(accepted)
    if not count:
        return Realised(None, None, None, 0.0, 0, photos)
    codes = group_codes(groups, photos)[accepted]
    interval = share_interval(correct[accepted], codes, confidence)
    return Realised(float(correct[accepted].mean()), interval.low, interval.high, count / photos, count, photos)


def realised_by_class(
    probabilities: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray | None,
    thresholds: Sequence[Threshold],
    confidence: float = 0.95,
) -> list[Realised]:
    """Precision and coverage of each class's threshold among the test photos predicted as that class."""
    predictions, codes = probabilities.argmax(axis=1), group_codes(groups, len(targets))
    chosen = (predictions == target for target in range(probabilities.shape[1]))
    return [realised(probabilities[of], targets[of], codes[of], thresholds, confidence) for of in chosen]


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


def _shown(threshold: float, right: int, accepted: int, worth: float, bound: float) -> Threshold:
    share = right / accepted
    return Threshold(
        threshold,
        accepted,
        share,
        bound,
        f"At a confidence of {threshold:.3f} or more, {share:.1%} of {_photos(accepted)}{_worth(accepted, worth)} are "
        f"correct (at least {bound:.1%}).",
    )


def _worth(photos: int, effective: float) -> str:
    """What photos in groups count for, in words; nothing where they count in full."""
    return f" (in groups, worth {effective:.0f})" if effective < photos - 0.5 else ""


def _photos(count: int) -> str:
    return "1 validation photo" if count == 1 else f"{count} validation photos"


def _two_digits(count: int) -> int:
    """Rounded up to two digits: an estimate should not look exact."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return -(-count // unit) * unit
