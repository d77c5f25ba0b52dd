"""What training and evaluation left of each model, read back for the comparison and the report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.files import read_json
from florafauna.compare._cost import Cost, cost_of
from florafauna.scores.predictions import Predictions, read_predictions


@dataclass(frozen=True)
class Result:
    """What is known of one model or of the ensemble: its logits, metrics/M.json, metrics/per_class/M.json, its cost."""

    name: str
    predictions: Predictions
    metrics: dict[str, Any]
    per_class: dict[str, Any]
    cost: Cost

    @property
    def weighted_f1(self) -> float:
        """On the test photos: what models are ranked by."""
        return float(self.metrics["test"]["weighted_f1"])

    @property
    def temperature(self) -> float:
        """That makes its probabilities calibrated, fitted on validation photos."""
        return float(self.metrics["calibration"]["temperature"])


@dataclass(frozen=True)
class Trained(Result):
    """A model that was trained: its learning curve, and what training and prediction took."""

    history: pd.DataFrame
    training: dict[str, Any]
    prediction: dict[str, Any]


def read_result(name: str, root: Path = Path()) -> Trained:
    """Everything about one model; `UserError` names the file that is missing."""
    history = root / f"models/{name}/history.csv"
    if not history.is_file():
        raise UserError(f"{history} is missing; run `dvc pull {history.parent}` or `dvc repro`.")
    metrics = read_json(root / f"metrics/{name}.json")
    training = read_json(root / f"metrics/timing/{name}.json")
    prediction = read_json(root / f"metrics/timing/{name}_prediction.json")
    return Trained(
        name,
        read_predictions(root / f"predictions/{name}.parquet"),
        metrics,
        read_json(root / f"metrics/per_class/{name}.json"),
        cost_of(metrics["model"], training, prediction),
        pd.read_csv(history),
        training,
        prediction,
    )
