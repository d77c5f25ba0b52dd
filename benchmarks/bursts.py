"""Do the 95 % intervals of weighted F1 hold the true score where photos come in bursts that nobody declared?"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.results import Section
from florafauna.base.metrics import weighted_f1
from florafauna.scores.bootstrap import Resampling, Truth, score_intervals
from florafauna.split._bursts import bursts
from florafauna.split._grouping import join

CLASSES, RIGHT = 5, (0.75, 0.8, 0.85, 0.9, 0.95)  # share of the bursts of each class that are recognised
FLIPPED = 0.05  # of the photos of a burst fare unlike the rest of it
GAP, APART = (1, 30), (120, 3600)  # seconds between photos of a burst, and between bursts
SIMULATED, RESAMPLES = 1000, 1000
CASES = ((60, 4), (60, 6), (120, 4), (120, 6), (300, 6))  # bursts, and photos in one on average (geometric)
ABOUT = f"""{SIMULATED} simulated test sets a row, {CLASSES} classes of which a model recognises {RIGHT[0]:.0%} to
{RIGHT[-1]:.0%}; the photos of a burst show one animal and fare alike but for {FLIPPED:.0%}. Their times are
{GAP[0]} to {GAP[1]} s apart, those of bursts {APART[0]} s and more; `data.burst` is 60. How often the 95 % interval of
weighted F1 ({RESAMPLES} resamples) holds the score on a million photos."""


class Photos(NamedTuple):
    """Of one test set: class, predicted class, seconds at which each was taken."""

    target: np.ndarray
    predicted: np.ndarray
    taken: np.ndarray


def run() -> Section:
    """Coverage with each photo for itself, and with bursts found by their times."""
    rows = []
    for number, (count, size) in enumerate(CASES):
        true = _true_score(size)
        alone, joined = coverage(count, size, true, SIMULATED, number)
        rows.append((f"{count} of {size} photos", f"{true:.3f}", f"{alone:.1%}", f"{joined:.1%}"))
    return Section(
        "Bursts that nobody declared", ABOUT, ("bursts", "weighted F1", "undeclared", "found by EXIF times"), rows
    )


def coverage(count: int, size: int, true: float, simulated: int, seed: int) -> tuple[float, float]:
    """The share of intervals that hold `true`, by photo and by burst."""
    hits = np.zeros(2)
    for number in range(simulated):
        photos = simulate(np.random.default_rng([seed, number]), count, size)
        for way, groups in enumerate((None, _groups(photos))):
            truth = Truth(photos.target, CLASSES, groups)
            interval = score_intervals(truth, photos.predicted, Resampling(RESAMPLES, number))["weighted_f1"]
            hits[way] += interval.low <= true <= interval.high
    alone, joined = (hits / simulated).tolist()
    return alone, joined


def simulate(rng: np.random.Generator, count: int, size: int) -> Photos:
    """A test set of so many bursts of one camera."""
    sizes = rng.geometric(1 / size, count)
    burst = np.repeat(np.arange(count), sizes)
    kinds = rng.integers(CLASSES, size=count)
    is_right = rng.random(count) < np.array(RIGHT)[kinds]
    taken_for = np.where(is_right, kinds, (kinds + rng.integers(1, CLASSES, count)) % CLASSES)
    flipped = rng.random(len(burst)) < FLIPPED
    other = np.where(is_right, (kinds + rng.integers(1, CLASSES, count)) % CLASSES, kinds)
    gaps = np.where(np.diff(burst, prepend=-1) > 0, rng.integers(*APART, len(burst)), rng.integers(*GAP, len(burst)))
    return Photos(kinds[burst], np.where(flipped, other[burst], taken_for[burst]), np.cumsum(gaps))


def _groups(photos: Photos) -> np.ndarray:
    """As the split stage groups photos without a group column."""
    names = pd.Series([f"camera/{number}.jpg" for number in range(len(photos.target))], dtype=str)
    table = pd.DataFrame({"path": names, "sha256": names, "taken": photos.taken})
    nothing = pd.Series("", index=table.index, dtype=str)
    return join(table, (), nothing, bursts(table, (), 60))["key"].to_numpy()


def _true_score(size: int) -> float:
    photos = simulate(np.random.default_rng(0), 1_000_000 // size, size)
    return weighted_f1(photos.target, photos.predicted)
