"""Paired comparison: is one model better than another, given that photos of one group are not independent?

Both models are scored on the same resamples of groups, and the photos that only one of them gets right are tested
exactly (McNemar 1947). A model is called better only if both agree after Holm's (1979) correction for multiple
comparisons: the interval is about the score, and the test is valid for few photos, too. Models whose difference is
shown to be below a margin are practically the same, whether or not one is ahead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from scipy.stats import t as student

from florafauna.base.errors import UserError
from florafauna.compare._power import Collection, more_photos, smallest_difference
from florafauna.compare._tests import equivalence_p, exact_p, holm
from florafauna.compare._verdict import (
    BETTER,
    SAME,
    UNDECIDED,
    Circumstances,
    Comparison,
    Cost,
    ModelPair,
    sentence,
    verdict,
)
from florafauna.scores.bootstrap import (
    DEFAULT,
    ROUNDED,
    Floats,
    Resampling,
    Truth,
    group_codes,
    group_counts,
    resample_weights,
    summed_freedom,
    weighted_f1_of,
)


@dataclass(frozen=True)
class Candidate:
    """A model as a comparison sees it: the class numbers (n,) that it predicts for the test photos, and its size.

    `cost` orders candidates from cheap to dear. `seed_variance` is that of its weighted F1 over `seeds` trainings.
    """

    predicted: np.ndarray
    cost: Cost = ()
    seeds: int = 1
    seed_variance: float = 0.0


@dataclass(frozen=True)
class Question:
    """What is asked of a comparison: the margin within which models are practically the same, and how to resample.

    `collection` is what the test photos are part of; without it no number of photos to collect is given. `called` is
    what the photos are called in sentences. `possible` is how many pairs there might have been, where the best model is
    the best of several on these very photos: the highest score is ahead of the others by luck, too.
    """

    margin: float
    how: Resampling = DEFAULT
    collection: Collection | None = None
    called: str = "test photos"
    possible: int = 0


def compare_all(
    models: Mapping[str, Candidate],
    truth: Truth,
    question: Question,
    with_best: Mapping[str, Candidate] | None = None,
) -> Comparison:
    """Compare every pair of models; the first one is the best, chosen by the caller on other photos than these.

    `with_best` holds candidates (an ensemble) that are compared only with the best model: their pairs come last and
    count in Holm's correction, but the verdict leaves them out.

    The variance over training seeds is added to that of the difference, so that luck in training does not win.
    Raises UserError if there are no models or photos, or if a model has predictions for another number of photos.

    >>> targets = np.array([0, 1] * 50)
    >>> models = {"right": Candidate(targets), "wrong": Candidate(np.zeros(100, int))}
    >>> found = compare_all(models, Truth(targets, classes=2), Question(margin=0.01))
    >>> found.best, found.best_is_better
    ('right', True)
    """
    if not models:
        raise UserError("There are no models to compare.")
    confidence = question.how.confidence
    if not 0 < confidence < 1:
        raise UserError(f"The confidence must be between 0 and 1, not {confidence}.")
    everything = {**models, **(with_best or {})}
    for name, model in everything.items():
        if len(model.predicted) != len(truth.targets):
            raise UserError(f"Model {name} has {len(model.predicted)} predictions for {len(truth.targets)} photos.")
    points, resampled = _weighted_f1s({name: each.predicted for name, each in everything.items()}, truth, question.how)
    best = next(iter(models))
    names = [*combinations(models, 2), *((best, name) for name in with_best or {})]
    names = [(one, other) if points[one] >= points[other] else (other, one) for one, other in names]
    codes = group_codes(truth.groups, len(truth.targets))
    differences = []
    for first, second in names:
        both = everything[first], everything[second]
        net = _net_right(both[0].predicted, both[1].predicted, np.asarray(truth.targets), codes)
        value, drawn = points[first] - points[second], resampled[first] - resampled[second]
        differences.append(_difference(value, drawn, net, np.bincount(codes), both))
    ps, ps_same = [each.p for each in differences], [each.p_within(question.margin) for each in differences]
    unasked = [1.0] * max(question.possible - len(names), 0)
    corrected, corrected_same = holm([*ps, *unasked]), holm([*ps_same, *unasked])
    given = Circumstances(
        photos=len(truth.targets),
        called=question.called,
        margin=question.margin,
        costs={name: model.cost for name, model in everything.items()},
        once=[name for name, model in models.items() if model.seeds == 1],
        collection=question.collection,
    )
    pairs = []
    for at, (first, second) in enumerate(names):
        each, level = differences[at], (1 - confidence) / (len(names) + len(unasked))
        low, high = each.interval(confidence)
        better = low > 0 and each.net.sum() > 0 and corrected[at] <= 1 - confidence
        pair = ModelPair(
            first,
            second,
            each.value,
            low,
            high,
            p=ps[at],
            p_holm=corrected[at],
            p_same=ps_same[at],
            p_same_holm=corrected_same[at],
            finding=SAME if corrected_same[at] <= 1 - confidence else BETTER if better else UNDECIDED,
            smallest_difference=smallest_difference(each.of_equals, each.photos, each.of_seeds, level),
            more_photos=each.more_photos(level, question),
        )
        pairs.append(replace(pair, sentence=sentence(pair, given)))
    return verdict(list(models), pairs, given)


@dataclass(frozen=True)
class _Difference:
    """A difference in weighted F1, how it varies over resamples, and `net` (groups,): photos the first is ahead by.

    `of_photos` and `of_seeds` are variances; `photos` is how many independent photos the groups are worth.
    """

    value: float
    resampled: Floats
    net: npt.NDArray[np.int64]
    of_photos: float
    of_seeds: float
    photos: float
    freedom: float

    @property
    def of_equals(self) -> float:
        """The variance due to photos if there were no difference."""
        return self.of_photos + self.value**2 / self.photos

    @property
    def p(self) -> float:
        """p value of no difference: of the exact test, or, if larger, of the difference if trained again."""
        exact = exact_p(self.net)
        if self.of_seeds == 0:
            return exact
        error = (self.of_photos + self.of_seeds) ** 0.5
        return max(exact, float(2 * student.sf(abs(self.value) / error, self.freedom)))

    def p_within(self, margin: float) -> float:
        """p value of a difference within the margin."""
        return equivalence_p(self.value, self.of_photos, self.photos, margin, self.of_seeds, self.freedom)

    def interval(self, confidence: float) -> tuple[float, float]:
        """The percentile interval, widened for training seeds and, by Student's t, for few groups."""
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        quantile = float(student.ppf(tails[1], self.freedom))
        drawn = float(self.resampled.var())
        if drawn < ROUNDED:  # the same predictions, but for rounding
            half = quantile * self.of_seeds**0.5
            return self.value - half, self.value + half
        widen = ((self.of_photos + self.of_seeds) / drawn) ** 0.5 * quantile / float(norm.ppf(tails[1]))
        low, high = (float(bound) for bound in np.quantile(self.resampled, tails))
        low, high = min(low, self.value), max(high, self.value)
        return self.value - (self.value - low) * widen, self.value + (high - self.value) * widen

    def more_photos(self, level: float, question: Question) -> tuple[int, int] | None:
        """The photos to collect until the margin is the smallest difference that could be shown."""
        if question.collection is None:
            return None
        return more_photos(
            self.net,
            self.of_equals,
            self.photos,
            self.of_seeds,
            level,
            question.margin,
            question.how.confidence,
            question.collection,
        )


def _difference(
    value: float,
    resampled: Floats,
    net: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    models: tuple[Candidate, Candidate],
) -> _Difference:
    groups, photos = len(sizes), float(sizes.sum() ** 2 / (sizes**2).sum())
    variance = float(resampled.var()) * groups / max(groups - 1, 1)
    if variance < ROUNDED:  # the same predictions, but for rounding
        variance = 0.0
    of_seeds = [each.seed_variance for each in models]
    freedoms = [max(photos - 1, 1), *(max(each.seeds - 1, 1) for each in models)]
    # a variance of no photos is one of too few: that of one photo has as many degrees of freedom
    freedom = float(summed_freedom([max(variance, photos**-2), *of_seeds], freedoms))
    return _Difference(value, resampled, net, variance, sum(of_seeds), photos, freedom)


def _weighted_f1s(
    models: Mapping[str, np.ndarray], truth: Truth, how: Resampling
) -> tuple[dict[str, float], dict[str, Floats]]:
    """The weighted F1 of each model, and that of each resample, the same for all models."""
    counts = {name: group_counts(truth, predictions) for name, predictions in models.items()}
    points = {
        name: float(weighted_f1_of(np.asarray(each.sum(axis=1)).reshape(-1, 1))[0]) for name, each in counts.items()
    }
    parts: dict[str, list[Floats]] = {name: [] for name in models}
    for weights in resample_weights(truth, how):
        for name, each in counts.items():
            parts[name].append(weighted_f1_of(each @ weights.T))
    return points, {name: np.concatenate(each) for name, each in parts.items()}


def _net_right(
    first: np.ndarray, second: np.ndarray, targets: np.ndarray, codes: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """For each group, how many more of its photos the first model gets right."""
    net = (np.asarray(first) == targets).astype(np.int64) - (np.asarray(second) == targets)
    return np.bincount(codes, net).round().astype(np.int64)
