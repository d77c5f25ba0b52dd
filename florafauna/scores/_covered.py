"""Is it the animal, or the place? Scores on photos whose animals are covered, held against chance.

What a model says of a photo without its animal can only come from the background, or from the size and place of the
cover. Beery et al. (2018, "Recognition in Terra Incognita") show how far backgrounds carry.
"""

from typing import Any

import numpy as np

from florafauna.base.metrics import weighted_f1
from florafauna.scores.bootstrap import Resampling, score_intervals
from florafauna.scores.predictions import Predictions


def covered_scores(test: Predictions, how: Resampling) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weighted F1 of the photos that have a cover, covered and not, and by chance; and a sentence, accuracy by site.

    `test.covered` has logits for some photos. Chance is the expected score of the same answers, dealt out at random.
    """
    assert test.covered is not None
    part = test.rows(np.flatnonzero(~np.isnan(test.covered).any(axis=1)))
    assert part.covered is not None
    answers, classes = part.covered.argmax(axis=1), len(part.labels)
    interval = score_intervals(part.truth, answers, how)["weighted_f1"]
    given = np.bincount(answers, minlength=classes) / len(answers)
    chance = _chance(np.bincount(part.targets, minlength=classes) / len(answers), given)
    found = {
        "weighted_f1": weighted_f1(part.targets, answers),
        "weighted_f1_low": interval.low,
        "weighted_f1_high": interval.high,
        "chance": chance,
        "not_covered": weighted_f1(part.targets, part.predicted),
        "n": len(answers),
        "groups": len(np.unique(part.groups)),
    }
    return found, {"sentence": _sentence(found), "sites": _sites(part, answers, given, how)}


def _sentence(found: dict[str, Any]) -> str:
    score = "{weighted_f1:.3f} ({weighted_f1_low:.3f} to {weighted_f1_high:.3f})".format(**found)
    facts = f"With the animals covered, weighted F1 on {found['n']} photos is {score}, by chance {found['chance']:.3f}"
    if found["weighted_f1_low"] > found["chance"]:
        return f"{facts}: part of the answer is read from the background, so photos of other places may fare worse."
    return f"{facts}: nothing shows that the background is read."


def _chance(true: np.ndarray, given: np.ndarray) -> float:
    """Expected weighted F1 by the classes' shares of the photos and of the answers: its precision and its recall."""
    both = true + given
    f1 = np.divide(2 * true * given, both, out=np.zeros_like(both), where=both > 0)
    return float((true * f1).sum())


def _sites(part: Predictions, answers: np.ndarray, given: np.ndarray, how: Resampling) -> dict[str, Any]:
    """Accuracy at each site, with its interval; chance deals out the answers of all sites. Most photos first."""
    sites = part.photos.get("location")
    if sites is None:
        return {}
    found = {}
    for site, count in sites[sites != ""].value_counts(sort=True).items():
        rows = np.flatnonzero(sites == site)
        here = part.rows(rows)
        interval = score_intervals(here.truth, answers[rows], how)["accuracy"]
        found[str(site)] = {
            "accuracy": float((answers[rows] == here.targets).mean()),
            "accuracy_low": interval.low,
            "accuracy_high": interval.high,
            "chance": float(given[here.targets].mean()),
            "n": int(count),
        }
    return found
