"""Scores of a cross-validation: intervals over groups, over sites, and the gap between known and new sites."""

import numpy as np
import pandas as pd
import pytest

from florafauna.base.metrics import weighted_f1
from florafauna.folds.out_of_fold import OutOfFold
from florafauna.scores.bootstrap import Resampling
from florafauna.scores.cross_validation import out_of_fold_predictions, scores_by_site
from florafauna.scores.predictions import PHOTO, Predictions
from florafauna.scores.score import score
from florafauna.scores.settings import EvaluateParams

LABELS = ["fern", "moss", "newt"]
QUICK = EvaluateParams(resamples=500, folds=5, by="location")


def right_in(rng: np.random.Generator, targets: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Logits that are right with a probability of `share` (photos,)."""
    shown = np.where(rng.random(len(targets)) < share, targets, (targets + 1) % 3)
    return (4 * np.eye(3)[shown] + rng.normal(size=(len(targets), 3)) / 4).astype(np.float32)


def cross_validated(seed: int = 0, sites: int = 12, each: int = 40, unknown: int = 30) -> OutOfFold:
    """Sites of their own difficulty; on a new site the model is right in 0.6 instead of 0.9."""
    rng = np.random.default_rng(seed)
    count = sites * each + unknown
    targets = rng.integers(0, 3, count)
    site = np.repeat([*(f"site {number:02d}" for number in range(sites)), ""], [*[each] * sites, unknown])
    hard = np.repeat([*rng.normal(0, 0.1, sites), 0.0], [*[each] * sites, unknown])
    photos = pd.DataFrame({"path": [f"{row:04d}.jpg" for row in range(count)], "split": "train", "held_out": ""})
    photos = photos.assign(group="", cluster="", label=np.array(LABELS)[targets], target=targets, site=site)
    seen, new = right_in(rng, targets, np.full(count, 0.9)), right_in(rng, targets, 0.6 + hard)
    return OutOfFold(photos, LABELS, seen, new, {"folds": 5, "by": "location"})


def split_predictions(found: OutOfFold) -> Predictions:
    """The same photos as those of an ordinary split."""
    split = np.where(np.arange(len(found.photos)) % 2 == 0, "test", "val")
    return Predictions("oak", LABELS, found.photos.assign(split=split)[PHOTO], found.logits)


def test_every_photo_counts_once_and_the_interval_shrinks() -> None:
    found = cross_validated()
    scores = score(split_predictions(found), QUICK, found)
    cv, test = scores.details["cv"], scores.details["test"]
    assert cv["n"] == len(found.photos) == 2 * test["n"]
    assert abs(cv["weighted_f1"] - weighted_f1(found.photos["target"].to_numpy(), found.logits.argmax(axis=1))) < 1e-6
    widths = [part["weighted_f1_high"] - part["weighted_f1_low"] for part in (cv, test)]
    assert widths[0] < 0.8 * widths[1]
    shown = scores.metrics["cv"]
    assert shown == {
        "weighted_f1": round(cv["weighted_f1"], 4),
        "low": round(cv["weighted_f1_low"], 4),
        "high": round(cv["weighted_f1_high"], 4),
        "by": round(cv["by"]["weighted_f1"], 4),
    }


def test_groups_widen_the_interval() -> None:
    found = cross_validated()
    bursts = found.photos.assign(group=[f"burst {row // 20}" for row in range(len(found.photos))])
    alike = np.repeat(found.logits[::20], 20, axis=0)[: len(bursts)]
    alike[:, :] -= 0.0
    targets = np.repeat(found.photos["target"].to_numpy()[::20], 20)[: len(bursts)]
    grouped = OutOfFold(bursts.assign(target=targets), LABELS, alike, None, {"folds": 5, "by": None})
    alone = OutOfFold(grouped.photos.assign(group=""), LABELS, alike, None, {"folds": 5, "by": None})
    plain = EvaluateParams(resamples=500, folds=5)
    one, other = (score(split_predictions(each), plain, each).details["cv"] for each in (grouped, alone))
    assert one["groups"] < other["groups"]
    assert one["weighted_f1_high"] - one["weighted_f1_low"] > 2 * (other["weighted_f1_high"] - other["weighted_f1_low"])


def test_a_new_site_is_scored_over_sites_and_the_gap_is_paired() -> None:
    found = cross_validated()
    figures, table = scores_by_site(found, Resampling(500, 0, 0.95))
    assert figures["sites"] == len(table) == 12
    assert figures["n"] == sum(row["n"] for row in table.values()) == 480, "photos without a site are left out"
    assert figures["weighted_f1_low"] < figures["weighted_f1"] < figures["weighted_f1_high"]
    assert abs(figures["gap"] - (figures["seen_weighted_f1"] - figures["weighted_f1"])) < 1e-9
    assert figures["gap_low"] < 0.3 < figures["gap_high"]
    rows = (found.photos["site"] == "site 03").to_numpy()
    assert found.logits_by is not None
    f1 = weighted_f1(found.photos["target"].to_numpy()[rows], found.logits_by[rows].argmax(axis=1))
    assert table["site 03"]["weighted_f1"] == f1
    assert table["site 03"]["weighted_f1_low"] < f1 < table["site 03"]["weighted_f1_high"]


def test_the_intervals_of_new_sites_cover_what_is_expected_there() -> None:
    """Drawn 100 times: the truth is a model that is right in 0.6 on average over sites, 0.3 below known ones."""
    inside = np.zeros(2)
    for seed in range(100):
        figures, _ = scores_by_site(cross_validated(seed, each=20, unknown=0), Resampling(200, seed, 0.95))
        inside += [
            figures["weighted_f1_low"] <= 0.6 <= figures["weighted_f1_high"],
            figures["gap_low"] <= 0.3 <= figures["gap_high"],
        ]
    assert (inside >= 88).all(), inside


def test_the_headline_names_what_to_expect() -> None:
    found = cross_validated()
    scores = score(split_predictions(found), QUICK, found)
    by = scores.details["cv"]["by"]
    sentence = scores.per_class["sentences"]["site"]
    assert sentence.startswith(f"on a new location expect a weighted F1 of {by['weighted_f1']:.3f} (")
    assert f"{by['gap']:.3f} (" in sentence
    assert set(scores.per_class["sites"]) == set(found.photos["site"]) - {""}


def test_without_folds_nothing_is_said() -> None:
    found = cross_validated()
    scores = score(split_predictions(found), EvaluateParams(resamples=200))
    assert "cv" not in scores.details
    assert "cv" not in scores.metrics
    assert "site" not in scores.per_class["sentences"]


def test_photos_in_one_group_are_one_unit() -> None:
    found = cross_validated()
    photos = found.photos.assign(group=["pair" if row < 2 else "" for row in range(len(found.photos))])
    predictions = out_of_fold_predictions("oak", OutOfFold(photos, LABELS, found.logits, None, found.facts))
    assert len(np.unique(predictions.groups)) == len(photos) - 1


@pytest.mark.parametrize("keys", [{"folds": 1}, {"by": "location"}, {"final": "all"}])
def test_settings_that_contradict_each_other_are_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="folds"):
        EvaluateParams.model_validate(keys)
