"""The learning curve: what an eighth, a quarter, half and all of the photos teach, and whether more would help."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import t as student

from florafauna.base.progress import track
from florafauna.compare.paired import holm
from florafauna.folds.draw import grouped_folds
from florafauna.scores.bootstrap import (
    ROUNDED,
    SCORES,
    Floats,
    Resampling,
    Truth,
    group_codes,
    group_counts,
    points_of,
    resample_weights,
    summed_freedom,
    weighted_f1_of,
)
from florafauna.screen._heads import Photos, rounds, solved_among
from florafauna.training.frozen import logistic

PARTS = 8  # or as many as there are groups
SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)  # of the photos that a head is fitted to
NAMED = 5  # classes in the sentence


@dataclass(frozen=True)
class LearningCurve:
    """The class index that each photo gets, int64 (draws, shares, photos), and how many photos taught it (shares,)."""

    predicted: np.ndarray
    fitted: Floats

    def scores(self, truth: Truth) -> dict[str, Floats]:
        """Each score of each draw, (draws, shares)."""
        found = np.array([[points_of(truth, each) for each in draw] for draw in self.predicted])
        return {name: found[:, :, at] for at, name in enumerate(SCORES)}


@dataclass(frozen=True)
class Gain:
    """By how much a score rose from half of the photos to all of them, with its interval and its one-sided p value."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Gains:
    """The gains of weighted F1 and of each class's F1, the classes' F1 with all photos, and a sentence.

    The p values of classes are corrected for their number (Holm).
    """

    weighted_f1: Gain
    classes: list[Gain]
    f1: Floats
    sentence: str


def learning_curve(
    features: torch.Tensor, photos: Photos, folds: int, draws: int, seed: int, device: torch.device
) -> LearningCurve:
    """Cross-validate the solved head with shares of its photos, nested, drawn by groups and stratified.

    The first draw with all photos is the cross-validation that backbones are compared by. Fewer photos want no weaker
    L2 penalty than all of them, so none is tried.
    """
    predicted = np.empty((draws, len(SHARES), len(photos.targets)), dtype=np.int64)
    fitted = np.zeros(len(SHARES))
    for draw in track(range(draws), "learning curve", draws):
        for fold in rounds(photos, folds, seed + draw):
            groups = [photos.groups[row] for row in fold.fit]
            parts = min(PARTS, len(set(groups)))
            part = grouped_folds(photos.targets[fold.fit], groups, parts, seed + draw)
            l2s: Sequence[float] = logistic.L2
            for at, share in reversed(list(enumerate(SHARES))):
                some = replace(fold, fit=fold.fit[part < share * parts])
                predicted[draw, at, fold.score], l2 = solved_among(l2s, features, photos, some, device)
                l2s = [each for each in l2s if each >= l2]
                fitted[at] += len(some.fit) / (draws * folds)
    return LearningCurve(predicted, fitted)


def gains(curve: LearningCurve, photos: Photos, how: Resampling, name: str) -> Gains:
    """What the second half of the photos has brought, beyond the noise of draws and of the photos scored."""
    truth = photos.truth
    half, full = SHARES.index(1 / 2), SHARES.index(1.0)
    by_draw = np.array([_f1s(_total(truth, draw[full])) - _f1s(_total(truth, draw[half])) for draw in curve.predicted])
    counts = {at: sum(group_counts(truth, draw[at]) for draw in curve.predicted) for at in (half, full)}
    value = _f1s(counts[full].sum(axis=1)[:, None]) - _f1s(counts[half].sum(axis=1)[:, None])
    total, squares = np.zeros(len(value)), np.zeros(len(value))
    for weights in resample_weights(truth, how):
        difference = _f1s(counts[full] @ weights.T) - _f1s(counts[half] @ weights.T) - value
        total += difference.sum(axis=1)
        squares += (difference**2).sum(axis=1)
    sizes = np.bincount(group_codes(truth.groups, len(truth.targets)))
    of_photos = squares / how.resamples - (total / how.resamples) ** 2
    of_photos *= len(sizes) / max(len(sizes) - 1, 1)
    of_draws = by_draw[:, :, 0].var(axis=0, ddof=1) / len(by_draw)
    equal = sizes.sum() ** 2 / (sizes**2).sum()  # groups of equal size that would be worth as much
    freedom = summed_freedom([of_photos, of_draws], [max(equal - 1, 1), len(by_draw) - 1])
    variance = of_photos + of_draws
    # where no photo's answer has changed, one might have: its score is not known to the last digit
    counted = np.bincount(photos.targets, minlength=len(photos.labels))
    one_photo = 1 / np.maximum([len(photos.targets), *counted], 1)
    error = np.where(variance > ROUNDED, np.sqrt(np.maximum(variance, 0)), one_photo)
    value, half_width = value[:, 0], student.ppf((1 + how.confidence) / 2, freedom) * error
    p = student.sf(value / error, freedom)
    found = [
        Gain(float(each), float(each - half), float(each + half), float(one))
        for each, half, one in zip(value, half_width, [p[0], *holm(p[1:].tolist())], strict=True)
    ]
    f1 = _f1s(counts[full].sum(axis=1)[:, None])[1:, 0]
    return Gains(found[0], found[1:], f1, _sentence(name, found[0], found[1:], photos.labels, 1 - how.confidence))


def _total(truth: Truth, predicted: np.ndarray) -> Floats:
    """The counts of all photos, (3 · classes, 1)."""
    return np.asarray(group_counts(truth, predicted).sum(axis=1)).reshape(-1, 1)


def _f1s(counts: Floats) -> Floats:
    """Weighted F1, then the F1 of each class, (1 + classes, columns), from counts (3 · classes, columns)."""
    right, true, predicted = np.split(np.asarray(counts, dtype=np.float64), 3)
    whole = true + predicted
    f1 = np.divide(2 * right, whole, out=np.zeros_like(whole), where=whole > 0)
    return np.concatenate([weighted_f1_of(counts)[None], f1])


def _sentence(name: str, gain: Gain, classes: list[Gain], labels: list[str], level: float) -> str:
    certain = sorted((at for at in range(len(classes)) if classes[at].p <= level), key=lambda at: -classes[at].value)
    some = ", ".join(f"{labels[at]} ({_points(classes[at].value)})" for at in certain[:NAMED])
    more = f" and {len(certain) - NAMED} more classes" if len(certain) > NAMED else ""
    change = (
        f"with all photos instead of half of them the weighted F1 of {name} changed by {_points(gain.value)} points"
    )
    change += f" ({_points(gain.low)} to {_points(gain.high)})"
    if gain.low > 0:
        of_classes = f"most clearly those of {some}{more}" if certain else "though no single class gained beyond noise"
        return f"More photos would help, {of_classes}: {change}."
    of_classes = f"; of the classes, {some}{more} gained beyond noise" if certain else ""
    return f"Whether more photos would help is within noise: {change}{of_classes}."


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-0.0", "0.0")
