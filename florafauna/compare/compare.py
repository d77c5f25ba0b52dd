"""The compare stage: which model is best on the same test photos, as figures, plots and a report."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.files import write_atomic, write_json
from florafauna.compare._cost import together
from florafauna.compare._ensemble import ensemble_logits
from florafauna.compare._paired import Comparison, compare_all
from florafauna.compare._results import Result, Trained, read_result
from florafauna.compare.report._figures import pareto
from florafauna.compare.report._page import write_report
from florafauna.scores.calibration import reliability, softmax
from florafauna.scores.classification import rounded
from florafauna.scores.scoring import score
from florafauna.scores.settings import EvaluateParams

SEEDS = ("n", "weighted_f1_mean", "weighted_f1_sd")
SCORES = ("weighted_f1", "macro_f1", "accuracy", "balanced_accuracy")
ENSEMBLE = "ensemble"


Row = TypeVar("Row", bound=Result)


def compare(names: list[str], params: EvaluateParams, root: Path = Path()) -> None:
    """Read what training and evaluation left below `root`; write comparison.json, plots' data, and the report.

    Two models or more also make an ensemble, whose scores are written where those of models are.
    """
    if ENSEMBLE in names:
        raise UserError(f"'{ENSEMBLE}' is what all models together are called; rename the model in params.yaml.")
    models = ranked(of_the_same_photos([read_result(name, root) for name in names]))
    combined = [ensemble(models, params)] if len(models) > 1 else []
    comparison = compare_models(models, combined, params)
    models = ranked(models, comparison.best)
    rows = ranked([*models, *combined])
    for each in combined:
        write_json(root / f"metrics/{each.name}.json", each.metrics)
        write_json(root / f"metrics/per_class/{each.name}.json", each.per_class)
    facts = summary(rows, comparison)
    write_json(root / "metrics/comparison.json", facts)
    for result in rows:
        write_plots(result, root)
    write_report(root / "reports/index.html", models, rows, comparison, facts, root)
    print(comparison.verdict, flush=True)


def ranked(results: Sequence[Row], best: str = "") -> list[Row]:
    """By weighted F1, best first; of equals the one named `best`, then the one given first."""
    return sorted(results, key=lambda result: (-result.weighted_f1, result.name != best))


def of_the_same_photos(results: Sequence[Trained]) -> list[Trained]:
    """The results, which then hold one table of the photos together.

    `UserError` unless all models were scored on the same photos with the same classes.
    """
    first = results[0]
    keys = ["path", "split", "held_out", "target"]
    for other in results[1:]:
        same = first.predictions.labels == other.predictions.labels
        if not same or not first.predictions.photos[keys].equals(other.predictions.photos[keys]):
            raise UserError(
                f"{first.name} and {other.name} were scored on different photos or classes, so their scores cannot be "
                "compared; run `dvc repro` to score both on the same ones."
            )
    photos = first.predictions.photos
    return [replace(each, predictions=replace(each.predictions, photos=photos)) for each in results]


def ensemble(models: Sequence[Result], params: EvaluateParams) -> Result:
    """All models as one: the mean of their probabilities, each at its own temperature, scored as every model is."""
    logits = ensemble_logits([each.predictions.logits for each in models], [each.temperature for each in models])
    predictions = replace(models[0].predictions, model=ENSEMBLE, logits=logits, of_seeds=())
    scores, cost = score(predictions, params), together([each.cost for each in models])
    size = {key: asdict(cost)[key] for key in ("parameters", "trainable_parameters", "megabytes")}
    about = rounded({"members": sorted(each.name for each in models)} | size)
    return Result(ENSEMBLE, predictions, scores.summary | {"model": about}, scores.per_class, cost)


def compare_models(models: Sequence[Result], combined: Sequence[Result], params: EvaluateParams) -> Comparison:
    """All pairs of models on the test photos, and the best of them against what combines them."""
    tests = {result.name: result.predictions.part("test") for result in [*models, *combined]}
    first = next(iter(tests.values()))
    spreads = {each.name: each.metrics["seeds"]["weighted_f1_sd"] for each in models if "seeds" in each.metrics}
    return compare_all(
        {each.name: tests[each.name].predicted for each in models},
        first.targets,
        len(first.labels),
        first.groups,
        params.resamples,
        params.seed,
        params.confidence,
        seed_variance={name: spread**2 for name, spread in spreads.items()},
        with_best={each.name: tests[each.name].predicted for each in combined},
    )


def write_plots(result: Result, root: Path) -> None:
    """The data of DVC's plots of one model's test photos: its confusions, and its reliability."""
    test = result.predictions.part("test")
    names = np.array(test.labels)
    pairs = pd.DataFrame({"actual": names[test.targets], "predicted": names[test.predicted]})
    write_atomic(root / f"plots/confusion/{result.name}.csv", pairs.to_csv(index=False, lineterminator="\n"))
    bins = reliability(softmax(test.logits, result.temperature), test.targets)
    curve = pd.DataFrame([asdict(each) for each in bins if each.photos]).round(6)
    write_atomic(root / f"plots/reliability/{result.name}.csv", curve.to_csv(index=False, lineterminator="\n"))


def summary(rows: Sequence[Result], comparison: Comparison) -> dict[str, Any]:
    """metrics/comparison.json: the verdict, models and ensemble from best to worst with their costs, the pairs.

    `best` is a single model, what `predict` uses; `best_with_ensemble` is the first row. `pareto` says that no other
    row predicts as fast and scores as well.
    """
    front = pareto([each.cost.seconds_per_photo for each in rows], [each.weighted_f1 for each in rows])
    models = {}
    for at, result in enumerate(rows):
        test = result.metrics["test"]
        models[result.name] = {
            "rank": at + 1,
            "weighted_f1": test["weighted_f1"],
            "weighted_f1_low": test["weighted_f1_low"],
            "weighted_f1_high": test["weighted_f1_high"],
            **{name: test[name] for name in SCORES[1:]},
            **{f"seeds_{key}": value for key, value in result.metrics.get("seeds", {}).items() if key in SEEDS},
            **asdict(result.cost),
            "pareto": at in front,
        }
        models[result.name]["photos_per_second"] = round(result.cost.photos_per_second, 1)
    pairs = {}
    for pair in comparison.pairs:
        facts = asdict(pair)
        pairs[f"{facts.pop('first')} - {facts.pop('second')}"] = facts
    test = rows[0].metrics["test"]
    facts = {
        "best": comparison.best,
        "best_is_better": comparison.best_is_better,
        "best_with_ensemble": rows[0].name,
        "verdict": comparison.verdict,
        "n": test["n"],
        "groups": test["groups"],
        "models": models,
        "pairs": pairs,
    }
    return {key: rounded(value) for key, value in facts.items()}
