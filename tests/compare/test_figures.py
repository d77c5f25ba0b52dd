"""Geometry of figures: the Pareto front, ticks, labels; and which labels are suspected."""

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from hypothesis import given
from hypothesis import strategies as st

from florafauna.compare.report._wrong_labels import suspected
from florafauna.compare.report.figures import HEIGHT, WIDTH, around, pareto, place_labels, x_axis, y_axis
from florafauna.scores.calibration import softmax
from florafauna.scores.predictions import Predictions

few = st.integers(0, 6).map(float)


@given(st.lists(st.tuples(few, few), min_size=1, max_size=9))
def test_pareto_front_is_what_nothing_beats(points: list[tuple[float, float]]) -> None:
    costs, scores = [cost for cost, _ in points], [score for _, score in points]
    front = pareto(costs, scores)
    assert front
    for at, (cost, score) in enumerate(points):
        beaten = any((c, -s) != (cost, -score) and c <= cost and s >= score for c, s in points)
        assert (at in front) != beaten
    kept = [points[at] for at in front]
    assert kept == sorted(kept)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_lie_on_the_axis_in_order(low: float, width: float) -> None:
    axis = x_axis("x", low, low + width)
    places = [at for at, _ in axis.ticks]
    assert 2 <= len(places) <= 12
    assert places == sorted(places)
    assert all(axis.start - 0.1 <= at <= axis.end + 0.1 for at in places)


@given(st.floats(1e-3, 1e9), st.floats(4, 1e6))
def test_log_ticks_lie_on_the_axis(low: float, factor: float) -> None:
    axis = x_axis("x", low, low * factor, log=True)
    assert 1 <= len(axis.ticks) <= 7
    assert all(axis.start - 0.1 <= at <= axis.end + 0.1 for at, _ in axis.ticks)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_values_fit_into_limits_made_for_them(values: list[float]) -> None:
    axis = y_axis("y", *around(values, 0.05))
    assert all(axis.end - 0.1 <= axis(value) <= axis.start + 0.1 for value in values)


@given(st.lists(st.tuples(st.floats(54, WIDTH - 14), st.floats(20, HEIGHT - 50)), min_size=1, max_size=6))
def test_labels_stay_in_the_picture(points: list[tuple[float, float]]) -> None:
    for label in place_labels(points, ["resnet50"] * len(points)):
        assert 0 <= label.x <= WIDTH - 8 * 5
        assert 0 <= label.y <= HEIGHT + 30


def test_suspects_are_found_as_cleanlab_finds_them() -> None:
    """By `prune_by_class`, ranked by self-confidence; rounding the joint may tell one photo a class apart."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 6, 600)
        logits = (rng.normal(size=(600, 6)) * 1.3 + 3.5 * np.eye(6)[truth]).astype(np.float32)
        targets = np.where(rng.random(600) < 0.07, rng.integers(0, 6, 600), truth)
        photos = pd.DataFrame({"path": [f"{row:03d}.jpg" for row in range(600)], "split": "train", "target": targets})
        found = suspected(Predictions("all", list("abcdef"), photos, logits))
        rows = find_label_issues(
            targets, softmax(logits), filter_by="prune_by_class", return_indices_ranked_by="self_confidence"
        )
        ours, theirs = [each.path for each in found], [f"{row:03d}.jpg" for row in rows]
        assert len(set(ours) ^ set(theirs)) <= 6 < len(ours)
        assert [path for path in ours if path in theirs] == [path for path in theirs if path in ours]


def test_what_the_labels_agree_with_is_not_suspected() -> None:
    targets = np.repeat([0, 1, 2], 10)
    logits = 4 * np.eye(3, dtype=np.float32)[targets]
    photos = pd.DataFrame({"path": [f"{n:02d}.jpg" for n in range(30)], "split": "test", "target": targets})
    assert suspected(Predictions("m", list("abc"), photos, logits)) == []
    logits[4] = [0, 8, 0]
    (found,) = suspected(Predictions("m", list("abcd"), photos, np.pad(logits, ((0, 0), (0, 1)))))
    assert (found.path, found.label, found.instead) == ("04.jpg", "a", "b")
    assert found.of_label < 0.01 < 0.9 < found.confidence
