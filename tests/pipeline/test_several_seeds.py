"""`training.seeds: 2` and `evaluate.folds: 2` through the whole pipeline: in metrics, comparison and report."""

import json

import pandas as pd
from helpers.project import Project


def test_two_seeds_and_two_folds_are_trained_scored_compared_and_shown(project: Project) -> None:
    labels = pd.read_csv(project.root / "photos/labels.csv", keep_default_na=False)
    labels["brightness"] = [("dark", "bright", "")[row % 5 % 3] for row in range(len(labels))]
    labels.to_csv(project.root / "photos/labels.csv", index=False)
    project.change_params(training__seeds=2, evaluate__folds=2, evaluate__by="brightness")
    project.repro()
    spread = json.loads((project.root / "metrics/details/vit.json").read_text())["seeds"]
    row = json.loads((project.root / "metrics/details/comparison.json").read_text())["models"]["vit"]
    assert spread["n"] == row["seeds_n"] == 2
    assert spread["weighted_f1_min"] <= spread["weighted_f1_mean"] <= spread["weighted_f1_max"]
    assert row["seeds_weighted_f1_sd"] == spread["weighted_f1_sd"]
    page = (project.root / "reports/index.html").read_text(encoding="utf-8")
    assert "Mean over seeds" in page
    assert page.count("(SD, n = 2)") == 3  # the models; the ensemble was not trained

    manifest = pd.read_csv(project.root / "data/manifest.csv", keep_default_na=False)
    assert set(manifest["brightness"]) == {"dark", "bright", ""}
    scores = json.loads((project.root / "metrics/vit.json").read_text())["cv"]
    assert scores["low"] < scores["weighted_f1"] < scores["high"]
    cv = json.loads((project.root / "metrics/details/vit.json").read_text())["cv"]
    assert cv["n"] == len(manifest)
    assert cv["by"]["sites"] == 2
    assert "Every photo tested once" in page
    assert "on a new brightness expect a weighted F1 of" in page
    project.repro()
    again = project.repro("--force", "folds@vit", "--single-item")
    assert again.out.count("as before") == 4, "finished folds are remembered outside the outs"
