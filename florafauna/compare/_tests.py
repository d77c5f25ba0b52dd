"""Tests of a difference between two models on the same photos: is there one, and is it too small to matter?"""

import numpy as np
from scipy.special import betainc
from scipy.stats import binom, binomtest
from scipy.stats import t as student


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


def equivalence_p(
    difference: float, variance: float, photos: float, margin: float, of_seeds: float = 0.0, freedom: float = np.inf
) -> float:
    """p value of the claim that the true difference is within ±`margin`: two one-sided tests (Schuirmann 1987).

    `variance` is that of the difference due to photos, of which there are `photos` independent ones; `of_seeds` is
    added to it, and `freedom` are the degrees of freedom of both.

    >>> equivalence_p(0.0, 0.02 / 5000, 5000, margin=0.01) < 0.05 < equivalence_p(0.0, 0.0, 100, margin=0.01)
    True
    """
    return max(_p_of_more(each, variance, photos, margin, of_seeds, freedom) for each in (difference, -difference))


def _p_of_more(
    difference: float, variance: float, photos: float, margin: float, of_seeds: float, freedom: float
) -> float:
    """p value of one side: were the true difference `margin`, how often would one be seen that is this small?

    Few photos that tell the models apart show too little variance, none shows none. So the variance is the one to
    expect if the difference were `margin` (the score test of Tango 1998; its b and c are the photos that only the
    first and only the second model gets right), and the binomial tail holds where all of them favour one model.
    """
    apart = max(photos * variance + difference**2, abs(difference))  # the share of photos that tell the models apart
    first, second = photos * (apart + difference) / 2, photos * (apart - difference) / 2
    linear = margin * (2 * photos - first + second) - first - second
    root = (linear**2 + 8 * photos * second * margin * (1 - margin)) ** 0.5
    of_second = (root - linear) / (4 * photos)
    expected = (2 * of_second + margin * (1 - margin)) / photos
    by_score = float(student.sf((margin - difference) / (expected + of_seeds) ** 0.5, freedom))
    ahead = max(photos * difference, 0.0)
    by_count = float(betainc(photos - ahead, ahead + 1, 1 - margin)) if ahead < photos else 1.0
    return max(by_score, by_count)


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
