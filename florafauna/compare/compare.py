"""The compare stage: how the models do on the same test photos, as metrics, plots and a report."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.files import read_json, write_atomic, write_json
from florafauna.compare._classifiers import Classifier, Findings, Model, read_classifier
from florafauna.compare._corrected import without_corrected
from florafauna.compare._cost import together
from florafauna.compare._ensemble import ensemble_logits
from florafauna.compare._of_all import compare_on_all
from florafauna.compare._power import Collection
from florafauna.compare._verdict import Comparison
from florafauna.compare.paired import Candidate, Question, compare_all
from florafauna.compare.report._page import write_report
from florafauna.compare.report.figures import pareto
from florafauna.scores.bootstrap import Resampling
from florafauna.scores.calibration import reliability, softmax
from florafauna.scores.classification import rounded
from florafauna.scores.score import METRIC_DIGITS, score
from florafauna.scores.settings import EvaluateParams

SEEDS = ("n", "weighted_f1_mean", "weighted_f1_sd")
SCORES = ("weighted_f1", "weighted_f1_low", "weighted_f1_high", "macro_f1", "accuracy", "balanced_accuracy")
SIZES = ("parameters", "trainable_parameters", "megabytes")
ENSEMBLE = "ensemble"


def compare(names: list[str], params: EvaluateParams, root: Path = Path()) -> None:
    """Read the results of training and evaluation below `root`; write metrics, data of plots, and the report.

    Two models or more are also combined into an ensemble, which is scored like a model.

    >>> compare(["efficientnet", "vit"], EvaluateParams())  # doctest: +SKIP
    """
    if ENSEMBLE in names:
        raise UserError(f"'{ENSEMBLE}' is the name of all models together; rename the model in params.yaml.")
    models = ranked(of_the_same_photos([read_classifier(name, root) for name in names]))
    combined = [ensemble(models, params)] if len(models) > 1 else []
    data = read_json(root / "metrics/data.json", keys=["splits", "corrected"])
    comparison = compare_models(models, combined, sum(data["splits"].values()), params)
    classifiers = [*models, *combined]
    of_all = compare_on_all(models, params)
    corrected = without_corrected(data, classifiers, params)
    details, costs = comparison_details(classifiers, comparison), costs_of(classifiers)
    if of_all is not None:
        details["cv"] = {"verdict": of_all.headline, "n": len(models[0].cross_validated.photos)}
    if corrected is not None:
        details["corrected"] = rounded(corrected)
    best = rounded(details["models"][comparison.best]["weighted_f1"], METRIC_DIGITS)
    write_json(root / "metrics/comparison.json", {"best": comparison.best, "test": {"weighted_f1": best}})
    write_json(root / "metrics/details/comparison.json", details)
    write_table(root / "plots/costs.csv", pd.DataFrame([{"model": name} | row for name, row in costs.items()]))
    for each in classifiers:
        write_plots(each, root)
    findings = Findings(models, classifiers, comparison, costs, params, of_all, corrected)
    write_report(root / "reports/index.html", findings, root)
    print(f"{comparison.verdict}.", flush=True)


def ranked(models: Sequence[Model]) -> list[Model]:
    """Models by weighted F1 on the validation photos, best first; among equals the cheaper, then the one given first.

    So the test photos choose nothing, and the score of the best model on them is not one of several, picked because it
    was the highest.
    """
    return sorted(models, key=lambda each: (-each.details["val"]["weighted_f1"], each.cost.size))


def of_the_same_photos(models: Sequence[Model]) -> list[Model]:
    """The models, sharing one table of photos to save memory.

    `UserError` unless all models were scored on the same photos with the same classes.
    """
    first = models[0]
    keys = ["path", "split", "held_out", "target"]
    for other in models[1:]:
        same = first.predictions.labels == other.predictions.labels
        if not same or not first.predictions.photos[keys].equals(other.predictions.photos[keys]):
            raise UserError(
                f"{first.name} and {other.name} were scored on different photos or classes, so their scores cannot be "
                "compared; run `dvc repro` to score both on the same ones."
            )
    photos = first.predictions.photos
    return [replace(each, predictions=replace(each.predictions, photos=photos)) for each in models]


def ensemble(models: Sequence[Model], params: EvaluateParams) -> Classifier:
    """All models as one: the mean of their probabilities, each at its own temperature, scored like a model."""
    logits = ensemble_logits([each.predictions.logits for each in models], [each.temperature for each in models])
    predictions = replace(models[0].predictions, model=ENSEMBLE, logits=logits, of_seeds=(), covered=None)
    scores, cost = score(predictions, params), together([each.cost for each in models])
    about = {"members": sorted(each.name for each in models)} | {key: rounded(getattr(cost, key)) for key in SIZES}
    return Classifier(ENSEMBLE, predictions, scores.details | {"model": about}, scores.per_class, cost)


def compare_models(
    models: Sequence[Model], combined: Sequence[Classifier], photos: int, params: EvaluateParams
) -> Comparison:
    """All pairs of models on the test photos, and the first model, the best, against the ensemble.

    `photos` is the number of photos of all splits.
    """
    tests = {each.name: each.predictions.part("test") for each in [*models, *combined]}
    candidates = {}
    for each in [*models, *combined]:
        seeds = each.details.get("seeds", {"n": 1, "weighted_f1_sd": 0.0})
        predicted = tests[each.name].predicted
        candidates[each.name] = Candidate(predicted, each.cost.size, seeds["n"], seeds["weighted_f1_sd"] ** 2)
    return compare_all(
        {each.name: candidates[each.name] for each in models},
        tests[models[0].name].truth,
        Question(
            params.margin,
            Resampling(params.resamples, params.seed, params.confidence),
            Collection(photos, len(tests[models[0].name].photos)),
        ),
        with_best={each.name: candidates[each.name] for each in combined},
    )


def write_plots(classifier: Classifier, root: Path) -> None:
    """The data of DVC's plots for one classifier's test photos: confusion matrix and reliability."""
    test = classifier.predictions.part("test")
    names = np.array(test.labels)
    pairs = pd.DataFrame({"actual": names[test.targets], "predicted": names[test.predicted]})
    write_table(root / f"plots/confusion/{classifier.name}.csv", pairs)
    bins = reliability(softmax(test.logits, classifier.temperature), test.targets)
    curve = pd.DataFrame([asdict(each) for each in bins if each.photos]).round(6)
    write_table(root / f"plots/reliability/{classifier.name}.csv", curve)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV file with a header."""
    write_atomic(path, table.to_csv(index=False, lineterminator="\n"))


def costs_of(classifiers: Sequence[Classifier]) -> dict[str, dict[str, Any]]:
    """The rows of plots/costs.csv by name: time and memory differ from run to run, so they stay out of git.

    `pareto` says that no other row predicts as fast and scores as well.
    """
    front = pareto([each.cost.seconds_per_photo for each in classifiers], [each.weighted_f1 for each in classifiers])
    return {
        each.name: {"weighted_f1": each.weighted_f1}
        | rounded(asdict(each.cost))
        | {"photos_per_second": round(each.cost.photos_per_second, 1), "pareto": at in front}
        for at, each in enumerate(classifiers)
    }


def comparison_details(classifiers: Sequence[Classifier], comparison: Comparison) -> dict[str, Any]:
    """metrics/details/comparison.json: the verdict, the models by validation score, their ensemble, the pairs.

    `best`, the first model, is the one that `predict` uses. `ensemble` has the same content as metrics/details/M.json
    of a model.
    """
    models = {}
    for each in classifiers:
        seeds = each.details.get("seeds", {})
        models[each.name] = {
            "val_weighted_f1": each.details["val"]["weighted_f1"],
            **{name: each.details["test"][name] for name in SCORES},
            **{f"seeds_{key}": seeds[key] for key in SEEDS if seeds},
            **{name: getattr(each.cost, name) for name in SIZES},
        }
    pairs = {}
    for pair in comparison.pairs:
        figures = asdict(pair)
        pairs[f"{figures.pop('first')} - {figures.pop('second')}"] = figures
    test = classifiers[0].details["test"]
    found = {
        "best": comparison.best,
        "best_is_better": comparison.best_is_better,
        "verdict": comparison.verdict,
        "n": test["n"],
        "groups": test["groups"],
        "models": models,
        "pairs": pairs,
    }
    together = {each.name: each.details for each in classifiers if each.name == ENSEMBLE}
    return rounded(found | together)
