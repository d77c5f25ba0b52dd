"""Confidence intervals of scores, by resampling groups of photos: photos of one animal or one walk are not independent.

Every score here is a function of three counts per class: photos of the class, photos predicted as it, and photos of it
predicted as it. Counts add up over groups, so a resample is a weight for each group, and all resamples of all scores
are one product of weights and counts (the cluster bootstrap; Davison & Hinkley 1997, "Bootstrap Methods and their
Application", 3.8).

With so few photos percentile intervals are too narrow (88 % instead of 95 % for 100 photos at an accuracy of 0.96, and
resamples lose rare classes), BCa intervals less so. The intervals here had the best coverage in simulation: Wilson's
(1927), which stay within 0 and 1 and are informative even if every photo is correct, for the number of photos that
would give the score its resampled variance (the effective sample size of Korn & Graubard 1998), with Student's t for
few or unequal groups, and for the few photos of rare classes that means over classes hang on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.stats import t as student

from florafauna.base.errors import UserError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SCORES = ("weighted_f1", "macro_f1", "accuracy", "balanced_accuracy")
ENOUGH = 5  # photos of a class that macro F1 and balanced accuracy count: the F1 of fewer is noise

ROUNDED = 1e-20  # a variance below it is rounding: groups are alike, or there is only one

_CHUNK = 250_000  # weights held at a time: 2 MB stay in the cache (64 MB take 1.5 to 3.5 times as long)


@dataclass(frozen=True)
class Truth:
    """The ground truth of n photos: their class numbers (n,), the number of classes, and which photos belong together.

    `groups` (n,) names the group of each photo; without it each photo is a group of its own.
    """

    targets: np.ndarray
    classes: int
    groups: np.ndarray | None = None


@dataclass(frozen=True)
class Resampling:
    """The number of resamples, their seed, and the confidence of the intervals."""

    resamples: int = 10_000
    seed: int = 0
    confidence: float = 0.95


DEFAULT = Resampling()


@dataclass(frozen=True)
class Interval:
    """The bounds of a score, or of a difference of scores, at the stated confidence."""

    low: float
    high: float


@dataclass(frozen=True)
class ClassIntervals:
    """Intervals of one class's precision, recall and F1; 0 to 1 where there is no photo to measure it on."""

    precision: Interval
    recall: Interval
    f1: Interval


def group_codes(groups: np.ndarray | None, photos: int) -> Ints:
    """Groups as numbers from 0 (photos,); without groups each photo is a group of its own."""
    if groups is None:
        return np.arange(photos)
    if len(groups) != photos:
        raise UserError(f"There are {len(groups)} groups for {photos} photos; give one for each photo.")
    return np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1).astype(np.int64)


def resample_weights(truth: Truth, how: Resampling) -> Iterator[Floats]:
    """How often each group is drawn in each resample, in chunks (resamples in the chunk, groups).

    A resample draws as many groups as there are, with replacement. Chunks depend only on the number of groups, so the
    same seed gives every model the same resamples.
    """
    rng = np.random.default_rng(how.seed)
    count = int(group_codes(truth.groups, len(truth.targets)).max(initial=-1)) + 1
    if count == 0:
        raise UserError("There are no photos to resample.")
    chunk = max(1, _CHUNK // count)
    for start in range(0, how.resamples, chunk):
        rows = min(chunk, how.resamples - start)
        drawn = rng.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def group_counts(truth: Truth, predictions: np.ndarray) -> sparse.csr_array:
    """The counts of each class in each group, (3 · classes, groups): true positives, photos, predictions."""
    targets, predictions, classes = np.asarray(truth.targets), np.asarray(predictions), truth.classes
    codes = group_codes(truth.groups, len(targets))
    if len(targets) != len(predictions):
        raise UserError(f"There are {len(predictions)} predictions for {len(targets)} photos; give one for each photo.")
    right = targets == predictions
    rows = np.concatenate([targets[right], classes + targets, 2 * classes + predictions])
    columns = np.concatenate([codes[right], codes, codes])
    shape = (3 * classes, int(codes.max(initial=-1)) + 1)
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)


def counted_classes(photos: np.ndarray) -> npt.NDArray[np.bool_]:
    """Which classes macro F1 and balanced accuracy are means over, from the number of photos of each (classes,).

    Those with `ENOUGH` photos, or, where no class has so many, those with the most.

    >>> counted_classes(np.array([40, 5, 4, 0])).tolist()
    [True, True, False, False]
    """
    return np.asarray(photos >= min(ENOUGH, photos.max()))


def scores_of(counts: np.ndarray, counted: np.ndarray) -> Floats:
    """The scores in `SCORES`, (4, columns), from counts (3 · classes, columns), as scikit-learn defines them.

    Macro F1 and balanced accuracy are means over the `counted` classes, (classes,) of bool. A resample that lacks one
    of them is a mean over the others: a class without photos is not one that is always wrong.
    """
    right, true, predicted = np.split(np.asarray(counts, dtype=np.float64), 3)
    f1, photos, classes = _share(2 * right, true + predicted), true.sum(axis=0), (true[counted] > 0).sum(axis=0)
    return np.stack(
        [
            _share((f1 * true).sum(axis=0), photos),
            _share(f1[counted].sum(axis=0), classes),
            _share(right.sum(axis=0), photos),
            _share(_share(right[counted], true[counted]).sum(axis=0), classes),
        ]
    )


def weighted_f1_of(counts: np.ndarray) -> Floats:
    """The weighted F1 alone, (columns,), from counts (3 · classes, columns)."""
    right, true, predicted = np.split(np.asarray(counts, dtype=np.float64), 3)
    return _share((_share(2 * right, true + predicted) * true).sum(axis=0), true.sum(axis=0))


def resampled_scores(truth: Truth, predictions: np.ndarray, how: Resampling) -> Floats:
    """The scores in `SCORES` for each resample, (4, resamples)."""
    counts, counted = group_counts(truth, predictions), _counted(truth)
    return np.concatenate([scores_of(counts @ weights.T, counted) for weights in resample_weights(truth, how)], axis=1)


def score_intervals(
    truth: Truth, predictions: np.ndarray, how: Resampling = DEFAULT, of_seeds: Sequence[np.ndarray] = ()
) -> dict[str, Interval]:
    """The interval of each score in `SCORES`, given predicted class numbers (n,).

    Resampling gives the variance of a score, Wilson's formula its interval (see the module). With the predictions of
    further training seeds, `of_seeds`, the interval is wider by the variance between seeds: it is then about the
    training, of which this model is one outcome.

    >>> truth = Truth(np.array([0, 0, 1, 1, 1]), classes=2)
    >>> interval = score_intervals(truth, np.array([0, 1, 1, 1, 1]))["accuracy"]
    >>> bool(interval.low < 0.8 < interval.high)
    True
    """
    codes, counts = group_codes(truth.groups, len(truth.targets)), group_counts(truth, predictions)
    resampled = resampled_scores(truth, predictions, how)
    point, left_out = _point_and_jackknife(counts, _counted(truth))
    units, equal = counts.shape[1], _equal_groups(codes)
    deviations = left_out - left_out.mean(axis=1, keepdims=True)
    # Resamples lose rare classes, so they vary too little; leaving out one group at a time shows the variance.
    bootstrapped = resampled.var(axis=1) * units / max(units - 1, 1)
    variance = np.maximum(bootstrapped, (units - 1) / units * (deviations**2).sum(axis=1))
    effective = np.where(variance > ROUNDED, point * (1 - point) / np.maximum(variance, ROUNDED), equal)
    freedom = _freedom(deviations, equal, units)
    if units == len(codes):  # in means over classes, the photos of rare ones are few and weigh much, even alone
        freedom[[SCORES.index(name) for name in ("weighted_f1", "accuracy")]] = equal - 1
    low, high = _wilson(point, effective, _quantile(freedom, how.confidence))
    if of_seeds:
        runs = np.stack([point, *(points_of(truth, each) for each in of_seeds)])
        wider = _widened(high - low, freedom, runs.var(axis=0, ddof=1), len(runs) - 1, how.confidence)
        low, high = np.clip(point - wider * (point - low), 0, 1), np.clip(point + wider * (high - point), 0, 1)
    return {name: Interval(float(low[at]), float(high[at])) for at, name in enumerate(SCORES)}


def per_class_intervals(truth: Truth, predictions: np.ndarray, confidence: float = 0.95) -> list[ClassIntervals]:
    """Intervals of precision, recall and F1 of each class, in closed form: nothing is drawn.

    Each is Wilson's interval for the number of photos that would give the share its jackknife variance, leaving out
    one group at a time (Korn & Graubard 1998). F1 = 2J / (1 + J), where J is the share of true positives among the
    photos that are of the class or predicted as it (Jaccard), so its interval is that of J, transformed.
    """
    classes, counts = truth.classes, group_counts(truth, predictions)
    chunk = max(1, _CHUNK // (8 * counts.shape[1]))  # classes at a time: eight arrays of them are in memory
    found = []
    for start in range(0, classes, chunk):
        stop = min(start + chunk, classes)
        right, true, predicted = (counts[row + start : row + stop].toarray() for row in (0, classes, 2 * classes))
        precision = _shares_of_groups(right, predicted, confidence)
        recall = _shares_of_groups(right, true, confidence)
        jaccard = _shares_of_groups(right, true + predicted - right, confidence)
        f1 = [Interval(2 * each.low / (1 + each.low), 2 * each.high / (1 + each.high)) for each in jaccard]
        found += [ClassIntervals(*each) for each in zip(precision, recall, f1, strict=True)]
    return found


def share_interval(correct: np.ndarray, groups: np.ndarray | None = None, confidence: float = 0.95) -> Interval:
    """The interval of a share, such as that of right answers, given which photos are (n,): see `per_class_intervals`.

    >>> interval = share_interval(np.array([True] * 9 + [False]))
    >>> round(interval.low, 2), round(interval.high, 2)
    (0.58, 0.98)
    """
    codes = group_codes(groups, len(correct))
    right, photos = (np.bincount(codes, each)[None].astype(np.float64) for each in (correct, np.ones(len(codes))))
    return _shares_of_groups(right, photos, confidence)[0]


def _shares_of_groups(right: Floats, of: Floats, confidence: float) -> list[Interval]:
    """Intervals of right / of; both are counts (classes, groups)."""
    photos, groups = of.sum(axis=1), (of > 0).sum(axis=1)
    equal = _share(photos**2, (of**2).sum(axis=1))
    share = _share(right.sum(axis=1), photos)
    # What leaving each group out does to the share: the jackknife, in closed form.
    deviations = _share(right - share[:, None] * of, photos[:, None] - of)
    variance = (deviations**2).sum(axis=1) * _share(groups - 1, groups)
    # A class that is always (or never) correct shows no variance: then the number of its groups is used.
    effective = np.where(variance > ROUNDED, share * (1 - share) / np.maximum(variance, ROUNDED), equal)
    freedom = np.where(equal == photos, np.inf, _freedom(deviations, equal, groups))
    low, high = _wilson(share, np.clip(effective, np.minimum(groups, 1), photos), _quantile(freedom, confidence))
    return [
        Interval(float(low[at]), float(high[at])) if photos[at] else Interval(0.0, 1.0) for at in range(len(photos))
    ]


def summed_freedom(variances: Sequence[npt.ArrayLike], freedoms: Sequence[npt.ArrayLike]) -> Floats:
    """Degrees of freedom of a sum of independent variances (Satterthwaite 1946); infinite where all are 0.

    >>> float(summed_freedom([3.0, 1.0], [np.inf, 2]))
    32.0
    """
    parts = [np.asarray(each) ** 2 / freedom for each, freedom in zip(variances, freedoms, strict=True)]
    total, spread = sum(np.asarray(each) for each in variances), np.sum(parts, axis=0)
    return np.divide(total**2, spread, out=np.full(np.shape(spread), np.inf), where=spread > 0)


def _widened(width: Floats, freedom: Floats, of_seeds: Floats, seeds: int, confidence: float) -> Floats:
    """How many times as wide an interval of photos alone becomes with a variance of so many degrees of freedom more."""
    before = (width / (2 * _quantile(freedom, confidence))) ** 2
    after = _quantile(summed_freedom([before, of_seeds], [freedom, seeds]), confidence)
    return np.asarray(2 * after * (before + of_seeds) ** 0.5 / width)


def _counted(truth: Truth) -> npt.NDArray[np.bool_]:
    return counted_classes(np.bincount(truth.targets, minlength=truth.classes))


def points_of(truth: Truth, predictions: np.ndarray) -> Floats:
    """The scores in `SCORES`, (4,)."""
    total = np.asarray(group_counts(truth, predictions).sum(axis=1)).reshape(-1, 1)
    return scores_of(total, _counted(truth))[:, 0]


def _point_and_jackknife(counts: sparse.csr_array, counted: np.ndarray) -> tuple[Floats, Floats]:
    """The scores (4,) and the scores without each group (4, groups), a chunk of groups at a time."""
    total = np.asarray(counts.sum(axis=1)).reshape(-1, 1)
    columns, chunk = counts.tocsc(), max(1, _CHUNK // counts.shape[0])
    parts = [
        scores_of(total - columns[:, start : start + chunk].toarray(), counted)
        for start in range(0, counts.shape[1], chunk)
    ]
    return scores_of(total, counted)[:, 0], np.concatenate(parts, axis=1)


def _equal_groups(codes: Ints) -> float:
    """The effective number of groups: how many of equal size are worth as much (Kish 1965, "Survey Sampling")."""
    sizes = np.bincount(codes)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def _freedom(deviations: Floats, equal: npt.ArrayLike, groups: npt.ArrayLike) -> Floats:
    """Degrees of freedom of a variance summed from the deviations of few groups, (scores, groups) → (scores,).

    Satterthwaite's (1946): those of the chi-square with the same relative spread. Few where few groups dominate the
    variance, never more than groups of equal size would give.
    """
    squares, most = deviations**2, np.maximum(np.asarray(equal) - 1, 1)
    spread = _share((squares**2).sum(axis=1), squares.sum(axis=1) ** 2) - 1 / np.maximum(groups, 1)
    return np.clip(2 / np.maximum(spread, 1e-9), np.minimum(4.0, most), most)


def _quantile(freedom: npt.ArrayLike, confidence: float) -> Floats:
    if not 0 < confidence < 1:
        raise UserError(f"The confidence must be between 0 and 1, not {confidence}.")
    return np.asarray(student.ppf((1 + confidence) / 2, np.maximum(freedom, 1)))


def _wilson(share: Floats, photos: Floats, quantile: Floats) -> tuple[Floats, Floats]:
    """Bounds of Wilson's (1927) score interval for shares of `photos` photos."""
    square = quantile**2
    centre = (share * photos + square / 2) / (photos + square)
    half = quantile / (photos + square) * np.sqrt(share * (1 - share) * photos + square / 4)
    # Rounding must not push a bound past the share itself, nor past 0 or 1.
    return np.clip(np.minimum(centre - half, share), 0, 1), np.clip(np.maximum(centre + half, share), 0, 1)


def _share(part: np.ndarray, whole: np.ndarray) -> Floats:
    """part / whole; 0 where whole is 0."""
    whole = np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
