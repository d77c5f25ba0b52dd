"""The compare stage: which model is best on the same test photos, as figures, plots and a report."""

import json
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from florafauna.errors import UserError
from florafauna.files import write_atomic, write_json
from florafauna.params import EvaluateParams
from florafauna.predictions import Predictions, read_predictions
from florafauna.report import write_report
from florafauna.scores.calibration import reliability, softmax
from florafauna.scores.classification import rounded
from florafauna.scores.comparison import Comparison, compare_all

SCORES = ("weighted_f1", "macro_f1", "accuracy", "balanced_accuracy")


@dataclass(frozen=True)
class Result:
    """What is known of one model: its logits, metrics/M.json, learning curve, and what training and prediction took."""

    name: str
    predictions: Predictions
    metrics: dict[str, Any]
    history: pd.DataFrame
    training: dict[str, Any]
    prediction: dict[str, Any]

    @property
    def weighted_f1(self) -> float:
        """On the test photos: what models are ranked by."""
        return float(self.metrics["test"]["weighted_f1"])


def compare(names: list[str], params: EvaluateParams, root: Path = Path()) -> None:
    """Read what training and evaluation left below `root`; write comparison.json, the plots' data and the report."""
    results = sorted((read_result(name, root) for name in names), key=lambda result: -result.weighted_f1)
    refuse_different_photos(results)
    comparison = compare_models(results, params)
    write_json(root / "metrics/comparison.json", summary(results, comparison))
    for result in results:
        test = result.predictions.part("test")
        names_of = np.array(test.labels)
        pairs = pd.DataFrame({"actual": names_of[test.targets], "predicted": names_of[test.predicted]})
        write_atomic(root / f"plots/confusion/{result.name}.csv", _csv(pairs))
        bins = reliability(softmax(test.logits, result.metrics["calibration"]["temperature"]), test.targets)
        curve = pd.DataFrame([asdict(each) for each in bins if each.photos]).round(6)
        write_atomic(root / f"plots/reliability/{result.name}.csv", _csv(curve))
    write_report(root / "reports/index.html", results, comparison, root)
    print(comparison.verdict, flush=True)


def read_result(name: str, root: Path = Path()) -> Result:
    """Everything about one model; `UserError` names the file that is missing."""
    history = root / f"models/{name}/history.csv"
    if not history.is_file():
        raise UserError(f"{history} is missing; run `dvc pull {history.parent}` or `dvc repro`.")
    return Result(
        name,
        read_predictions(root / f"predictions/{name}.parquet"),
        _json(root / f"metrics/{name}.json"),
        pd.read_csv(history),
        _json(root / f"metrics/timing/{name}.json"),
        _json(root / f"metrics/timing/{name}_prediction.json"),
    )


def refuse_different_photos(results: list[Result]) -> None:
    """`UserError` unless all models were scored on the same photos with the same classes."""
    first = results[0]
    keys = ["path", "split", "held_out", "target"]
    for other in results[1:]:
        same = first.predictions.labels == other.predictions.labels
        if not same or not first.predictions.photos[keys].equals(other.predictions.photos[keys]):
            raise UserError(
                f"{first.name} and {other.name} were scored on different photos or classes, so their scores cannot be "
                "compared; run `dvc repro` to score both on the same ones."
            )


def compare_models(results: list[Result], params: EvaluateParams) -> Comparison:
    """All pairs of models on the test photos."""
    tests = {result.name: result.predictions.part("test") for result in results}
    first = next(iter(tests.values()))
    predicted = {name: test.predicted for name, test in tests.items()}
    return compare_all(
        predicted, first.targets, len(first.labels), first.groups, params.resamples, params.seed, params.confidence
    )


def summary(results: list[Result], comparison: Comparison) -> dict[str, Any]:
    """metrics/comparison.json: the verdict, the models from best to worst, the pairs."""
    models = {}
    for rank, result in enumerate(results, start=1):
        test = result.metrics["test"]
        models[result.name] = {
            "rank": rank,
            "weighted_f1": test["weighted_f1"],
            "weighted_f1_low": test["weighted_f1_low"],
            "weighted_f1_high": test["weighted_f1_high"],
            **{name: test[name] for name in SCORES[1:]},
            "parameters": result.metrics["model"]["parameters"],
            "trainable_parameters": result.metrics["model"]["trainable_parameters"],
        }
    pairs = {}
    for pair in comparison.pairs:
        facts = asdict(pair)
        pairs[f"{facts.pop('first')} - {facts.pop('second')}"] = facts
    test = results[0].metrics["test"]
    return rounded(
        {
            "best": comparison.best,
            "best_is_better": comparison.best_is_better,
            "verdict": comparison.verdict,
            "n": test["n"],
            "groups": test["groups"],
            "models": models,
            "pairs": pairs,
        }
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run `dvc repro`.") from None
    except ValueError as error:
        raise UserError(f"{path} is no valid JSON ({error}); run `dvc repro`.") from None
    return value


def _csv(table: pd.DataFrame) -> str:
    text = StringIO()
    table.to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()
