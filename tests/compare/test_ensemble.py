"""An ensemble is the mean of its models' calibrated probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from florafauna.base.errors import UserError
from florafauna.compare._ensemble import ensemble_logits
from florafauna.scores.calibration import nll, softmax

LOGITS = arrays.arrays(np.float32, (3, 5, 4), elements=st.floats(-60, 60, width=32))


@given(LOGITS, st.lists(st.floats(0.1, 10), min_size=3, max_size=3))
def test_probabilities_are_the_mean_of_the_models(logits: np.ndarray, temperatures: list[float]) -> None:
    found = softmax(ensemble_logits(list(logits), temperatures))
    assert found == pytest.approx(
        np.mean([softmax(each, by) for each, by in zip(logits, temperatures, strict=True)], axis=0)
    )
    assert found.sum(axis=1) == pytest.approx(1)


@given(LOGITS)
def test_the_logits_are_log_probabilities(logits: np.ndarray) -> None:
    assert np.exp(ensemble_logits(list(logits))).sum(axis=1) == pytest.approx(1)


def test_a_model_alone_and_with_itself_is_itself() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (6, 3))
    assert softmax(ensemble_logits([logits], [2.0])) == pytest.approx(softmax(logits, 2.0))
    assert ensemble_logits([logits, logits]) == pytest.approx(ensemble_logits([logits]))


def test_probabilities_too_small_for_a_float_keep_their_order() -> None:
    logits = ensemble_logits([np.array([[0.0, -800.0, -900.0]])] * 2)
    assert logits[0] == pytest.approx([0, -800, -900])


@given(LOGITS, st.integers(0, 3))
def test_an_ensemble_is_never_less_likely_than_its_models_on_average(logits: np.ndarray, target: int) -> None:
    targets = np.full(5, target)
    alone = np.mean([nll(each, targets) for each in logits])
    assert nll(ensemble_logits(list(logits)), targets) <= alone + 1e-6  # Jensen's inequality


def test_bad_input_is_named() -> None:
    with pytest.raises(UserError, match="at least one model"):
        ensemble_logits([])
    with pytest.raises(UserError, match="same photos and classes"):
        ensemble_logits([np.zeros((2, 3)), np.zeros((2, 4))])
    with pytest.raises(UserError, match="2 models needs 2 temperatures, not 1"):
        ensemble_logits([np.zeros((2, 3))] * 2, [1.0])
