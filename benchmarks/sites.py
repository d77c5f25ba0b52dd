"""Whether the intervals of new sites hold what they promise, on made-up sites of their own difficulty."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from benchmarks.results import Section
from florafauna.folds.out_of_fold import OutOfFold
from florafauna.scores.bootstrap import Resampling, Truth
from florafauna.scores.cross_validation import scores_by_site, weighted_f1_with_interval

CLASSES, SEEN, NEW, SPREAD = 5, 0.9, 0.6, 0.12
SITES = (5, 10, 20, 50)
PHOTOS = 40  # of a site, on average
DRAWS, RESAMPLES = 200, 300
ABOUT = f"""Made up: {CLASSES} classes; a model is right in {SEEN} of the photos of a known site, and of a new site in a
share that differs from site to site (mean {NEW}, standard deviation {SPREAD}), of which there are {PHOTOS} photos on
average, unequally many. {DRAWS} draws a row. How often the 95 % interval of the weighted F1 on a new site holds {NEW}:
over sites, as the report has it, and over photos; and how often that of the gap holds {SEEN - NEW:.1f}. Then the mean
width of the first."""


def run() -> Section:
    """A row a number of sites."""
    rows = []
    for sites in SITES:
        found = np.array([_holds(drawn, seed) for seed, drawn in enumerate(_draws(sites))])
        over_sites, over_photos, gap, width = found.mean(axis=0)
        rows.append((str(sites), f"**{over_sites:.0%}**", f"{over_photos:.0%}", f"**{gap:.0%}**", f"{width:.2f}"))
    columns = ("sites", "new site, over sites", "over photos", "gap", "width over sites")
    return Section("A new site", ABOUT, columns, rows)


def _holds(found: OutOfFold, seed: int) -> tuple[bool, bool, bool, float]:
    how = Resampling(RESAMPLES, seed)
    assert found.logits_by is not None
    figures, _ = scores_by_site(found, how)
    truth = Truth(found.photos["target"].to_numpy(), CLASSES)
    photos = weighted_f1_with_interval(truth, found.logits_by.argmax(axis=1), how)
    low, high = figures["weighted_f1_low"], figures["weighted_f1_high"]
    return (
        low <= NEW <= high,
        photos["weighted_f1_low"] <= NEW <= photos["weighted_f1_high"],
        figures["gap_low"] <= SEEN - NEW <= figures["gap_high"],
        high - low,
    )


def _draws(sites: int) -> Iterator[OutOfFold]:
    for seed in range(DRAWS):
        rng = np.random.default_rng([sites, seed])
        site = np.repeat(np.arange(sites), rng.integers(PHOTOS // 4, 2 * PHOTOS - PHOTOS // 4, sites))
        share = rng.normal(NEW, SPREAD, sites).clip(0, 1)[site]
        targets = rng.integers(0, CLASSES, len(site))
        photos = pd.DataFrame({"path": [f"{row:05d}" for row in range(len(site))], "split": "train"})
        photos = photos.assign(held_out="", group="", cluster="", label="", target=targets, site=site.astype(str))
        labels = [str(number) for number in range(CLASSES)]
        seen, new = (_logits(rng, targets, right) for right in (np.full(len(site), SEEN), share))
        yield OutOfFold(photos, labels, seen, new, {"folds": 5, "by": "site"})


def _logits(rng: np.random.Generator, targets: np.ndarray, right: np.ndarray) -> np.ndarray:
    other = (targets + rng.integers(1, CLASSES, len(targets))) % CLASSES
    shown = np.where(rng.random(len(targets)) < right, targets, other)
    logits: np.ndarray = np.eye(CLASSES, dtype=np.float32)[shown]
    return logits
