"""Geometry of figures: the Pareto front, ticks, labels; and which labels are suspected."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from florafauna.compare.report._figures import HEIGHT, WIDTH, around, pareto, place_labels, x_axis, y_axis
from florafauna.compare.report._predicted import predicted_labels
from florafauna.compare.report._wrong_labels import suspected
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


def test_a_photo_is_suspected_only_if_all_models_are_sure_of_the_same_class() -> None:
    targets = np.repeat([0, 1, 2], 10)
    logits = 4 * np.eye(3, dtype=np.float32)[targets]
    first, second = logits.copy(), logits.copy()
    first[0] = second[0] = [0, 8, 0]  # both see class 1
    first[1], second[1] = [0, 8, 0], [0, 0, 8]  # they disagree
    first[2], second[2] = [0, 8, 0], [1, 1.2, 0]  # one is unsure
    first[3] = [0, 8, 0]  # one agrees with the label
    photos = pd.DataFrame({"path": [f"{n:02d}.jpg" for n in range(30)], "split": "test", "target": targets})
    models = [predicted_labels(Predictions("m", list("abc"), photos, each), 1.0) for each in (first, second)]
    assert [(each.path, each.label, each.instead) for each in suspected(models)] == [("00.jpg", "a", "b")]
    alone = [each.path for each in suspected(models[:1])]
    assert alone == ["00.jpg", "01.jpg", "02.jpg", "03.jpg"]
    assert all(each.confidence == models[0].confidence[0] for each in suspected(models[:1]))
