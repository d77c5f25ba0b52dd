"""`training.seeds: 2` through the whole pipeline: the spread is in the metrics, the comparison and the report."""

import json

from helpers.project import Project


def test_two_seeds_are_trained_scored_compared_and_shown(project: Project) -> None:
    project.change_params(training__seeds=2)
    project.repro()
    spread = json.loads((project.root / "metrics/details/vit.json").read_text())["seeds"]
    row = json.loads((project.root / "metrics/details/comparison.json").read_text())["models"]["vit"]
    assert spread["n"] == row["seeds_n"] == 2
    assert spread["weighted_f1_min"] <= spread["weighted_f1_mean"] <= spread["weighted_f1_max"]
    assert row["seeds_weighted_f1_sd"] == spread["weighted_f1_sd"]
    page = (project.root / "reports/index.html").read_text(encoding="utf-8")
    assert "Mean over seeds" in page
    assert page.count("(SD, n = 2)") == 3  # the models; the ensemble was not trained
