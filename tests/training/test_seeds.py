"""`training.seeds: n`: each model is trained n times; the luck in its score is kept, reported and counted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from helpers.tiny import Place, params

from florafauna.base.metrics import weighted_f1
from florafauna.bundle.info import read_info
from florafauna.compare.paired import Candidate, Question, compare_all
from florafauna.scores.bootstrap import Truth
from florafauna.scores.predictions import read_predictions


def test_further_seeds_are_the_runs_that_those_seeds_give_alone(place: Place, tmp_path: Path) -> None:
    many = place.trained(tmp_path / "many", params(seeds=3, seed=5))
    for number, folder in enumerate((many, many / "seeds/1", many / "seeds/2")):
        alone = place.trained(tmp_path / f"alone{number}", params(seed=5 + number))
        for name in ("model.safetensors", "training.json", "history.csv"):
            assert (folder / name).read_bytes() == (alone / name).read_bytes()
    timing = json.loads((tmp_path / "many/timing.json").read_text())
    assert len(timing["seconds_of_seeds"]) == 3
    assert not list((tmp_path / "many/scratch/training").glob("*"))


def test_the_spread_over_seeds_is_made_of_saved_logits(place: Place, tmp_path: Path) -> None:
    bundle = place.bundle(tmp_path, params(seeds=3, epochs=1, warmup_epochs=0))
    test = read_predictions(tmp_path / "predictions/logits.parquet").part("test")
    assert len(test.of_seeds) == 2
    runs = [weighted_f1(test.targets, logits.argmax(axis=1)) for logits in (test.logits, *test.of_seeds)]
    spread = json.loads((tmp_path / "details.json").read_text())["seeds"]
    assert read_info(bundle)["scores"]["seeds"] == spread
    assert not (bundle / "seeds").exists(), "one model is handed on"
    assert spread["n"] == 3
    assert abs(spread["weighted_f1_mean"] - np.mean(runs)) < 1e-6
    assert abs(spread["weighted_f1_sd"] - np.std(runs, ddof=1)) < 1e-6


def test_a_lead_no_larger_than_the_luck_of_training_is_no_finding() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 600)
    wrong = (targets + 1) % 3
    good, fair = np.where(rng.random(600) < 0.9, targets, wrong), np.where(rng.random(600) < 0.82, targets, wrong)
    once = {"good": Candidate(good), "fair": Candidate(fair)}
    photos_alone = compare_all(once, Truth(targets, 3), Question(margin=0.01))
    assert photos_alone.best_is_better
    several = {name: replace(each, seeds=3, seed_variance=0.05**2) for name, each in once.items()}
    lucky = compare_all(several, Truth(targets, 3), Question(margin=0.01))
    assert not lucky.best_is_better
    (before,), (after,) = photos_alone.pairs, lucky.pairs
    assert after.low < before.low < before.high < after.high
