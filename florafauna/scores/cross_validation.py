"""Scores of a cross-validation: on every photo, and on whole sites that the models had never seen."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from florafauna.base.metrics import weighted_f1
from florafauna.folds.out_of_fold import OutOfFold
from florafauna.scores.bootstrap import (
    Resampling,
    Truth,
    group_counts,
    resample_weights,
    score_intervals,
    weighted_f1_of,
)
from florafauna.scores.predictions import PHOTO, Predictions

Tree = dict[str, Any]


def out_of_fold_predictions(model: str, found: OutOfFold) -> Predictions:
    """The logits of all photos, each by the model of the fold in which it was left out."""
    return Predictions(model, found.labels, found.photos[PHOTO], found.logits)


def weighted_f1_with_interval(truth: Truth, predicted: np.ndarray, how: Resampling) -> dict[str, float]:
    """The weighted F1 of `predicted` (photos,), and its interval over the groups of `truth`, `_low` and `_high`."""
    value, bounds = weighted_f1(truth.targets, predicted), score_intervals(truth, predicted, how)["weighted_f1"]
    # Both are summed in different orders: rounding must not push a bound past the value.
    low, high = min(bounds.low, value), max(bounds.high, value)
    return {"weighted_f1": value, "weighted_f1_low": low, "weighted_f1_high": high}


def scores_by_site(found: OutOfFold, how: Resampling) -> tuple[Tree, dict[str, Tree]]:
    """What to expect at a new site, and the scores of each site when all its photos were left out, by its name.

    Both are over the photos whose site is known. `gap` is how much lower the weighted F1 is than on the same photos
    when others of their site were trained on, with an interval over sites.
    """
    assert found.logits_by is not None
    known = (found.photos["site"] != "").to_numpy()
    site, names = pd.factorize(found.photos["site"][known], sort=True)
    targets, logits = found.photos["target"].to_numpy(np.int64)[known], found.logits_by[known]
    new, seen = logits.argmax(axis=1), found.logits[known].argmax(axis=1)
    truth = Truth(targets, logits.shape[1], site)
    figures = weighted_f1_with_interval(truth, new, how) | {"n": len(targets), "sites": len(names)}
    groups = out_of_fold_predictions("", found).groups[known]
    table = {}
    for number, name in enumerate(names):
        rows = site == number
        of_site = Truth(targets[rows], logits.shape[1], groups[rows])
        table[str(name)] = weighted_f1_with_interval(of_site, new[rows], how) | {"n": int(rows.sum())}
    return figures | _gap(seen, new, truth, how), table


def _gap(seen: np.ndarray, new: np.ndarray, truth: Truth, how: Resampling) -> Tree:
    """By how much the weighted F1 of the predictions `seen` exceeds that of `new`, (photos,), with Student's interval.

    Both are scored on the same resamples of sites; their variance is that of the difference.
    """
    one, other = (group_counts(truth, predicted) for predicted in (seen, new))
    points = [float(weighted_f1_of(np.asarray(each.sum(axis=1)).reshape(-1, 1))[0]) for each in (one, other)]
    drawn = resample_weights(truth, how)
    resampled = np.concatenate([weighted_f1_of(one @ each.T) - weighted_f1_of(other @ each.T) for each in drawn])
    sites, gap = one.shape[1], points[0] - points[1]
    freedom = max(sites - 1, 1)
    half = float(student.ppf((1 + how.confidence) / 2, freedom) * np.sqrt(resampled.var() * sites / freedom))
    return {
        "seen_weighted_f1": points[0],
        "gap": gap,
        "gap_low": max(-1.0, gap - half),
        "gap_high": min(1.0, gap + half),
    }


def expectation(by: str, figures: Tree) -> str:
    """The headline: what a site that no photo was trained on would give.

    >>> figures = {"weighted_f1": 0.62, "weighted_f1_low": 0.55, "weighted_f1_high": 0.69, "seen_weighted_f1": 0.83}
    >>> expectation("site", figures | {"sites": 12, "gap": 0.21, "gap_low": 0.1, "gap_high": 0.32})
    'on a new site expect a weighted F1 of 0.620 (0.550 to 0.690; 12 left out), 0.210 (0.100 to 0.320) below known ones'
    """
    low, high = figures["weighted_f1_low"], figures["weighted_f1_high"]
    gap, word = figures["gap"], "below"
    bounds = (figures["gap_low"], figures["gap_high"])
    if gap < 0:
        gap, word, bounds = -gap, "above", (-bounds[1], -bounds[0])
    return (
        f"on a new {by} expect a weighted F1 of {figures['weighted_f1']:.3f} ({low:.3f} to {high:.3f}; "
        f"{figures['sites']} left out), {gap:.3f} ({bounds[0]:.3f} to {bounds[1]:.3f}) {word} known ones"
    )
