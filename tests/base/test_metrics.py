"""The score that models are chosen by."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from florafauna.base.metrics import weighted_f1


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60))
def test_weighted_f1_is_that_of_scikit_learn(photos: list[tuple[int, int]]) -> None:
    targets, predictions = np.array(photos).T
    expected = f1_score(targets, predictions, average="weighted", zero_division=0)
    assert weighted_f1(targets, predictions) == pytest.approx(expected, abs=1e-12)


def test_all_right_is_exactly_one() -> None:
    targets = np.arange(7).repeat([1, 2, 3, 4, 5, 6, 7])
    assert weighted_f1(targets, targets) == 1.0


def test_training_does_not_wait_for_scikit_learn() -> None:
    code = "import sys, florafauna.training.loop; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
