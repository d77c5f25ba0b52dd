"""What training and evaluation left of each model, read back for the comparison and the report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.files import read_json
from florafauna.compare._cost import Cost, cost_of
from florafauna.compare._paired import Comparison
from florafauna.scores.predictions import LOGITS, PER_CLASS, TIMING, Predictions, read_predictions
from florafauna.scores.settings import EvaluateParams


@dataclass(frozen=True)
class Classifier:
    """What is known of one model or of the ensemble: its logits, its scores as their two files hold them, its cost."""

    name: str
    predictions: Predictions
    details: dict[str, Any]
    per_class: dict[str, Any]
    cost: Cost

    @property
    def weighted_f1(self) -> float:
        """On the test photos: what models are ranked by."""
        return float(self.details["test"]["weighted_f1"])

    @property
    def temperature(self) -> float:
        """That makes its probabilities calibrated, fitted on validation photos."""
        return float(self.details["calibration"]["temperature"])


@dataclass(frozen=True)
class Model(Classifier):
    """A classifier that was trained: learning curve, bundle.json, and what training and prediction took."""

    history: pd.DataFrame
    bundle: dict[str, Any]
    training: dict[str, Any]
    prediction: dict[str, Any]


@dataclass(frozen=True)
class Findings:
    """What `compare` found, from what and how.

    `models` and `classifiers` (the models and their ensemble) are ordered from best to worst; `costs` are the rows of
    plots/costs.csv by name.
    """

    models: list[Model]
    classifiers: list[Classifier]
    comparison: Comparison
    costs: dict[str, dict[str, Any]]
    params: EvaluateParams


def read_classifier(name: str, root: Path = Path()) -> Model:
    """Everything about one model; `UserError` names the file that is missing."""
    bundle, predictions = root / f"models/{name}", root / f"predictions/{name}"
    history = bundle / "history.csv"
    if not history.is_file():
        raise UserError(f"{history} is missing; run `dvc pull {bundle}` or `dvc repro`.")
    details = read_json(root / f"metrics/details/{name}.json")
    training, prediction = read_json(root / f"metrics/timing/{name}.json"), read_json(predictions / TIMING)
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
    )
