"""Calibration: what a temperature changes, and errors of confidences whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import log_loss

from florafauna.base.errors import UserError
from florafauna.scores.calibration import (
    adaptive_ece,
    adaptive_reliability,
    brier,
    ece,
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
def test_no_temperature_near_by_is_likelier_than_the_fitted_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(0, 3, (40, 3)), rng.integers(0, 3, 40)
    fitted = fit_temperature(logits, targets)
    others = [low for low in (0.9 * fitted, 1.0, 1.1 * fitted) if low <= 50]  # no temperature above is sought
    assert nll(logits, targets, fitted) <= min(nll(logits, targets, other) for other in others) + 1e-6


def test_a_perfect_and_a_hopeless_model_have_temperatures_within_bounds() -> None:
    targets = np.arange(30) % 3
    assert 0.02 <= fit_temperature(np.eye(3)[targets], targets) < 0.03
    assert 45 < fit_temperature(-np.eye(3)[targets], targets) <= 50


def test_calibrated_probabilities_have_hardly_any_error_and_overconfident_ones_do() -> None:
    logits, targets = calibrated(1)
    assert ece(softmax(logits), targets) < 0.012
    assert adaptive_ece(softmax(logits), targets) < 0.012
    assert ece(softmax(4 * logits), targets) > 0.1
    assert adaptive_ece(softmax(4 * logits), targets) > 0.1


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
