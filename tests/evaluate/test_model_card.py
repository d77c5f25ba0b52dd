"""MODEL_CARD.md says what bundle.json says, in the sections and with the front matter that Hugging Face reads."""

import json
from copy import deepcopy
from typing import Any

import pytest
import yaml
from scores.test_score import LABELS, PARAMS, TAXA, made

from florafauna.evaluate.card import model_card
from florafauna.evaluate.finish import bundle_info, claims
from florafauna.scores.score import score

SHA256 = "5f" * 32
TRAINED: dict[str, Any] = {
    "format": 2,
    "name": "vit",
    "architecture": {"name": "vit_base_patch16_224.augreg2_in21k_ft_in1k", "img_size": 224},
    "overlay": {},
    "labels": LABELS,
    "data": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "train_size": 224,
        "test_size": 224,
    },
    "store_size": 256,
    "precision": "fp32",
    "parameters": 85_806_346,
    "trainable_parameters": 14_183_434,
    "weights": {"source": "hub", "name": "vit_base", "sha256": "ab" * 32, "licence": "apache-2.0", "seen": None},
    "photos": {"train": {"n": 1400, "sha256": SHA256}, "val": {"n": 400, "sha256": SHA256}},
    "best_epoch": 7,
    "params": {"trainable": ["blocks.11", "head"], "norms": "tail", "optimizer": "adamw", "rate": 1e-4, "epochs": 10}
    | {"seed": 3},
    "versions": {"florafauna": "0.1.0", "torch": "2.9.9"},
    "sha256": SHA256,
}
PHOTOS = {"n": 400, "sha256": SHA256}


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """What bundle.json says of a model of four species."""
    scores = score(made(held_out=40), PARAMS)
    photos = {"val": {"n": 400, "sha256": "1c" * 32}, "test": {"n": 240, "sha256": "2c" * 32}}
    return bundle_info(TRAINED, scores, TAXA, photos, PARAMS)


@pytest.fixture
def info(described: dict[str, Any]) -> dict[str, Any]:
    """To be changed."""
    return deepcopy(described)


def front(card: str) -> dict[str, Any]:
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("---\n")[1])


def table(card: str, head: str) -> list[list[str]]:
    lines = card[card.index(head) :].splitlines()[2:]
    rows = lines[: next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_bundle_json_is_plain_json_and_keeps_what_training_wrote(info: dict[str, Any]) -> None:
    assert json.loads(json.dumps(info, allow_nan=False)) == info
    assert {key: info[key] for key in TRAINED if key != "photos"} == {
        key: value for key, value in TRAINED.items() if key != "photos"
    }
    assert info["photos"]["train"] == TRAINED["photos"]["train"]
    assert info["photos"]["test"]["n"] == 240
    assert info["taxonomy"] == dict(zip(LABELS, TAXA, strict=True))
    scores = score(made(held_out=40), PARAMS)
    assert claims(scores, PARAMS).items() <= info.items()
    assert info["scores"]["held_out"] == scores.details["held_out"]


def test_the_front_matter_is_that_of_the_hub(info: dict[str, Any]) -> None:
    found = front(model_card(info))
    assert found["license"] == "apache-2.0"
    assert found["library_name"] == "timm"
    assert found["pipeline_tag"] == "image-classification"
    assert found["metrics"] == ["f1", "accuracy"]
    (model,) = found["model-index"]
    (result,) = model["results"]
    assert result["task"]["type"] == "image-classification"
    assert {"type", "name"} <= result["dataset"].keys()
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert values["Weighted F1"] == info["scores"]["test"]["weighted_f1"]


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        (None, {"license": "unknown"}),
        ("CC-BY-NC-4.0", {"license": "cc-by-nc-4.0"}),
        ("on request: ask us", {"license": "other", "license_name": "on request: ask us"}),
        ("dinov3-license", {"license": "other", "license_name": "dinov3-license"}),
    ],
)
def test_the_licence_is_that_of_the_weights(info: dict[str, Any], licence: str | None, expected: dict) -> None:
    info["weights"]["licence"] = licence
    assert expected.items() <= front(model_card(info)).items()


@pytest.mark.parametrize(
    ("licence", "words"),
    [
        ("dinov3-license", "only be passed on under that licence, with a copy of it"),
        ("CC-BY-NC-4.0", "neither they nor this bundle, which is made of them, may be used commercially"),
        ("CC BY-SA 4.0", "only be passed on under that licence"),
        ("apache-2.0", None),
        ("MIT", None),
        (None, None),
    ],
)
def test_the_card_says_what_the_licence_of_the_weights_demands_of_a_bundle(
    licence: str | None, words: str | None
) -> None:
    trained = TRAINED | {"weights": TRAINED["weights"] | {"licence": licence}}
    info = bundle_info(trained, score(made(), PARAMS), TAXA, {"val": PHOTOS, "test": PHOTOS}, PARAMS)
    found = [row for row in table(model_card(info), "| | |") if row[0] == "What it demands"]
    assert len(found) == (words is not None)
    assert words is None or words in found[0][1]


def test_the_repository_and_commit_that_training_started_from_are_named(info: dict[str, Any]) -> None:
    info["weights"] |= {"name": "w.safetensors", "repository": "imageomics/bioclip-2", "revision": "0123abcd"}
    card = model_card(info)
    assert front(card)["base_model"] == "imageomics/bioclip-2"
    (row,) = [row for row in table(card, "| | |") if row[0] == "Training started from"]
    assert row[1] == "w.safetensors of https://huggingface.co/imageomics/bioclip-2, commit 0123abcd"


def test_it_has_the_sections_of_a_model_card(info: dict[str, Any]) -> None:
    card = model_card(info)
    sections = [line.removeprefix("## ") for line in card.splitlines() if line.startswith("## ")]
    assert sections == [
        "Model details", "Uses", "Bias, risks and limitations", "Training", "Evaluation", "Calibration and thresholds",
    ]  # fmt: skip
    assert "85,806,346, 14,183,434 of them trained" in card
    assert "blocks.11 and head" in card
    assert SHA256 in card


def test_scores_stand_there_with_their_intervals_in_all_and_by_class(info: dict[str, Any]) -> None:
    card = model_card(info)
    rows = {row[0]: row[1:] for row in table(card, "| | test photos")}
    for part, cell in zip(("test", "held_out", "val"), rows["Weighted F1"], strict=True):
        score_of = info["scores"][part]
        low, high = score_of["weighted_f1_low"], score_of["weighted_f1_high"]
        assert cell == f"{score_of['weighted_f1']:.3f} ({low:.3f} to {high:.3f})"
    assert "On 200 test photos, on which nothing was decided, its weighted F1 is" in card
    assert "classes with at least five photos (where none has, those with the most): 4 on the test photos." in card
    by_class = {row[0]: row[1:] for row in table(card, "| class |")}
    assert list(by_class) == LABELS
    for label, cells in by_class.items():
        row = info["scores"]["per_class"]["test"][label]
        assert cells[2:] == [f"{row['f1']:.3f} ({row['f1_low']:.3f} to {row['f1_high']:.3f})", str(row["n"])]


def test_classes_with_few_test_photos_are_named(info: dict[str, Any]) -> None:
    assert "fewer than 10 test photos" not in model_card(info)
    info["scores"]["per_class"]["test"][LABELS[1]]["n"] = 4
    assert "1 of 4 classes has fewer than 10 test photos, so its scores say little: Parus minor." in model_card(info)


@pytest.mark.parametrize(
    ("weights", "words", "warned"),
    [
        ({"source": "none"}, "random weights, so the test photos were new", False),
        ({"source": "hub", "seen": "iNaturalist 2021"}, "trained on iNaturalist 2021", True),
        ({"source": "hub", "seen": None}, "it is not stated which photos", True),
    ],
)
def test_it_warns_where_the_weights_may_have_seen_the_test_photos(
    info: dict[str, Any], weights: dict[str, Any], words: str, warned: bool
) -> None:
    info["weights"] = weights
    text = " ".join(model_card(info).split())
    assert words in text
    assert ("**Warning:**" in text) == warned


def test_calibration_is_told_with_its_noise_and_where_it_is_off(info: dict[str, Any]) -> None:
    ece, by_class = info["scores"]["calibration"]["ece"], info["scores"]["per_class"]["calibration"]
    card = " ".join(model_card(info).split())
    assert f"calibrated model would show {ece['calibrated_low']:.3f} to {ece['calibrated_high']:.3f} on" in card
    assert f"interval {ece['low']:.3f} to {ece['high']:.3f}), and {ece['before']:.3f} at a temperature of 1" in card
    for row in by_class.values():
        row |= {"confidence": 0.8, "precision_low": 0.7, "precision": 0.9, "precision_high": 0.95}
    assert "Confidence is off" not in model_card(info)
    by_class["Parus minor"] |= {"precision_low": 0.85}
    assert "predicted as Parus minor (it says 0.800, 0.900 are right)." in model_card(info)
    assert "Warning:** The temperature" not in model_card(info)
    info["calibration"]["temperature"] = 1000.0
    assert "Warning:** The temperature is at the end" in model_card(info)


def test_thresholds_are_told_with_what_they_give(info: dict[str, Any]) -> None:
    thresholds = info["calibration"]["thresholds"]
    card = " ".join(model_card(info).split())
    assert thresholds["sentence"] in card
    given = thresholds["test"]
    assert f"Of {given['n']} test photos {given['accepted']} were accepted, {given['precision']:.1%} of them" in card
    thresholds |= {"per_class": {"Parus major": 0.987, "Parus minor": None}, "test": given | {"accepted": 0}}
    card = " ".join(model_card(info).split())
    assert "of their own or are never accepted: Parus major (0.987), Parus minor (never)." in card
    assert "Of 200 test photos none was accepted" in card
    thresholds |= {"global": None, "sentence": "No threshold shows it.", "per_class": {}}
    card = " ".join(model_card(info).split())
    assert "Nothing is promised of its answers. No threshold shows it." in card
    assert "accepted, at least" not in card


def test_a_label_that_is_markup_stays_text(info: dict[str, Any]) -> None:
    markup = "a|b\n# <script>alert(1)</script> [x](y)"
    per_class = info["scores"]["per_class"]["test"]
    info["scores"]["per_class"]["test"] = {markup: per_class[LABELS[0]] | {"n": 1}}
    info["name"] = markup
    card = model_card(info)
    body = card.split("---\n", 2)[2]
    assert "<script>" not in body.replace("\\<script\\>", "")
    assert front(card)["model-index"][0]["name"] == markup
    assert len(table(card, "| class |")) == 1
    assert "[x]" not in body.replace("\\[x\\]", "")


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({}, "Trained: blocks.11 and head, with adamw"),
        ({"trainable": "all", "norms": "all"}, "Trained: all layers, with"),
        ({"trainable": "head"}, "Trained: the classifier alone, with"),
        ({"trainable": "head", "norms": "all"}, "Trained: the classifier and all normalisation layers, with"),
        ({"norms": "all"}, "Trained: blocks.11, head and all normalisation layers, with"),
    ],
)
def test_the_card_says_which_layers_were_trained(info: dict[str, Any], policy: dict[str, Any], words: str) -> None:
    info["params"] |= policy
    assert words in model_card(info)
