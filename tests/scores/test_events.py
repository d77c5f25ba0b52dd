"""Events: photos of one animal have one answer, which is scored like a photo's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scores.test_score import LABELS, PARAMS, made

from florafauna.scores.calibration import softmax
from florafauna.scores.events import by_event, pooled
from florafauna.scores.predictions import Predictions, read_predictions, write_predictions
from florafauna.scores.score import score

NO_BLANK = np.zeros(len(LABELS), dtype=bool)


def in_sequences(predictions: Predictions) -> Predictions:
    """Three photos of one class after another are a sequence of one group."""
    photos = predictions.photos.sort_values(["split", "label", "path"], kind="stable", ignore_index=False)
    logits = predictions.logits[photos.index]
    photos = photos.reset_index(drop=True)
    sequence = photos["split"] + photos["label"] + (photos.groupby(["split", "label"]).cumcount() // 3).astype(str)
    return replace(predictions, photos=photos.assign(sequence=sequence, group=sequence), logits=logits)


def test_pooling_is_the_mean_of_log_probabilities_and_repeating_a_photo_changes_nothing() -> None:
    logits = np.array([[2.0, 0.0, -1.0, 0.5], [0.0, 1.0, 0.0, 0.5]])
    expected = np.exp(np.log(softmax(logits, 2.0)).mean(axis=0))
    assert softmax(pooled(logits, 2.0, NO_BLANK)[None], 2.0)[0] == pytest.approx(expected / expected.sum())
    once = softmax(pooled(logits[:1], 2.0, NO_BLANK)[None], 2.0)
    assert once == pytest.approx(softmax(logits[:1], 2.0))
    assert softmax(pooled(logits[[0, 0, 0]], 2.0, NO_BLANK)[None], 2.0) == pytest.approx(once)


def test_events_are_scored_beside_photos_and_survive_the_file(tmp_path: Path) -> None:
    predictions = in_sequences(made(skill=2.0))
    details = score(predictions, PARAMS).details
    assert details["events"]["photos"] == details["test"]["n"] == 200
    assert details["events"]["n"] == details["events"]["groups"] == 4 * 17
    assert details["events"]["weighted_f1"] > details["test"]["weighted_f1"] + 0.05
    assert (
        details["events"]["weighted_f1_low"] < details["events"]["weighted_f1"] < details["events"]["weighted_f1_high"]
    )
    write_predictions(tmp_path / "logits.parquet", replace(predictions, covered=predictions.logits * np.nan))
    again = read_predictions(tmp_path / "logits.parquet")
    assert again.covered is not None
    assert score(again, PARAMS).details == details
    assert "events" not in score(made(), PARAMS).details


def test_blanks_are_left_out_and_events_of_two_species_too() -> None:
    labels = ["Blank", "fox", "owl"]
    logits = np.log(np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]]))
    photos = pd.DataFrame(
        {
            "path": list("abcde"),
            "split": "test",
            "held_out": "",
            "group": ["burst=1", "burst=1", "", "burst=2", "burst=2"],
            "cluster": "",
            "label": ["Blank", "fox", "Blank", "fox", "owl"],
            "target": [0, 1, 0, 1, 2],
        }
    )
    events = by_event(Predictions("vit", labels, photos, logits.astype(np.float32)), 1.0)
    assert events is not None
    assert events.photos[["path", "label"]].to_numpy().tolist() == [["burst=1", "fox"], ["c", "Blank"]]
    assert softmax(events.logits)[0] == pytest.approx([0.2, 0.7, 0.1], abs=1e-5)
    assert events.predicted.tolist() == [1, 0]


def test_two_cameras_that_count_from_1_have_two_events() -> None:
    photos = pd.DataFrame(
        {"path": list("abcd"), "split": "test", "held_out": "", "group": "", "cluster": "", "label": "fox"}
    )
    photos = photos.assign(target=0, sequence="1", location=["north", "north", "south", "south"])
    logits = np.array([[3.0, 0.0], [1.0, 0.0], [0.0, 5.0], [0.0, 4.0]], dtype=np.float32)
    for table, expected in ((photos, [0, 1]), (photos.drop(columns="location"), [1])):
        events = by_event(Predictions("vit", ["fox", "owl"], table, logits), 1.0)
        assert events is not None
        assert events.predicted.tolist() == expected
