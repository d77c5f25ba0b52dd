"""Saved logits → metrics/M.json. No model and no photo is needed, so a machine without either can score again."""

from typing import Any

import numpy as np

from florafauna.errors import UserError
from florafauna.params import EvaluateParams
from florafauna.predictions import Predictions
from florafauna.scores.bootstrap import bootstrap_scores
from florafauna.scores.calibration import adaptive_ece, brier, ece, fit_temperature, nll, softmax
from florafauna.scores.classification import per_class, rounded, scores


def score(predictions: Predictions, params: EvaluateParams) -> dict[str, Any]:
    """All scores of one model: test first, then validation, a held-out test set where there is one, calibration.

    The temperature is fitted on validation photos alone.
    """
    val, test, held_out = (predictions.part("val"), predictions.part("test"), predictions.part("test", held_out=True))
    for name, part in (("val", val), ("test", test)):
        if not len(part.photos):
            raise UserError(f"the predictions of {predictions.model} hold no {name} photos; run `dvc repro`.")
    temperature = fit_temperature(val.logits, val.targets)
    result = {"test": _part(test, params), "val": _part(val, params)}
    if len(held_out.photos):
        result["held_out"] = _part(held_out, params)
    result["calibration"] = {"temperature": temperature} | {
        name: {"before": measure(test, 1.0), "after": measure(test, temperature)}
        for name, measure in CALIBRATION.items()
    }
    return rounded(result)


def _part(part: Predictions, params: EvaluateParams) -> dict[str, Any]:
    """The scores of some photos, each followed by its interval, then those by class."""
    points = scores(part.logits, part.targets)
    intervals = bootstrap_scores(
        part.targets,
        part.predicted,
        len(part.labels),
        part.groups,
        params.resamples,
        params.seed,
        params.confidence,
    )
    result: dict[str, Any] = {}
    for name, value in points.items():
        result[name] = value
        if name in intervals:
            result |= {f"{name}_low": intervals[name].low, f"{name}_high": intervals[name].high}
    groups = len(np.unique(part.groups))
    return result | {
        "n": len(part.photos),
        "groups": groups,
        "per_class": per_class(part.targets, part.predicted, part.labels),
    }


CALIBRATION = {
    "ece": lambda part, temperature: ece(softmax(part.logits, temperature), part.targets),
    "adaptive_ece": lambda part, temperature: adaptive_ece(softmax(part.logits, temperature), part.targets),
    "brier": lambda part, temperature: brier(softmax(part.logits, temperature), part.targets),
    "nll": lambda part, temperature: nll(part.logits, part.targets, temperature),
}
