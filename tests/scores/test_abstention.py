"""Thresholds keep the precision they promise, curves and novelty are those of plain definitions."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from florafauna.base.errors import UserError
from florafauna.scores.abstention import (
    accepted_by,
    choose_threshold,
    class_thresholds,
    decisive,
    global_threshold,
    lower_bound,
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


@given(st.integers(0, 300), st.integers(1, 300))
def test_the_lower_bound_is_that_of_clopper_and_pearson(right: int, count: int) -> None:
    right = min(right, count)
    expected = binomtest(right, count, alternative="greater").proportion_ci(0.95, method="exact").low
    assert float(lower_bound(right, count)) == pytest.approx(expected)


def test_the_promised_precision_is_kept_in_at_least_95_percent_of_worlds() -> None:
    """A photo of confidence c is right with probability c, so what a threshold truly gives is known."""
    rng = np.random.default_rng(2)
    broken, chosen = 0, 0
    for _ in range(400):
        confidences = rng.beta(6, 1, 500)
        found = choose_threshold(confidences, rng.random(500) < confidences, 0.95)
        if found.threshold is not None:
            grid = rng.beta(6, 1, 20_000)
            chosen += 1
            broken += grid[grid >= found.threshold].mean() < 0.95
    assert chosen > 100
    assert broken / 400 <= 0.05


@settings(deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.7, 0.9, 0.95]))
def test_a_threshold_says_what_it_accepts(seed: int, precision: float) -> None:
    logits, targets = photos(seed, 300)
    probabilities = softmax(logits)
    found = global_threshold(probabilities, targets, precision)
    on_the_same = realised(probabilities, targets, found)
    assert on_the_same.accepted == found.accepted
    assert on_the_same.coverage == pytest.approx(found.accepted / 300)
    assert on_the_same.precision == (None if found.precision is None else pytest.approx(found.precision))
    if found.threshold is not None:
        assert found.bound is not None
        assert on_the_same.precision is not None
        assert precision <= found.bound < on_the_same.precision
        assert f"{found.accepted} photos are correct" in found.sentence


def test_a_good_model_is_accepted_whole_and_a_bad_one_not_at_all() -> None:
    logits, targets = photos(0, 400, skill=12)
    good = global_threshold(softmax(logits), targets, 0.95)
    assert good.accepted == 400
    bad = global_threshold(softmax(logits), (targets + 1) % 4, 0.95)
    assert bad.threshold is None
    assert bad.sentence.startswith("No threshold gives a precision of 95.0%: of the ")
    assert realised(softmax(logits), targets, bad) == realised(softmax(logits), targets, [bad] * 4)
    assert realised(softmax(logits), targets, bad).precision is None


def test_too_few_photos_are_said_to_be_too_few() -> None:
    few = choose_threshold(np.ones(58), np.ones(58, dtype=bool), 0.95)
    assert few.threshold is None
    assert few.sentence == "58 photos cannot show a precision of 95.0%: even if all are correct, 59 are needed."
    assert choose_threshold(np.ones(59), np.ones(59, dtype=bool), 0.95).accepted == 59
    assert "0 photos" in choose_threshold(np.ones(0), np.ones(0, dtype=bool), 0.95).sentence


def test_photos_of_one_confidence_are_accepted_together() -> None:
    confidences = np.array([0.9] * 100 + [0.5] * 100)
    found = choose_threshold(confidences, confidences > 0.6, 0.9)
    assert (found.threshold, found.accepted, found.precision) == (0.9, 100, 1.0)


def test_each_class_has_the_threshold_of_its_own_predictions() -> None:
    logits, targets = photos(3, 2000, skill=3)
    logits[:, 2] += 2 * (targets == 1)  # photos of class 1 are often taken for class 2
    probabilities = softmax(logits)
    thresholds = class_thresholds(probabilities, targets, 0.9)
    predicted = probabilities.argmax(axis=1)
    for target, found in enumerate(thresholds):
        of = predicted == target
        assert found == choose_threshold(probabilities[of].max(axis=1), targets[of] == target, 0.9)
    assert thresholds[2].threshold is None or thresholds[2].threshold > (thresholds[0].threshold or 1)
    tested, truth = photos(4, 2000, skill=3)
    parts = realised_by_class(softmax(tested), truth, thresholds)
    whole = realised(softmax(tested), truth, thresholds)
    assert sum(part.accepted for part in parts) == whole.accepted == accepted_by(softmax(tested), thresholds).sum()
    assert sum(part.photos for part in parts) == whole.photos == 2000


def test_a_class_with_too_few_photos_is_judged_with_all_others_and_a_bad_one_never_accepted() -> None:
    one = choose_threshold(np.ones(100), np.ones(100, dtype=bool), 0.9)
    good, bad, few = (
        choose_threshold(np.full(count, 0.8), np.full(count, right), 0.9)
        for count, right in ((60, True), (60, False), (3, True))
    )
    assert (good.threshold, bad.threshold, few.threshold) == (0.8, None, None)
    assert decisive(one, [good, bad, few]) == [good, bad, one]


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
        choose_threshold(np.ones(9), np.ones(9, dtype=bool), 95)
    with pytest.raises(UserError, match="no photos"):
        risk_coverage(np.ones(0), np.ones(0, dtype=bool))
