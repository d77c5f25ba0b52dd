"""The results of training and evaluation, read back for the comparison and the report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.files import read_json
from florafauna.compare._cost import Cost, cost_of
from florafauna.compare._verdict import Comparison
from florafauna.folds.out_of_fold import OutOfFold, read_out_of_fold
from florafauna.scores.cross_validation import out_of_fold_predictions
from florafauna.scores.predictions import LOGITS, PER_CLASS, TIMING, Predictions, read_predictions
from florafauna.scores.settings import EvaluateParams

OF_PREDICTION = ("photos_per_second", "hardware")  # what the report says of speed
OF_TRAINING = (*OF_PREDICTION, "seconds", "peak_memory_mb", "precision")


@dataclass(frozen=True)
class Classifier:
    """One model or the ensemble: its logits, its scores as in their two files, its cost."""

    name: str
    predictions: Predictions
    details: dict[str, Any]
    per_class: dict[str, Any]
    cost: Cost

    @property
    def weighted_f1(self) -> float:
        """On the test photos."""
        return float(self.details["test"]["weighted_f1"])

    @property
    def temperature(self) -> float:
        """Calibrates its probabilities; fitted on the validation photos."""
        return float(self.details["calibration"]["temperature"])


@dataclass(frozen=True)
class Model(Classifier):
    """A classifier that was trained: learning curve, bundle.json, timings of training and prediction."""

    history: pd.DataFrame
    bundle: dict[str, Any]
    training: dict[str, Any]
    prediction: dict[str, Any]
    out_of_fold: OutOfFold | None  # of the cross-validation, if there is one

    @property
    def cross_validated(self) -> Predictions:
        """Its logits for every photo, each by the model of the fold that left it out."""
        assert self.out_of_fold is not None
        return out_of_fold_predictions(self.name, self.out_of_fold)


@dataclass(frozen=True)
class Findings:
    """The results of `compare`, with its inputs.

    `models` are ordered by their validation scores, the best one first; `classifiers` are the models and then their
    ensemble; `costs` are the rows of plots/costs.csv by name. `of_all` compares the models on all photos, where they
    were cross-validated; `corrected` says how they score without the test labels that were corrected on a model's
    advice, where any was.
    """

    models: list[Model]
    classifiers: list[Classifier]
    comparison: Comparison
    costs: dict[str, dict[str, Any]]
    params: EvaluateParams
    of_all: Comparison | None = None
    corrected: dict[str, Any] | None = None


def read_classifier(name: str, root: Path = Path()) -> Model:
    """All results of one model; `UserError` names a missing file."""
    bundle, predictions = root / f"models/{name}", root / f"predictions/{name}"
    history = bundle / "history.csv"
    if not history.is_file():
        raise UserError(f"{history} is missing; run `dvc pull {bundle}` or `dvc repro`.")
    details = read_json(root / f"metrics/details/{name}.json")
    training = read_json(root / f"metrics/timing/{name}.json", keys=OF_TRAINING)
    prediction = read_json(predictions / TIMING, keys=OF_PREDICTION)
    return Model(
        name,
        read_predictions(predictions / LOGITS),
        details,
        read_json(predictions / PER_CLASS),
        cost_of(details["model"], training, prediction),
        pd.read_csv(history),
        read_json(bundle / "bundle.json", f"run `dvc pull {bundle}` or `dvc repro`", f"run `dvc checkout {bundle}`"),
        training,
        prediction,
        read_out_of_fold(root / f"predictions/folds/{name}"),
    )
