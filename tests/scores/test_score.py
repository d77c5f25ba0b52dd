"""Saved logits become scores: what metrics/M.json and the files of details hold, and what it is made from."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_fscore_support

from florafauna.base.errors import UserError
from florafauna.scores.abstention import choose_thresholds, realised
from florafauna.scores.calibration import fit_temperature, softmax
from florafauna.scores.classification import among_top, rounded
from florafauna.scores.predictions import PHOTO, Predictions, read_predictions, write_predictions
from florafauna.scores.ranks import scores_at
from florafauna.scores.score import score
from florafauna.scores.settings import EvaluateParams

LABELS = ["Parus major", "Parus minor", "Poecile montanus", "Quercus robur"]
TAXA = (
    {"kingdom": "Animalia", "phylum": "Chordata", "family": "Paridae", "genus": "Parus"},
    {"kingdom": "Animalia", "phylum": "Chordata", "family": "Paridae", "genus": "Parus"},
    {"kingdom": "Animalia", "phylum": "Chordata", "family": "Paridae", "genus": "Poecile"},
    {"kingdom": "Plantae", "phylum": "Tracheophyta", "family": "Fagaceae", "genus": "Quercus"},
)
PARAMS = EvaluateParams(resamples=200, precision=0.9)


def made(seed: int = 0, val: int = 400, test: int = 200, held_out: int = 0, skill: float = 4.0) -> Predictions:
    """Logits of photos of four classes; two in a group, every fifth photo is hard."""
    rng = np.random.default_rng(seed)
    count = test + held_out + val
    targets = np.arange(count) % len(LABELS)
    skills = np.where(np.arange(count) % 5, skill, skill / 4)
    logits = 2 * (rng.normal(size=(count, len(LABELS))) + skills[:, None] * np.eye(len(LABELS))[targets])
    photos = pd.DataFrame(
        {
            "path": [f"{number:05d}.jpg" for number in range(count)],
            "split": ["test"] * (test + held_out) + ["val"] * val,
            "held_out": [""] * test + ["location"] * held_out + [""] * val,
            "group": [f"g{number // 2}" for number in range(count)],
            "cluster": "",
            "label": np.array(LABELS)[targets],
            "target": targets,
        }
    )
    return Predictions("vit", LABELS, photos[PHOTO], logits.astype(np.float32), TAXA)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    return [value]


def test_the_metrics_are_the_few_figures_that_one_compares() -> None:
    scores = score(made(), PARAMS)
    test, calibration = scores.details["test"], scores.details["calibration"]
    expected = {
        "test": {"weighted_f1": test["weighted_f1"], "macro_f1": test["macro_f1"]},
        "low": test["weighted_f1_low"],
        "high": test["weighted_f1_high"],
        "val": {"weighted_f1": scores.details["val"]["weighted_f1"]},
        "ece": calibration["ece"]["after"],
    }
    assert list(scores.metrics) == list(expected)
    for found, figure in zip(leaves(scores.metrics), leaves(expected), strict=True):
        assert found == round(figure, 4)


def test_weighted_f1_is_scikit_learn_s_and_lies_within_its_interval() -> None:
    predictions = made()
    found, test = score(predictions, PARAMS).details["test"], predictions.part("test")
    assert found["weighted_f1"] == pytest.approx(f1_score(test.targets, test.predicted, average="weighted"), abs=1e-6)
    assert found["weighted_f1_low"] < found["weighted_f1"] < found["weighted_f1_high"]
    assert (found["n"], found["groups"]) == (200, 100)


def test_means_over_classes_leave_out_those_with_too_few_photos_and_say_how_many_are_left() -> None:
    predictions = made(test=60)
    photos = predictions.photos
    rare = ((photos["split"] == "test") & (photos["target"] == 3)).to_numpy()
    keep = ~rare | (np.cumsum(rare) <= 4)  # four photos of the last class
    few = replace(predictions, photos=photos[keep].reset_index(drop=True), logits=predictions.logits[keep])
    found, test = score(few, PARAMS).details["test"], few.part("test")
    assert (found["macro_classes"], score(predictions, PARAMS).details["test"]["macro_classes"]) == (3, 4)
    macro = f1_score(test.targets, test.predicted, labels=[0, 1, 2], average="macro")
    assert found["macro_f1"] == pytest.approx(macro, abs=1e-6)
    recalls = [np.mean(test.predicted[test.targets == target] == target) for target in range(3)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls), abs=1e-6)
    assert found["macro_f1_low"] < found["macro_f1"] < found["macro_f1_high"]


def test_intervals_hold_the_spread_over_training_seeds() -> None:
    predictions = made()
    alone = score(predictions, PARAMS).details
    seeds = score(replace(predictions, of_seeds=(made(1).logits, made(2, skill=1.0).logits)), PARAMS).details
    for part in ("test", "val"):
        assert seeds[part]["weighted_f1"] == alone[part]["weighted_f1"]
        assert seeds[part]["weighted_f1_low"] < alone[part]["weighted_f1_low"] - 0.05
        assert seeds[part]["weighted_f1_high"] > alone[part]["weighted_f1_high"]


def test_figures_by_class_lie_in_their_own_file_alone() -> None:
    predictions = made(held_out=40)
    scores = score(predictions, PARAMS)
    assert not [label for label in LABELS if label in json.dumps(scores.details)]
    for name, part in (
        ("test", predictions.part("test")),
        ("val", predictions.part("val")),
        ("held_out", predictions.part("test", held_out=True)),
    ):
        expected = precision_recall_fscore_support(part.targets, part.predicted, labels=range(4), zero_division=0)
        for label, *figures in zip(LABELS, *expected, strict=True):
            found = scores.per_class[name][label]
            assert [found[key] for key in ("precision", "recall", "f1", "n")] == pytest.approx(figures, abs=1e-6)
            assert 0 <= found["f1_low"] <= found["f1"] <= found["f1_high"] <= 1
            assert found["f1_low"] < found["f1_high"]
    assert list(scores.per_class["abstention"]) == list(scores.per_class["novelty"]) == LABELS
    assert list(scores.per_class["sentences"]) == ["abstention", "roll_up"]


def test_nothing_is_chosen_on_test_photos() -> None:
    predictions = made()
    logits = predictions.logits.copy()
    logits[(predictions.photos["split"] == "test").to_numpy()] = 0
    one, other = (score(each, PARAMS) for each in (predictions, replace(predictions, logits=logits)))
    for get in (
        lambda each: each.details["calibration"]["temperature"],
        lambda each: each.details["abstention"]["common"]["threshold"],
        lambda each: each.details["ranks"]["roll_up"]["threshold"],
        lambda each: [found["threshold"] for found in each.per_class["abstention"].values()],
    ):
        assert get(one) == get(other)
        assert get(one) is not None
    assert one.details["abstention"]["test"] != other.details["abstention"]["test"]


def test_overconfidence_is_scaled_away() -> None:
    predictions = made(skill=1.5)
    found = score(predictions, PARAMS).details["calibration"]
    assert found["temperature"] == pytest.approx(
        fit_temperature(predictions.part("val").logits, predictions.part("val").targets), abs=1e-6
    )
    assert found["temperature"] > 1.2
    for measure in ("ece", "adaptive_ece", "brier", "nll"):
        assert found[measure]["after"] < found[measure]["before"]


def test_the_threshold_and_what_it_gives_are_those_of_calibrated_probabilities() -> None:
    predictions = made()
    found = score(predictions, PARAMS).details["abstention"]
    val, test = predictions.part("val"), predictions.part("test")
    temperature = fit_temperature(val.logits, val.targets)
    chosen, each = choose_thresholds(softmax(val.logits, temperature), val.targets, val.groups, 0.9)
    gives = realised(softmax(test.logits, temperature), test.targets, test.groups, each)
    assert found["requested_precision"] == 0.9
    assert found["common"]["threshold"] == pytest.approx(chosen.threshold, abs=1e-6)
    assert found["common"]["val"]["precision_low"] >= 0.9
    assert found["test"] == pytest.approx(
        {
            "precision": gives.precision,
            "precision_low": gives.low,
            "precision_high": gives.high,
            "coverage": gives.coverage,
            "accepted": gives.accepted,
            "n": 200,
        },
        abs=1e-6,
    )
    assert 0 < found["aurc"] < 1 - score(predictions, PARAMS).details["test"]["accuracy"]


def test_thresholds_of_classes_add_up() -> None:
    scores = score(made(), PARAMS)
    by_class, whole = scores.per_class["abstention"], scores.details["abstention"]
    assert whole["classes"] == {"n": 4, "own": len(scores.calibration["thresholds"]["per_class"])}
    assert whole["test"] == rounded(scores.calibration["thresholds"]["test"])
    assert whole["test"]["accepted"] == sum(each["test"]["accepted"] for each in by_class.values())
    assert sum(each["test"]["n"] for each in by_class.values()) == 200


def test_the_calibration_handed_on_accepts_what_is_stated() -> None:
    """Temperature and thresholds as they were chosen, not rounded; a class shown to be bad has its own threshold."""
    predictions = made(val=1600, test=400, skill=8.0)
    logits = predictions.logits.copy()
    logits[(predictions.targets == 1) & (np.arange(2000) % 3 > 0), 2] += 22  # a species often taken for another
    predictions = replace(predictions, logits=logits)
    scores = score(predictions, EvaluateParams(resamples=100, precision=0.8))
    val, test = predictions.part("val"), predictions.part("test")
    handed = scores.calibration
    thresholds, chosen_on = handed["thresholds"], softmax(val.logits, handed["temperature"])
    assert handed["temperature"] == fit_temperature(val.logits, val.targets)
    assert thresholds["precision"] == 0.8
    common, each = choose_thresholds(chosen_on, val.targets, val.groups, 0.8)
    assert thresholds["global"] == common.threshold
    assert list(thresholds["per_class"]) == [LABELS[2]]
    least = [thresholds["per_class"].get(label, thresholds["global"]) for label in LABELS]
    assert least == [own.threshold for own in each]
    probabilities = softmax(test.logits, handed["temperature"])
    least = np.array([np.inf if own is None else own for own in least])
    accepted = probabilities.max(axis=1) >= least[test.predicted]
    assert 0 < accepted.sum() < (probabilities.max(axis=1) >= common.threshold).sum()
    stated = {key: thresholds["test"][key] for key in ("precision", "coverage", "accepted", "n")}
    right = (test.predicted == test.targets)[accepted].mean()
    assert stated == pytest.approx(
        {"precision": right, "coverage": accepted.mean(), "accepted": accepted.sum(), "n": 400}, abs=1e-6
    )
    assert thresholds["roll_up"] == pytest.approx(scores.details["ranks"]["roll_up"]["threshold"], abs=1e-6)


def test_novelty_is_the_mean_of_its_classes() -> None:
    scores = score(made(), PARAMS)
    for measure in ("auroc", "fpr95"):
        mean = np.mean([each[measure] for each in scores.per_class["novelty"].values()])
        assert scores.details["novelty"][measure] == pytest.approx(mean, abs=1e-6)
    assert scores.details["novelty"]["auroc"] > 0.7


def test_scores_at_every_rank_that_tells_classes_apart() -> None:
    predictions = made()
    found = score(predictions, PARAMS).details["ranks"]
    assert list(found["by_rank"]) == ["genus", "family", "phylum", "kingdom"]
    test = predictions.part("test")
    genus = scores_at(softmax(test.logits, score(predictions, PARAMS).details["calibration"]["temperature"]),
                      test.targets, TAXA, "genus")  # fmt: skip
    assert genus is not None
    assert found["by_rank"]["genus"] == pytest.approx(
        {"taxa": 3, "photos": 200, "accuracy": genus.accuracy, "weighted_f1": genus.weighted_f1}, abs=1e-6
    )
    assert found["by_rank"]["kingdom"]["accuracy"] > found["by_rank"]["genus"]["accuracy"]
    gives = found["roll_up"]["test"]
    assert list(gives["answered_at"]) == ["label", "genus", "family", "phylum", "kingdom"]
    assert sum(gives["answered_at"].values()) == gives["accepted"] <= gives["n"] == 200
    whole = score(predictions, PARAMS).details["abstention"]["test"]
    assert gives["coverage"] > whole["coverage"]  # what a coarser answer is for


def test_ranks_that_are_unknown_or_alike_are_left_out() -> None:
    assert "ranks" not in score(replace(made(), ancestors=()), PARAMS).details
    alike = tuple({"kingdom": "Animalia"} for _ in LABELS)
    assert "ranks" not in score(replace(made(), ancestors=alike), PARAMS).details
    partly = (*alike[:3], {})
    assert list(score(replace(made(), ancestors=partly), PARAMS).details["ranks"]["by_rank"]) == ["kingdom"]


def test_two_classes_have_no_novelty() -> None:
    predictions = made()
    chosen = (predictions.targets < 2).tolist()
    two = Predictions(
        "vit", LABELS[:2], predictions.photos[chosen].reset_index(drop=True), predictions.logits[chosen, :2]
    )
    assert "novelty" not in score(two, PARAMS).details


@settings(max_examples=15)
@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 12), st.sampled_from([0.0, 1.0, 30.0]))
def test_any_logits_give_files_of_plain_numbers(seed: int, val: int, test: int, skill: float) -> None:
    scores = score(made(seed, val, test, skill=skill), EvaluateParams(resamples=100))
    for part in (scores.details, scores.per_class):
        assert json.loads(json.dumps(part, allow_nan=False)) == part
        assert {type(leaf) for leaf in leaves(part)} <= {int, float, str, type(None)}
    assert str not in {type(leaf) for leaf in leaves(scores.details)}


def test_the_likeliest_class_is_always_among_the_three_likeliest() -> None:
    """Where logits are equal, too: top-3 accuracy is never below accuracy."""
    rng = np.random.default_rng(0)
    logits, targets = rng.integers(0, 2, (3000, 6)).astype(np.float32), rng.integers(0, 6, 3000)
    assert np.array_equal(among_top(logits, targets, k=1), logits.argmax(axis=1) == targets)
    assert among_top(logits, targets)[logits.argmax(axis=1) == targets].all()
    assert among_top(logits, targets, k=6).all()
    ties = replace(made(), logits=np.zeros((600, 4), np.float32))
    found = score(ties, PARAMS).details["test"]
    assert found["top3_accuracy"] == 0.75
    assert found["top3_accuracy_low"] < 0.75 < found["top3_accuracy_high"]


def test_what_predicted_classes_claim_is_told_with_what_they_give() -> None:
    predictions = made(test=1600)
    logits = predictions.logits.copy()
    logits[:, 3] -= 6  # a class that is predicted less often, and more often right than it says
    scores = score(replace(predictions, logits=logits), PARAMS)
    by_class = scores.per_class["calibration"]
    off = [label for label, each in by_class.items()
           if not each["precision_low"] <= each["confidence"] <= each["precision_high"]]  # fmt: skip
    assert LABELS[3] in off
    assert by_class[LABELS[3]]["precision_low"] > by_class[LABELS[3]]["confidence"]
    assert scores.details["calibration"]["classes_off"] == len(off)
    for label, each in by_class.items():
        assert each["precision"] == scores.per_class["test"][label]["precision"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused_in_one_sentence(tmp_path: Path, value: float) -> None:
    predictions = made(val=4, test=4)
    file = tmp_path / "a.parquet"
    logits = predictions.logits.copy()
    logits[[2, 5], 1] = value
    for broken in (replace(predictions, logits=logits), replace(predictions, of_seeds=(logits,))):
        with pytest.raises(UserError, match="logits of vit are NaN or infinite for 2 of 8 photos; train vit again"):
            write_predictions(file, broken)
    assert not file.exists()
    write_predictions(file, predictions)
    table = pq.read_table(file)
    column = pa.FixedSizeListArray.from_arrays(logits.ravel(), len(LABELS))
    pq.write_table(table.set_column(table.column_names.index("logits"), "logits", column), file)
    with pytest.raises(UserError, match=r"for 2 of 8 photos; run `dvc checkout .*a.parquet` or `dvc repro`"):
        read_predictions(file)


@pytest.mark.parametrize(("counts", "split"), [((0, 9), "val"), ((9, 0), "test")])
def test_photos_that_are_missing_are_named(counts: tuple[int, int], split: str) -> None:
    with pytest.raises(UserError, match=f"have no {split} photos"):
        score(made(0, *counts), PARAMS)


def test_ancestors_come_back_from_the_file_and_older_files_have_none(tmp_path: Path) -> None:
    predictions = made(val=4, test=4)
    write_predictions(tmp_path / "a.parquet", predictions)
    assert read_predictions(tmp_path / "a.parquet").ancestors == TAXA
    assert read_predictions(tmp_path / "a.parquet").part("test").ancestors == TAXA
    write_predictions(tmp_path / "b.parquet", replace(predictions, ancestors=()))
    assert read_predictions(tmp_path / "b.parquet").ancestors == ()


def test_a_file_of_logits_has_no_offsets_that_could_overflow(tmp_path: Path) -> None:
    """200,000 photos of 10,700 classes are more logits than 32 bits can number."""
    predictions = replace(made(val=4, test=4), of_seeds=(np.zeros((8, len(LABELS)), np.float32),))
    write_predictions(tmp_path / "a.parquet", predictions)
    table = pq.read_table(tmp_path / "a.parquet")
    for name in ("logits", "logits_seed_1"):
        assert table.schema.field(name).type == pa.list_(pa.float32(), len(LABELS))
        for chunk in table[name].chunks:  # an array of lists of any size would have one more buffer: the offsets
            assert len(chunk.buffers()) == 3
    again = read_predictions(tmp_path / "a.parquet")
    assert np.array_equal(again.logits, predictions.logits)
    assert np.array_equal(again.of_seeds[0], predictions.of_seeds[0])
