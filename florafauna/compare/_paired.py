"""Paired comparison: is one model better than another, given that photos of one group are not independent?

Both models are scored on the same resamples of groups, and the photos that only one of them gets right are tested
exactly (McNemar 1947). A model is called better only if both agree after Holm's (1979) correction for multiple
comparisons: the interval is about the score, and the test is valid for few photos, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, binomtest, norm

from florafauna.base.errors import UserError
from florafauna.scores.bootstrap import (
    DEFAULT,
    SCORES,
    Floats,
    Resampling,
    Truth,
    group_codes,
    group_counts,
    resample_weights,
    scores_of,
)

POWER = 0.8
MOST_TIMES_MORE = 100  # beyond this many times the photos at hand no number is given: it would be a guess

_WEIGHTED_F1 = SCORES.index("weighted_f1")


@dataclass(frozen=True)
class ModelPair:
    """Two models, the one that scores higher first, and their difference in weighted F1.

    `low` and `high` bound the difference. `p` is that of the exact test (or of the difference over training seeds, if
    larger), `p_holm` is corrected for the number of pairs. `more_photos_needed` would distinguish the models with a
    power of 80 % (None: they are distinguishable, or no practical number would).
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    distinguishable: bool
    more_photos_needed: int | None
    sentence: str


@dataclass(frozen=True)
class Comparison:
    """All pairs of models, the one that scores highest, whether it is better than all others, and a verdict."""

    pairs: list[ModelPair]
    best: str
    best_is_better: bool
    verdict: str


def compare_all(
    models: Mapping[str, np.ndarray],
    truth: Truth,
    how: Resampling = DEFAULT,
    seed_variance: Mapping[str, float] | None = None,
    with_best: Mapping[str, np.ndarray] | None = None,
) -> Comparison:
    """Compare every pair of models by the class numbers (n,) that each predicts for the same photos.

    `with_best` holds predictions (of an ensemble) that are compared only with the best model: their pairs come last
    and count in Holm's correction, but they are not candidates for `best` and the verdict leaves them out.

    `seed_variance` is the variance of a model's weighted F1 over training seeds; it is added to that of the difference,
    so that luck in training does not win. Raises UserError if there are no models or photos, or if a model has
    predictions for another number of photos.

    >>> targets = np.array([0, 1] * 50)
    >>> found = compare_all({"right": targets, "wrong": np.zeros(100, int)}, Truth(targets, classes=2))
    >>> found.best, found.best_is_better
    ('right', True)
    """
    if not models:
        raise UserError("There are no models to compare.")
    confidence = how.confidence
    if not 0 < confidence < 1:
        raise UserError(f"The confidence must be between 0 and 1, not {confidence}.")
    targets = np.asarray(truth.targets)
    everything = {**models, **(with_best or {})}
    for name, predictions in everything.items():
        if len(predictions) != len(targets):
            raise UserError(f"Model {name} has {len(predictions)} predictions for {len(targets)} photos.")
    codes = group_codes(truth.groups, len(targets))
    points, resampled = _weighted_f1s(everything, truth, how)
    ranked = sorted(models, key=lambda name: -points[name])
    names = list(combinations(ranked, 2))
    top = ranked[0]
    names += [(name, top) if points[name] > points[top] else (top, name) for name in with_best or {}]
    nets = [_net_right(everything[first], everything[second], targets, codes) for first, second in names]
    luck = [sum((seed_variance or {}).get(name, 0.0) for name in pair) for pair in names]
    differences = [
        _difference(points[first] - points[second], resampled[first] - resampled[second], codes, extra, confidence)
        for (first, second), extra in zip(names, luck, strict=True)
    ]
    exact = [exact_p(net) for net in nets]
    tests = [max(p, _p_with_luck(each)) for p, each in zip(exact, differences, strict=True)]
    corrected_tests, level = holm(tests), (1 - confidence) / max(len(names), 1)
    pairs = []
    for at, (first, second) in enumerate(names):
        each, corrected, more_right = differences[at], corrected_tests[at], int(nets[at].sum())
        told = bool(each.low > 0 and more_right > 0 and corrected <= 1 - confidence)
        hopeful = not told and more_right > 0
        more = _more_photos(each, exact[at], level, len(targets)) if hopeful else None
        sentence = _sentence(first, second, each, told, more, len(targets))
        pairs.append(
            ModelPair(first, second, each.value, each.low, each.high, tests[at], corrected, told, more, sentence)
        )
    best, of_best = ranked[0], [pair for pair in pairs if pair.first == ranked[0] and pair.second in models]
    better = bool(of_best) and all(pair.distinguishable for pair in of_best)
    return Comparison(pairs, best, better, _verdict(best, of_best, len(targets)))


def exact_p(net: np.ndarray) -> float:
    """Two-sided exact p value of `net` (groups,): by how many photos of each group the first model is ahead.

    If neither model is better, the sign of each group is a fair coin toss. If groups are single photos, this is
    McNemar's exact test; otherwise it is the exact sign-flip test, computed by convolution instead of enumeration.

    >>> exact_p(np.array([1, 1, 1, 1, 1, 0, -1]))
    0.21875
    """
    sizes = np.abs(np.asarray(net)[np.asarray(net) != 0]).astype(np.int64)
    if len(sizes) == 0:
        return 1.0
    seen = abs(int(np.asarray(net).sum()))
    if (sizes == 1).all():
        return float(binomtest((len(sizes) + seen) // 2, len(sizes), 0.5).pvalue)
    shares = np.ones(1)  # probability of each sum of signed sizes, from −total to total in steps of 2
    for size, groups in zip(*np.unique(sizes, return_counts=True), strict=True):
        spaced = np.zeros(int(size) * int(groups) + 1)
        spaced[:: int(size)] = binom.pmf(np.arange(groups + 1), groups, 0.5)
        shares = np.convolve(shares, spaced)
    sums = 2 * np.arange(len(shares)) - int(sizes.sum())
    return min(1.0, float(shares[np.abs(sums) >= seen].sum()))


def holm(ps: list[float]) -> list[float]:
    """p values corrected for multiple comparisons (Holm 1979), which controls the family-wise error rate.

    >>> holm([0.01, 0.04])
    [0.02, 0.04]
    """
    order = np.argsort(ps, kind="stable")
    corrected, largest = [1.0] * len(ps), 0.0
    for place, at in enumerate(order):
        largest = max(largest, min(1.0, ps[at] * (len(ps) - place)))
        corrected[at] = largest
    return corrected


@dataclass(frozen=True)
class _Difference:
    value: float
    low: float
    high: float
    of_photos: float  # variance
    of_seeds: float  # variance


def _weighted_f1s(
    models: Mapping[str, np.ndarray], truth: Truth, how: Resampling
) -> tuple[dict[str, float], dict[str, Floats]]:
    """The weighted F1 of each model, and that of each resample, the same for all models."""
    counts = {name: group_counts(truth, predictions) for name, predictions in models.items()}
    points = {
        name: float(scores_of(np.asarray(each.sum(axis=1)).reshape(-1, 1))[_WEIGHTED_F1, 0])
        for name, each in counts.items()
    }
    parts: dict[str, list[Floats]] = {name: [] for name in models}
    for weights in resample_weights(truth, how):
        for name, each in counts.items():
            parts[name].append(scores_of(each @ weights.T)[_WEIGHTED_F1])
    return points, {name: np.concatenate(each) for name, each in parts.items()}


def _net_right(
    first: np.ndarray, second: np.ndarray, targets: np.ndarray, codes: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """For each group, how many more of its photos the first model gets right."""
    net = (np.asarray(first) == targets).astype(np.int64) - (np.asarray(second) == targets)
    return np.bincount(codes, net).round().astype(np.int64)


def _difference(
    value: float, resampled: Floats, codes: npt.NDArray[np.int64], luck: float, confidence: float
) -> _Difference:
    """The difference with its percentile interval, widened for training seeds and for few groups."""
    groups = int(codes.max()) + 1
    variance = float(resampled.var()) * groups / max(groups - 1, 1)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    if variance < 1e-20:  # the same predictions, but for rounding
        half = norm.ppf(tails[1]) * luck**0.5
        return _Difference(value, value - half, value + half, 0.0, luck)
    widen = ((variance + luck) / float(resampled.var())) ** 0.5
    low, high = (float(bound) for bound in np.quantile(resampled, tails))
    low, high = min(low, value), max(high, value)
    return _Difference(value, value - (value - low) * widen, value + (high - value) * widen, variance, luck)


def _p_with_luck(difference: _Difference) -> float:
    """p value of the difference if training were repeated, too; 0 where training seeds are not considered."""
    if difference.of_seeds == 0:
        return 0.0
    error = (difference.of_photos + difference.of_seeds) ** 0.5
    return float(2 * norm.sf(abs(difference.value) / error))


def _sentence(first: str, second: str, difference: _Difference, told: bool, more: int | None, photos: int) -> str:
    if told:
        return f"{first} is better than {second} {_margin(difference)}"
    needed = f"about {more} more would be needed" if more else "no practical number of photos would tell them apart"
    return f"{first} and {second} are not distinguishable on {photos} photos; {needed}"


def _more_photos(difference: _Difference, p: float, level: float, photos: int) -> int | None:
    """How many more photos would show this difference at this level with a power of 80 %, to two digits.

    The standard error due to photos falls with the root of their number; the part due to training seeds stays.
    """
    wanted = float(norm.isf(level / 2) + norm.ppf(POWER))
    allowed = (difference.value / wanted) ** 2 - difference.of_seeds
    # The test may be weaker than the interval; then the test determines how many photos are needed.
    by_test = (wanted / max(float(norm.isf(p / 2)), 1e-9)) ** 2
    if difference.value <= 0 or allowed <= 0:
        return None
    more = photos * (max(difference.of_photos / allowed, by_test) - 1)
    if more > MOST_TIMES_MORE * photos:
        return None
    return max(1, int(float(f"{more:.1e}")))


def _verdict(best: str, pairs: list[ModelPair], photos: int) -> str:
    if not pairs:
        return f"{best} is the only model"
    others = [pair.second for pair in pairs if not pair.distinguishable]
    if len(pairs) == 1:
        return pairs[0].sentence
    if not others:
        margins = _and([f"{_margin(pair)} over {pair.second}" for pair in pairs])
        return f"{best} is the best of {len(pairs) + 1} models: {margins}"
    alike = f"{best} scores highest but is not distinguishable from {_and(others)} on {photos} photos"
    known = [pair.more_photos_needed for pair in pairs if not pair.distinguishable]
    needed = [more for more in known if more is not None]
    if len(needed) < len(known):
        return f"{alike}; no practical number of photos would tell them all apart"
    return f"{alike}; about {max(needed)} more would be needed"


def _margin(difference: ModelPair | _Difference) -> str:
    value = difference.difference if isinstance(difference, ModelPair) else difference.value
    return f"by {_points(value)} points ({_points(difference.low)} to {_points(difference.high)})"


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _points(share: float) -> str:
    return f"{100 * share:.1f}".replace("-0.0", "0.0")
