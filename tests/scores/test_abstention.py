"""Thresholds keep the precision they promise, curves and novelty are those of plain definitions."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from florafauna.base.errors import UserError
from florafauna.scores.abstention import (
    accepted_by,
    choose_threshold,
    choose_thresholds,
    novelty,
    realised,
    realised_by_class,
    risk_coverage,
    separation,
)
from florafauna.scores.calibration import softmax


def photos(seed: int, count: int, classes: int = 4, skill: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, count)
    return rng.normal(0, 1, (count, classes)) + skill * np.eye(classes)[targets], targets


def right_by_chance(seed: int, count: int, bursts: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidences, correctness and groups; a photo of confidence c is right with probability c, a burst as one."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(count), rng.integers(1, bursts + 1, count))[:count]
    confidences, chances = rng.beta(6, 1, groups[-1] + 1), rng.random(groups[-1] + 1)
    return confidences[groups], (chances < confidences)[groups], groups


@pytest.mark.parametrize("bursts", [1, 20])
def test_the_promised_precision_is_kept_in_at_least_95_percent_of_worlds(bursts: int) -> None:
    grid = np.sort(np.random.default_rng(2).beta(6, 1, 200_000))
    truly = grid[::-1].cumsum()[::-1] / np.arange(len(grid), 0, -1)  # of all above
    broken = {"heeded": 0, "ignored": 0}
    for seed in range(200):
        confidences, correct, groups = right_by_chance(seed, 1500, bursts)
        for how, given_groups in (("heeded", groups), ("ignored", None)):
            found = choose_threshold(confidences, correct, given_groups)
            if found.threshold is not None:
                broken[how] += truly[np.searchsorted(grid, found.threshold)] < 0.95
    assert broken["heeded"] / 200 <= 0.05
    assert (broken["ignored"] / 200 > 0.1) == (bursts > 1)


def test_more_photos_find_a_threshold_more_often_and_cost_no_coverage() -> None:
    """Photos are added to the same 100 worlds: no number of them is worse than a smaller one, but for noise."""
    rng = np.random.default_rng(3)
    grid, previous = rng.beta(30, 1, 20_000), 0.0
    confidences = rng.beta(30, 1, (100, 1600))
    correct = rng.random((100, 1600)) < confidences
    for count in (59, 80, 92, 93, 100, 143, 145, 200, 240, 400, 800, 1600):
        worlds = zip(confidences[:, :count], correct[:, :count], strict=True)
        found = [choose_threshold(*world).threshold for world in worlds]
        coverage = np.mean([0 if least is None else (grid >= least).mean() for least in found])
        assert coverage > previous - 0.04
        previous = max(previous, float(coverage))
    assert previous > 0.95


def test_one_confident_error_does_not_end_the_search() -> None:
    confidences = np.linspace(1, 0.5, 1000)
    correct = np.ones(1000, dtype=bool)
    correct[3] = False
    assert choose_threshold(confidences, correct).accepted == 1000


@settings(deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.7, 0.9, 0.95]), st.sampled_from([1, 4]))
def test_a_threshold_says_what_it_accepts(seed: int, precision: float, together: int) -> None:
    logits, targets = photos(seed, 300)
    probabilities, groups = softmax(logits), np.arange(300) // together
    found = choose_thresholds(probabilities, targets, groups, precision)[0]
    on_the_same = realised(probabilities, targets, groups, found)
    assert on_the_same.accepted == found.accepted
    assert on_the_same.coverage == pytest.approx(found.accepted / 300)
    assert on_the_same.precision == (None if found.precision is None else pytest.approx(found.precision))
    if found.threshold is not None:
        assert found.bound is not None
        assert on_the_same.precision is not None
        assert on_the_same.low is not None
        assert on_the_same.high is not None
        assert precision <= found.bound < on_the_same.precision
        assert on_the_same.low < on_the_same.precision <= on_the_same.high
        assert f"{found.accepted} validation photos" in found.sentence


def test_a_good_model_is_accepted_whole_and_a_bad_one_not_at_all() -> None:
    logits, targets = photos(0, 400, skill=12)
    good = choose_thresholds(softmax(logits), targets)[0]
    assert good.accepted == 400
    bad, each = choose_thresholds(softmax(logits), (targets + 1) % 4)
    assert bad.threshold is None
    assert bad.sentence == (
        "No threshold shows a precision of 95.0% on 400 validation photos; more photos alone would not do."
    )
    assert realised(softmax(logits), targets, None, bad) == realised(softmax(logits), targets, None, [bad] * 4)
    assert realised(softmax(logits), targets, None, bad).precision is None
    assert [own.threshold for own in each] == [None] * 4


def test_it_is_said_how_many_photos_would_do() -> None:
    few = choose_threshold(np.ones(50), np.ones(50, dtype=bool))
    assert few.threshold is None
    assert few.sentence == (
        "No threshold shows a precision of 95.0% on 50 validation photos; about 59 such photos would do."
    )
    assert choose_threshold(np.ones(59), np.ones(59, dtype=bool)).accepted == 59
    pairs = choose_threshold(np.ones(50), np.ones(50, dtype=bool), np.arange(50) // 2)
    assert "on 50 validation photos (in groups, worth 25); about 120 such photos would do." in pairs.sentence
    assert choose_threshold(np.ones(120), np.ones(120, dtype=bool), np.arange(120) // 2).accepted == 120


def test_photos_of_one_confidence_are_accepted_together() -> None:
    confidences = np.array([0.9] * 100 + [0.5] * 100)
    found = choose_threshold(confidences, confidences > 0.6, precision=0.9)
    assert (found.threshold, found.accepted, found.precision) == (0.9, 100, 1.0)


def with_a_bad_class(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Many photos of class 1 are taken for class 2, with more confidence than any others have."""
    logits, targets = photos(seed, count, classes=8, skill=6)
    taken = (targets == 1) & (np.arange(count) % 3 > 0)
    logits[taken, 2] += 12
    return softmax(logits), targets


def test_a_class_that_claims_too_much_does_not_cost_the_others_their_threshold() -> None:
    probabilities, targets = with_a_bad_class(3, 1000)
    assert choose_threshold(probabilities.max(axis=1), probabilities.argmax(axis=1) == targets).threshold is None
    common, each = choose_thresholds(probabilities, targets)
    assert common.threshold is not None
    assert [own.threshold for own in each] == [common.threshold] * 2 + [None] + [common.threshold] * 5
    tested, truth = with_a_bad_class(4, 3000)
    parts, whole = realised_by_class(tested, truth, None, each), realised(tested, truth, None, each)
    assert sum(part.accepted for part in parts) == whole.accepted == accepted_by(tested, each).sum()
    assert sum(part.photos for part in parts) == whole.photos == 3000
    assert whole.coverage > 0.7
    assert whole.low is not None
    assert whole.low > 0.95


def test_a_class_with_enough_photos_has_the_threshold_at_which_it_stands_alone() -> None:
    rng = np.random.default_rng(0)
    claimed, chances = rng.uniform(0.8, 1, 3000), rng.random(3000)
    right = np.where(np.arange(3000) < 2000, chances < 0.99, (claimed > 0.98) | (chances < 0.6))
    probabilities = np.stack([claimed, 1 - claimed], axis=1)
    probabilities[2000:] = probabilities[2000:, ::-1]  # class 1 is right only where it is very sure
    targets = np.where(right, probabilities.argmax(axis=1), 1 - probabilities.argmax(axis=1))
    common, (first, second) = choose_thresholds(probabilities, targets)
    assert first is common
    assert (common.threshold or 1) < 0.81
    assert 0.97 < (second.threshold or 1) < 0.99


def test_a_class_of_one_photo_takes_the_common_threshold_right_or_wrong() -> None:
    probabilities = np.array([[0.99, 0.01, 0.0]] * 200 + [[0.02, 0.98, 0.0]])
    for right in (0, 1):
        common, each = choose_thresholds(probabilities, np.array([0] * 200 + [right]))
        assert common.accepted == 201
        assert each == [common] * 3


def test_risk_and_coverage_worked_out_by_hand() -> None:
    curve = risk_coverage(np.array([0.6, 0.9, 0.8, 0.7]), np.array([False, True, True, False]))
    assert curve.coverage == pytest.approx([0.25, 0.5, 0.75, 1])
    assert curve.risk == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert curve.aurc == pytest.approx((1 / 3 + 1 / 2) / 4)


@given(st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.9]), st.booleans()), min_size=1, max_size=30), st.randoms())
def test_the_curve_ends_at_the_error_rate_and_the_order_of_photos_does_not_matter(pairs: list, random: Random) -> None:
    curve = risk_coverage(*(np.array(each) for each in zip(*pairs, strict=True)))
    random.shuffle(pairs)
    again = risk_coverage(*(np.array(each) for each in zip(*pairs, strict=True)))
    assert curve.risk[-1] == pytest.approx(np.mean([not right for _, right in pairs]))
    assert again.risk == pytest.approx(curve.risk)
    assert 0 <= curve.aurc <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1.0, 4.0, 60.0]))
def test_novelty_is_that_of_a_softmax_over_the_other_classes(seed: int, skill: float) -> None:
    logits, targets = photos(seed, 60, skill=skill)
    found = novelty(logits, targets)
    for each in found.classes:
        confidences = softmax(np.delete(logits, each.target, axis=1)).max(axis=1)
        known = targets != each.target
        assert each.photos == (~known).sum()
        assert each.auroc == pytest.approx(roc_auc_score(known, confidences.round(12)), abs=1e-3)
    assert found.auroc == pytest.approx(np.mean([each.auroc for each in found.classes]))
    assert found.fpr95 == pytest.approx(np.mean([each.fpr95 for each in found.classes]))


def test_strangers_stand_out_for_a_skilled_model_and_not_for_a_guessing_one() -> None:
    skilled, guessing = (novelty(*photos(5, 1000, skill=skill)) for skill in (6.0, 0.0))
    assert skilled.auroc > 0.95
    assert skilled.fpr95 < 0.3
    assert guessing.auroc == pytest.approx(0.5, abs=0.05)
    assert guessing.fpr95 == pytest.approx(0.95, abs=0.04)


def test_separation_worked_out_by_hand() -> None:
    known, unknown = np.arange(1, 101) / 100, np.array([0.0, 0.055, 0.06, 0.5])
    auroc, fpr95 = separation(known, unknown)
    assert auroc == pytest.approx((100 + 95 + 94.5 + 50.5) / 400)
    assert fpr95 == 0.5  # 95 of 100 known lie at 0.06 or above, and so do two of the four


def test_bad_input_is_named() -> None:
    with pytest.raises(UserError, match="at least 3 classes"):
        novelty(np.zeros((4, 2)), np.array([0, 1, 0, 1]))
    with pytest.raises(UserError, match="photos of at least 2 classes"):
        novelty(np.zeros((4, 3)), np.zeros(4, dtype=int))
    with pytest.raises(UserError, match="precision must be between 0 and 1"):
        choose_threshold(np.ones(9), np.ones(9, dtype=bool), precision=95)
    with pytest.raises(UserError, match="no photos to choose a threshold on"):
        choose_threshold(np.ones(0), np.ones(0, dtype=bool))
    with pytest.raises(UserError, match="no photos"):
        risk_coverage(np.ones(0), np.ones(0, dtype=bool))
