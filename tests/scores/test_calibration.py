"""Calibration: what a temperature changes, and errors of confidences whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import norm
from sklearn.metrics import log_loss

from florafauna.base.errors import UserError
from florafauna.scores.calibration import (
    SPREAD,
    adaptive_ece,
    adaptive_reliability,
    at_bound,
    brier,
    ece,
    ece_range,
    fit_temperature,
    nll,
    reliability,
    softmax,
)

LOGITS = arrays.arrays(np.float64, (7, 4), elements=st.floats(-50, 50, width=32))


def calibrated(seed: int, photos: int = 20_000, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is, by construction, how likely each class is."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (photos, classes))
    steps = softmax(logits).cumsum(axis=1)
    return logits, (rng.random((photos, 1)) > steps).sum(axis=1).clip(0, classes - 1)


@given(LOGITS, st.floats(0.05, 20))
def test_probabilities_sum_to_1_and_a_temperature_keeps_the_likeliest_class(
    logits: np.ndarray, temperature: float
) -> None:
    probabilities = softmax(logits, temperature)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    likeliest = np.take_along_axis(probabilities, logits.argmax(axis=1)[:, None], axis=1)[:, 0]
    assert (likeliest == probabilities.max(axis=1)).all()


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_fitted_temperature_undoes_over_and_underconfidence(scale: float) -> None:
    logits, targets = calibrated(0)
    temperature = fit_temperature(scale * logits, targets)
    assert temperature == pytest.approx(scale, rel=0.05)
    assert ece(softmax(scale * logits, temperature), targets) < 0.012


@given(st.integers(0, 1000))
def test_no_temperature_near_by_is_likelier_than_the_fitted_one_given_the_prior(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(0, 3, (40, 3)), rng.integers(0, 3, 40)
    fitted = fit_temperature(logits, targets)

    def loss(temperature: float) -> float:
        return 40 * nll(logits, targets, temperature) - norm.logpdf(np.log(temperature), 0, SPREAD)

    assert loss(fitted) <= min(loss(0.9 * fitted), loss(1.0), loss(1.1 * fitted)) + 1e-6


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_where_validation_is_all_right_confidence_does_not_run_away(scale: float) -> None:
    """Neither do new photos become less likely, nor photos of unknown species certain."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 10, 4000)
    logits = scale * 5 * (rng.normal(size=(4000, 10)) + 5 * np.eye(10)[targets])
    unknown = scale * 5 * (rng.normal(size=(1000, 10)) + 2.5 * np.eye(10)[rng.integers(0, 10, 1000)])
    val = np.flatnonzero(logits.argmax(axis=1) == targets)[:150]
    fitted = fit_temperature(logits[val], targets[val])
    assert 0.5 < fitted <= 1.01
    assert nll(logits, targets, fitted) < nll(logits, targets) + 0.005
    certain, *fair = ((softmax(unknown, each).max(axis=1) >= 0.99).mean() for each in (fitted, 1.0, scale))
    assert certain < max(fair) + 0.05  # as they are given, or with the temperature that is true here


def test_a_temperature_at_the_end_of_the_search_is_noticed() -> None:
    targets = np.arange(3000) % 3
    assert at_bound(fit_temperature(1e-4 * np.eye(3)[targets], targets))
    assert not at_bound(fit_temperature(np.eye(3)[targets], targets))


def test_calibrated_probabilities_have_hardly_any_error_and_overconfident_ones_do() -> None:
    logits, targets = calibrated(1)
    assert ece(softmax(logits), targets) < 0.012
    assert adaptive_ece(softmax(logits), targets) < 0.012
    assert ece(softmax(4 * logits), targets) > 0.1
    assert adaptive_ece(softmax(4 * logits), targets) > 0.1


def test_the_error_of_few_photos_lies_where_that_of_a_calibrated_model_does() -> None:
    inside, from_zero = [], []
    for seed in range(40):
        logits, targets = calibrated(seed, photos=100)
        found, within = ece(softmax(logits), targets), ece_range(softmax(logits), targets)
        inside.append(within.calibrated_low <= found <= within.calibrated_high)
        from_zero.append(within.low == 0 and found < within.high)
    assert np.mean(inside) > 0.85
    assert np.mean(from_zero) > 0.9


def test_an_error_that_is_no_noise_has_an_interval_around_it() -> None:
    logits, targets = calibrated(0, photos=1000)
    truth = ece(softmax(4 * calibrated(1)[0]), calibrated(1)[1])
    within = ece_range(softmax(4 * logits), targets)
    assert within.calibrated_high < within.low < truth < within.high
    assert within == ece_range(softmax(4 * logits), targets)


def test_photos_that_are_copies_leave_the_error_less_certain() -> None:
    logits, targets = calibrated(0, photos=100)
    copies, of_copies, groups = np.repeat(logits, 10, axis=0), np.repeat(targets, 10), np.repeat(np.arange(100), 10)
    grouped, ignored = (ece_range(softmax(copies), of_copies, known) for known in (groups, None))
    assert grouped.calibrated_high > 2 * ignored.calibrated_high
    assert grouped.high - grouped.low > ignored.high - ignored.low


def test_errors_worked_out_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.3, 0.7]])
    targets = np.array([0, 1, 1, 1])
    assert ece(probabilities, targets) == pytest.approx(0.5 * abs(0.9 - 0.5) + 0.5 * abs(0.7 - 1))
    assert adaptive_ece(probabilities, targets, bins=2) == pytest.approx(0.35)
    assert adaptive_ece(probabilities, targets, bins=1) == pytest.approx(0.8 - 0.75)
    assert brier(probabilities, targets) == pytest.approx((0.02 + 1.62 + 0.18 + 0.18) / 4)
    assert [(each.photos, each.accuracy) for each in reliability(probabilities, targets)] == [(2, 1.0), (2, 0.5)]


@given(LOGITS, st.integers(1, 20))
def test_bins_hold_every_photo_once(logits: np.ndarray, bins: int) -> None:
    probabilities, targets = softmax(logits), np.arange(7) % 4
    right = (probabilities.argmax(axis=1) == targets).sum()
    for found in (reliability(probabilities, targets, bins), adaptive_reliability(probabilities, targets, bins)):
        assert len(found) <= bins
        assert sum(each.photos for each in found) == 7
        assert sum(each.photos * each.accuracy for each in found) == pytest.approx(right)
        assert all(0 <= each.confidence <= 1 for each in found)
    sizes = [each.photos for each in adaptive_reliability(probabilities, targets, bins)]
    assert max(sizes) - min(sizes) <= 1


def test_certainty_falls_into_the_last_bin() -> None:
    (only,) = reliability(np.array([[1.0, 0.0], [0.95, 0.05]]), np.array([0, 0]))
    assert only.photos == 2
    assert only.confidence == pytest.approx(0.975)


@given(LOGITS)
def test_scores_are_those_of_scikit_learn_and_of_the_definition(logits: np.ndarray) -> None:
    targets = np.arange(7) % 4
    moderate = logits / 10  # scikit-learn clips probabilities near 0
    assert nll(moderate, targets) == pytest.approx(log_loss(targets, softmax(moderate), labels=range(4)))
    expected = ((softmax(logits) - np.eye(4)[targets]) ** 2).sum(axis=1).mean()
    assert brier(softmax(logits), targets) == pytest.approx(expected)
    assert 0 <= brier(softmax(logits), targets) <= 2


def test_bad_input_is_named() -> None:
    with pytest.raises(UserError, match="temperature must be above 0"):
        softmax(np.zeros((1, 2)), 0)
    with pytest.raises(UserError, match="no validation photos"):
        fit_temperature(np.zeros((0, 2)), np.zeros(0, dtype=int))
    with pytest.raises(UserError, match="no photos to measure calibration"):
        ece(np.zeros((0, 2)), np.zeros(0, dtype=int))
