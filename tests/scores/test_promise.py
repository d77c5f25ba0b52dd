"""Bounds of shares, what grouped photos are worth, and tests of many thresholds in a row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from florafauna.scores._promise import effective_sizes, intraclass_correlation, last_shown, lower_bound, starts, tried


@given(st.integers(0, 300), st.integers(1, 300))
def test_the_lower_bound_is_that_of_clopper_and_pearson(right: int, count: int) -> None:
    right = min(right, count)
    expected = binomtest(right, count, alternative="greater").proportion_ci(0.95, method="exact").low
    assert float(lower_bound(right, count)) == pytest.approx(expected)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.floats(0, 1))
def test_effective_sizes_are_those_of_the_definition(codes: list[int], icc: float) -> None:
    found = effective_sizes(np.array(codes), icc)
    for count in range(1, len(codes) + 1):
        sizes = np.unique(codes[:count], return_counts=True)[1]
        assert found[count - 1] == pytest.approx(count**2 / (sizes * (1 + (sizes - 1) * icc)).sum())


def test_the_correlation_within_groups_is_found_and_never_taken_for_less() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(4000) // 8
    for icc in (0.0, 0.3, 0.9):
        # With probability √icc a photo shares its group's draw, so two of them do so with probability icc.
        shared = rng.random(4000) < np.sqrt(icc)
        correct = np.where(shared, rng.random(500)[groups], rng.random(4000)) < 0.8
        assert icc - 0.01 < intraclass_correlation(correct, groups) < icc + 0.1
    assert intraclass_correlation(correct, None) == 0
    assert intraclass_correlation(np.ones(10, dtype=bool), np.arange(10) // 2) == 1  # nothing is known about it
    assert intraclass_correlation(np.arange(10) > 3, np.zeros(10)) == 1


def test_a_row_of_thresholds_by_hand() -> None:
    """59 right ones show 95 %; of 400 photos, two starts may take half of the risk each."""
    counts = np.arange(1.0, 401)
    assert last_shown(counts[:58], counts[:58], 0.95, 0.95) == (-1, 0.0)
    assert last_shown(counts[:59], counts[:59], 0.95, 0.95)[0] == 58
    sizes, risk = starts(300, 0.95, 0.95)
    assert np.ceil(sizes).tolist() == [72, 144]
    assert risk == pytest.approx(0.025)
    one_wrong = counts - (counts > 10)
    last, bound = last_shown(one_wrong[:300], counts[:300], 0.95, 0.95)
    assert last == 299
    assert bound == pytest.approx(float(lower_bound(299, 300, 0.975)))  # the first start found an error
    last, bound = last_shown(counts[:300], counts[:300], 0.95, 0.95)
    assert bound == pytest.approx(float(lower_bound(300, 300, 0.95)))  # it handed its share on
    assert last_shown(0.9 * counts, counts, 0.95, 0.95)[0] == -1


@given(st.floats(1, 1e6), st.floats(0.5, 0.99), st.floats(0.5, 0.99))
def test_starts_share_the_risk(effective: float, precision: float, confidence: float) -> None:
    sizes, risk = starts(effective, precision, confidence)
    assert len(sizes) * risk == pytest.approx(1 - confidence)
    assert precision ** sizes[0] == pytest.approx(risk)
    assert len(sizes) == 1 or sizes[-1] < effective


def test_no_row_of_true_nulls_is_passed_more_often_than_the_risk_allows() -> None:
    """Every threshold has a precision of just 95 %, so any that passes is a mistake."""
    rng = np.random.default_rng(1)
    counts = tried(np.arange(1.0, 1001), 0.95, 0.95)
    passed = [last_shown(right[counts - 1], counts * 1.0, 0.95, 0.95)[0] >= 0 for right in
              (rng.random((1000, 1000)) < 0.95).cumsum(axis=1)]  # fmt: skip
    assert 0.01 < np.mean(passed) <= 0.05
