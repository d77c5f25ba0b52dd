"""What a comparison could have shown: the smallest difference, and the photos to collect for a smaller one."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, gamma, norm

POWER = 0.8


@dataclass(frozen=True)
class Collection:
    """How many photos were collected in all, and how many of them are test photos."""

    photos: int
    tested: int

    @property
    def share(self) -> float:
        """Of test photos."""
        return self.tested / self.photos


def smallest_difference(variance: float, photos: float, of_seeds: float, level: float) -> float:
    """The smallest true difference that a test at this level shows with a power of 80 %.

    `variance` is that of a difference of 0 due to photos, of which there are `photos` independent ones; the exact test,
    which counts whole photos, asks for one more. Even if every photo that tells the models apart favours one of them,
    there must be enough for the test to be sure.

    >>> round(smallest_difference(0.0, photos=100, of_seeds=0.0, level=0.05), 3)
    0.078
    """
    enough = _sure(level)
    if photos < enough:
        return 1.0
    one_sided = float(beta.ppf(POWER, enough, photos - enough + 1))  # so many of `photos` in 80 % of all tests
    return max(_errors(level) * (variance + of_seeds) ** 0.5 + 1 / photos, one_sided)


def more_photos(
    net: np.ndarray,
    variance: float,
    photos: float,
    of_seeds: float,
    level: float,
    margin: float,
    confidence: float,
    collection: Collection,
) -> tuple[int, int] | None:
    """The fewest and the most photos to collect, in all splits, until `margin` is the smallest difference.

    The range holds the true number as often as `confidence` says: the variance comes from the groups in which one
    model is ahead, which are few, so its bounds are those of a Poisson number (Garwood 1936). `net` (groups,) says by
    how many photos. None where photos cannot help, because training seeds vary too much.
    """
    allowed = (margin / _errors(level)) ** 2 - of_seeds
    if allowed <= 0:
        return None
    squares = np.asarray(net, dtype=np.float64) ** 2
    apart = float(squares.sum() ** 2 / (squares**2).sum()) if squares.any() else 0.0  # groups of equal weight
    low = float(gamma.ppf((1 - confidence) / 2, apart)) if apart else 0.0
    high = float(gamma.ppf((1 + confidence) / 2, apart + 1))
    of_one = variance / apart if apart else 1 / photos**2
    one_sided = float(gamma.ppf(POWER, _sure(level))) / margin  # as in `smallest_difference`, for a rare event
    times = [max(of_one * bound / allowed, one_sided / photos) for bound in (low, high)]
    fewest, most = (max(0.0, (each - 1) * collection.photos) for each in times)
    return _rounded(fewest), _rounded(most)


def _errors(level: float) -> float:
    """How many standard errors a difference must be large to be shown with that power."""
    return float(norm.isf(level / 2) + norm.ppf(POWER))


def _sure(level: float) -> int:
    """How many photos the exact test needs if all favour the same model."""
    return math.ceil(1 - math.log2(level))


def _rounded(number: float) -> int:
    """To two digits: nobody counts photos more exactly."""
    return int(float(f"{number:.1e}"))
