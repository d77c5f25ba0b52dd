"""What a share of right answers can promise: lower bounds that heed groups, and tests of many thresholds in a row.

Photos of one animal or one walk are right or wrong together, so they count for fewer: as many independent ones as give
the share its variance (Kish 1965, "Survey Sampling"). Thresholds are tried from the strictest down, in an order that
does not depend on errors, so that trying many does not weaken the promise (fixed-sequence testing; Angelopoulos et al.
2021, "Learn then Test").
"""

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from florafauna.base.errors import UserError
from florafauna.scores.bootstrap import group_codes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ROOM = 2.0  # a start is worth its share of the risk where there are so many times its photos
GROWTH = 1.02  # of the photos from one threshold tried to the next
FEW = 10  # independent photos from which what more of them would show is guessed
MOST_TIMES = 100  # more photos than there are that are thought of


def lower_bound(right: npt.ArrayLike, photos: npt.ArrayLike, confidence: float = 0.95) -> Floats:
    """One-sided Clopper-Pearson (1934) lower bound of a share, given that `right` of `photos` are correct.

    Both may be fractions, as effective sizes are.

    >>> round(float(lower_bound(95, 100)), 3)
    0.898
    """
    right, photos = np.asarray(right, dtype=np.float64), np.asarray(photos, dtype=np.float64)
    return np.where(right > 0, beta.ppf(1 - confidence, np.maximum(right, 1e-9), photos - right + 1), 0.0)


def intraclass_correlation(correct: np.ndarray, groups: np.ndarray | None) -> float:
    """How much alike photos of a group are in being right, 0 to 1, by analysis of variance (Donner & Koval 1980).

    One standard error (Smith 1956) is added, for too low a correlation would promise too much; it is 1 where groups
    have several photos and all photos are right, or none, as that says nothing about it.
    """
    codes, photos = group_codes(groups, len(correct)), len(correct)
    sizes = np.bincount(codes)
    units = len(sizes)
    if units == photos:
        return 0.0
    shares, mean = np.bincount(codes, correct) / sizes, float(np.mean(correct))
    if units == 1 or mean in (0.0, 1.0):
        return 1.0
    size = (photos - (sizes**2).sum() / photos) / (units - 1)
    between = (sizes * (shares - mean) ** 2).sum() / (units - 1)
    within = (sizes * shares * (1 - shares)).sum() / (photos - units)
    found = float(np.clip((between - within) / (between + (size - 1) * within), 0, 1))
    error = (1 - found) * (1 + (size - 1) * found) / size * np.sqrt(2 * (photos - 1) / (photos - units) / (units - 1))
    return min(1.0, found + float(error))


def effective_sizes(codes: Ints, icc: float) -> Floats:
    """How many independent photos the first 1, 2, … n of the photos are worth, (n,), given the group of each (n,).

    n² / Σ m (1 + (m − 1) icc), where m are the sizes of the groups so far.
    """
    order = np.argsort(codes, kind="stable")
    grouped, numbers = codes[order], np.arange(len(codes))
    begins = np.concatenate([[True], grouped[1:] != grouped[:-1]])[: len(codes)]
    before = np.empty(len(codes), dtype=np.int64)  # photos of the same group before each photo
    before[order] = numbers - np.maximum.accumulate(np.where(begins, numbers, 0))
    return np.asarray((numbers + 1.0) ** 2 / np.cumsum(1 + 2 * before * icc))


def starts(effective: float, precision: float, confidence: float) -> tuple[Floats, float]:
    """Where rows of tests start, in independent photos of which so many there are, and the risk that each may take.

    The risk, 1 − confidence, is divided evenly. The first start is the fewest photos that show the precision if all of
    them are right, each further one has twice as many: with a single start, one confident error would end it all.
    """
    for name, share in (("required precision", precision), ("confidence", confidence)):
        if not 0 < share < 1:
            raise UserError(f"The {name} must be between 0 and 1, not {share}.")
    count = 1
    while _fewest(precision, (1 - confidence) / (count + 1)) * 2**count * ROOM <= effective:
        count += 1
    risk = (1 - confidence) / count
    return np.array([_fewest(precision, risk) * 2**number for number in range(count)]), risk


def _fewest(precision: float, risk: float) -> float:
    return float(np.log(risk) / np.log(precision))


def tried(effective: Floats, precision: float, confidence: float) -> Ints:
    """How many of the photos, the most confident first, are accepted by each threshold tried, rising."""
    grown = np.maximum.accumulate(effective)
    first = starts(grown[-1], precision, confidence)[0][0]
    steps = np.arange(np.ceil(np.log(max(grown[-1] / first, 1)) / np.log(GROWTH)) + 1)
    counts = np.searchsorted(grown, first * GROWTH**steps - 1e-9) + 1
    return np.unique(np.minimum(counts, len(effective)))


def last_shown(right: Floats, effective: Floats, precision: float, confidence: float) -> tuple[int, float]:
    """The last of a row of thresholds that shows the precision, −1 if none does, and its lower bound.

    `right` and `effective` are independent photos, of which so many are right, at each threshold, the strictest first.
    A threshold that shows the precision hands the risk that it may take on to the next one, which adds its own if it is
    a start (the fallback procedure; Wiens & Dmitrienko 2005). The chance that any threshold passed is worse than the
    required precision stays below 1 − confidence.
    """
    grown = np.maximum.accumulate(effective)
    sizes, share = starts(grown[-1], precision, confidence)
    risks = np.zeros(len(grown))
    np.add.at(risks, np.minimum(np.searchsorted(grown, sizes - 1e-9), len(grown) - 1), share)
    last, spent, risk = -1, 0.0, 0.0
    for number, chance in enumerate(_chances(right, effective, precision)):
        risk += risks[number]
        if chance <= risk:
            last, spent = number, risk
        else:
            risk = 0.0
    return last, float(lower_bound(right[last], effective[last], 1 - spent)) if last >= 0 else 0.0


def photos_needed(right: Floats, effective: Floats, photos: int, precision: float, confidence: float) -> int | None:
    """About how many photos would show the precision, if as large a share of them is right.

    `right` and `effective` are those of thresholds, the strictest first, on the `photos` that there are, which do not
    show it. None if not even `MOST_TIMES` as many would.
    """
    most = float(effective.max(initial=0))
    enough = effective >= min(FEW, most)
    for times in GROWTH ** np.arange(1, np.ceil(np.log(MOST_TIMES) / np.log(GROWTH)) + 1):
        _, risk = starts(most * times, precision, confidence)
        if (_chances(right[enough] * times, effective[enough] * times, precision) <= risk).any():
            return int(np.ceil(photos * times))
    return None


def _chances(right: Floats, photos: Floats, precision: float) -> Floats:
    """How likely at least so many right ones are if the precision is only just too low (the tests' p-values)."""
    return np.where(right > 0, beta.cdf(precision, np.maximum(right, 1e-9), photos - right + 1), 1.0)
