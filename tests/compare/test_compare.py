"""The compare stage: the ensemble beside its models, what each costs, and the table for the terminal."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.report_project import EVALUATE, NAMES, Project, make_project
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from florafauna.base.errors import UserError
from florafauna.base.files import write_json
from florafauna.base.metrics import weighted_f1
from florafauna.commands.summary import table
from florafauna.compare._classifiers import read_classifier
from florafauna.compare._cost import Cost, cost_of, together
from florafauna.compare.compare import compare, ranked
from florafauna.scores.calibration import softmax
from florafauna.scores.predictions import read_predictions


@pytest.fixture(scope="module")
def comparison(project: Project) -> dict[str, Any]:
    return read(project, "metrics/details/comparison")


@pytest.fixture(scope="module")
def costs(project: Project) -> pd.DataFrame:
    return pd.read_csv(project.root / "plots/costs.csv", index_col="model")


def read(project: Project, name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((project.root / f"{name}.json").read_text(encoding="utf-8"))
    return value


def test_the_ensemble_is_scored_on_the_mean_of_calibrated_probabilities(
    project: Project, comparison: dict[str, Any]
) -> None:
    tests = [
        read_predictions(project.root / f"predictions/{name}/logits.parquet").part("test") for name in project.models
    ]
    temperatures = [read(project, f"metrics/details/{name}")["calibration"]["temperature"] for name in project.models]
    mean = np.mean([softmax(each.logits, by) for each, by in zip(tests, temperatures, strict=True)], axis=0)
    row, details = comparison["models"]["ensemble"], comparison["ensemble"]
    expected = weighted_f1(tests[0].targets, mean.argmax(axis=1))
    assert row["weighted_f1"] == details["test"]["weighted_f1"] == pytest.approx(expected, abs=1e-6)
    assert row["weighted_f1_low"] < row["weighted_f1"] < row["weighted_f1_high"]
    assert details["model"]["members"] == sorted(project.models)
    of_models_alone = {"covered"}  # photos whose animals are covered are shown to each model
    assert list(details) == [key for key in read(project, "metrics/details/oak") if key not in of_models_alone]


def test_the_ensemble_costs_what_its_models_cost(project: Project, costs: pd.DataFrame) -> None:
    rows, row = [costs.loc[name] for name in project.models], costs.loc["ensemble"]
    for key in ("parameters", "trainable_parameters", "megabytes", "training_seconds"):
        assert row[key] == pytest.approx(sum(each[key] for each in rows))
    assert 1 / row["photos_per_second"] == pytest.approx(sum(1 / each["photos_per_second"] for each in rows), rel=1e-3)
    assert row["peak_memory_mb"] == max(each["peak_memory_mb"] for each in rows)


def test_costs_are_those_of_the_files(project: Project, comparison: dict[str, Any], costs: pd.DataFrame) -> None:
    for name in project.models:
        row, timing = costs.loc[name], read(project, f"metrics/timing/{name}")
        model = read(project, f"metrics/details/{name}")["model"]
        for key in ("parameters", "trainable_parameters", "megabytes"):
            assert row[key] == model[key] == comparison["models"][name][key]
        assert (row["training_seconds"], row["peak_memory_mb"]) == (timing["seconds"], timing["peak_memory_mb"])
        assert row["photos_per_second"] == read(project, f"predictions/{name}/timing")["photos_per_second"]


def test_what_is_in_git_says_nothing_that_a_clock_or_memory_meter_says(project: Project) -> None:
    before = {file: file.read_bytes() for file in (project.root / "metrics").rglob("*comparison.json")}
    assert len(before) == 2
    timing = project.root / "predictions/oak/timing.json"
    text = timing.read_text()
    timing.write_text(text.replace("400.5", "0.5"))
    project.write()
    assert {file: file.read_bytes() for file in before} == before
    timing.write_text(text)
    project.write()


def test_pareto_is_what_no_other_row_beats_in_score_and_speed(costs: pd.DataFrame) -> None:
    rows = costs.to_dict("records")
    for row in rows:
        beaten = [
            other
            for other in rows
            if other["weighted_f1"] >= row["weighted_f1"]
            and other["photos_per_second"] >= row["photos_per_second"]
            and (other["weighted_f1"], other["photos_per_second"]) != (row["weighted_f1"], row["photos_per_second"])
        ]
        assert row["pareto"] == (not beaten)
    assert {row["pareto"] for row in rows} == {True, False}


def test_the_best_model_is_chosen_on_validation_photos_and_the_cheaper_of_equals(project: Project) -> None:
    def best(val: dict[str, float], test: float = 0.5, **parameters: int) -> list[str]:
        models = []
        for name, score in val.items():
            model = read_classifier("oak", project.root)
            details = model.details | {"val": {"weighted_f1": score}, "test": {"weighted_f1": test + 1 - score}}
            models.append(
                replace(model, name=name, details=details, cost=replace(model.cost, parameters=parameters.get(name, 5)))
            )
        return [each.name for each in ranked(models)]

    assert best({"oak": 0.4, "elm": 0.6, "ash": 0.5}) == ["elm", "ash", "oak"]  # the reverse of the test scores
    assert best({"oak": 0.5, "elm": 0.5, "ash": 0.4}) == ["oak", "elm", "ash"]
    assert best({"oak": 0.5, "elm": 0.5, "ash": 0.4}, elm=4, ash=1) == ["elm", "oak", "ash"]


def test_the_best_model_comes_first_whatever_the_test_photos_say(tmp_path: Path) -> None:
    project = make_project(tmp_path, NAMES, each=4)
    for name, val in (("oak", 0.1), ("elm", 0.2)):  # oak is far better on the test photos
        details = read(project, f"metrics/details/{name}")
        details["val"]["weighted_f1"] = val
        write_json(tmp_path / f"metrics/details/{name}.json", details)
    page = project.write()
    found = read(project, "metrics/details/comparison")
    assert found["best"] == read(project, "metrics/comparison")["best"] == "elm"
    assert list(found["models"]) == ["elm", "oak", "ensemble"]
    assert next(iter(found["pairs"])) == "oak - elm"
    assert "elm, chosen on the validation photos, is " in found["verdict"]
    assert "<title>elm is chosen" in page


def test_the_share_of_test_photos_is_that_of_all_splits(project: Project, comparison: dict[str, Any]) -> None:
    """48 of 1,200."""
    pairs = comparison["pairs"].values()
    assert len(pairs) == 2
    assert all("of which 4 % are test photos" in pair["sentence"] for pair in pairs if pair["finding"] != "better")
    assert any(pair["finding"] == "not distinguishable" for pair in pairs)


def test_the_metric_of_the_comparison_is_the_best_model_and_its_score(
    project: Project, comparison: dict[str, Any]
) -> None:
    score = comparison["models"][comparison["best"]]["weighted_f1"]
    assert read(project, "metrics/comparison") == {
        "best": comparison["best"], "test": {"weighted_f1": round(score, 4)},
    }  # fmt: skip


def test_plots_have_the_ensemble_too(project: Project) -> None:
    counts = {name: len(pd.read_csv(project.root / f"plots/confusion/{name}.csv")) for name in project.rows}
    assert set(counts.values()) == {48}
    for name in project.rows:
        assert list(pd.read_csv(project.root / f"plots/reliability/{name}.csv")) == ["confidence", "accuracy", "photos"]


def test_one_model_is_no_ensemble(tmp_path: Path) -> None:
    project = make_project(tmp_path, NAMES, models=("oak",), each=4)
    found = read(project, "metrics/details/comparison")
    assert (list(found["models"]), found["pairs"], found["best"]) == (["oak"], {}, "oak")
    assert "ensemble" not in found
    assert [each.name for each in (tmp_path / "plots").rglob("*.csv")].count("oak.csv") == 2
    assert not [*tmp_path.rglob("ensemble*")]


def test_a_model_named_ensemble_is_refused(project: Project) -> None:
    with pytest.raises(UserError, match="'ensemble' is the name of all models together"):
        compare(["oak", "ensemble"], EVALUATE, project.root)


def test_scores_by_class_that_are_missing_are_named(tmp_path: Path) -> None:
    project = make_project(tmp_path, NAMES, each=4)
    (tmp_path / "predictions/elm/per_class.json").unlink()
    with pytest.raises(UserError, match=r"predictions/elm/per_class\.json is missing"):
        project.write()


def test_a_figure_of_speed_that_is_missing_is_named(tmp_path: Path) -> None:
    project = make_project(tmp_path, NAMES, each=4)
    for file, key in (
        ("metrics/timing/elm.json", "seconds"),
        ("metrics/timing/elm.json", "hardware"),
        ("predictions/elm/timing.json", "photos_per_second"),
    ):
        whole = read(project, file.removesuffix(".json"))
        write_json(tmp_path / file, {name: value for name, value in whole.items() if name != key})
        with pytest.raises(UserError, match=rf"{file} has no '{key}'; run `dvc repro`"):
            project.write()
        write_json(tmp_path / file, whole)


def test_the_table_for_the_terminal_lists_models_and_ensemble(
    project: Project, comparison: dict[str, Any], costs: pd.DataFrame
) -> None:
    made, verdict = table(project.root)
    printed = StringIO()
    Console(width=200, file=printed).print(made)
    lines = printed.getvalue().splitlines()
    assert verdict == comparison["verdict"]
    assert "95" not in "".join(str(column.header) for column in made.columns), "evaluate.confidence may be another"
    for name, row in comparison["models"].items():
        (line,) = [line for line in lines if f" {name} " in line]
        for text in (
            f"{row['weighted_f1']:.3f}",
            f"{row['parameters']:,}",
            f"{costs.at[name, 'training_seconds']:.0f} s",
        ):
            assert text in line


def test_the_table_names_the_file_that_was_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics/details/comparison\.json is missing; run `dvc repro`"):
        table(tmp_path)
    write_json(tmp_path / "metrics/details/comparison.json", {})
    with pytest.raises(UserError, match=r"plots/costs\.csv is missing; run `dvc repro` or `dvc pull plots`"):
        table(tmp_path)


some_costs = st.builds(
    Cost, *[st.integers(1, 10**9)] * 2, *[st.floats(0.1, 1e4)] * 3, st.integers(1, 10**5)
)  # what `cost_of` makes of the files


@given(st.lists(some_costs, min_size=1, max_size=5))
def test_together_is_slower_than_the_slowest_and_the_order_does_not_matter(some: list[Cost]) -> None:
    found = together(some)
    assert found.photos_per_second <= min(each.photos_per_second for each in some) * (1 + 1e-9)
    assert found.seconds_per_photo == pytest.approx(sum(each.seconds_per_photo for each in some))
    again = together(some[::-1])
    assert (again.parameters, again.peak_memory_mb) == (found.parameters, found.peak_memory_mb)
    assert again.megabytes == pytest.approx(found.megabytes)


def test_the_cost_of_a_model_is_read_from_its_three_files() -> None:
    model = {"parameters": 10, "trainable_parameters": 3, "megabytes": 0.5, "best_epoch": 2}
    found = cost_of(model, {"seconds": 9.5, "peak_memory_mb": 700}, {"photos_per_second": 40.0})
    assert found == Cost(10, 3, 0.5, 40.0, 9.5, 700)
    assert together([found]) == found
