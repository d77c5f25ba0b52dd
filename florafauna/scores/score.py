"""All scores of a model from its saved logits: scoring again needs neither the model nor the photos."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from florafauna.base.errors import UserError
from florafauna.folds.out_of_fold import OutOfFold
from florafauna.scores._covered import covered_scores
from florafauna.scores.abstention import (
    Realised,
    Threshold,
    choose_thresholds,
    novelty,
    realised,
    realised_by_class,
    risk_coverage,
)
from florafauna.scores.bootstrap import (
    Resampling,
    counted_classes,
    per_class_intervals,
    score_intervals,
    share_interval,
)
from florafauna.scores.calibration import adaptive_ece, at_bound, brier, ece, ece_range, fit_temperature, nll, softmax
from florafauna.scores.classification import TOP, among_top, per_class, point_scores, rounded
from florafauna.scores.cross_validation import expectation, out_of_fold_predictions, scores_by_site
from florafauna.scores.events import by_event
from florafauna.scores.predictions import Predictions
from florafauna.scores.ranks import LABEL, Ancestors, choose_roll_up, levels, realised_roll_up, scores_at
from florafauna.scores.settings import EvaluateParams

METRIC_DIGITS = 4
AT_BOUND = "The temperature is at the end of the range that is searched, so confidences mean little."
Tree = dict[str, Any]  # nested numbers, as in JSON


@dataclass(frozen=True)
class Scores:
    """All scores of one model.

    `details` becomes metrics/details/M.json: only numbers, as many for 2 classes as for 2,000. `per_class` becomes
    predictions/M/per_class.json, with the thresholds in words (`sentences`). `calibration` is what a bundle needs for
    new photos: temperature and thresholds, not rounded, because rounded up a threshold may exceed every confidence.
    """

    details: Tree
    per_class: Tree
    calibration: Tree

    @property
    def metrics(self) -> Tree:
        """metrics/M.json, the few numbers to compare models by: as many as `dvc metrics show` has room for.

        `low` and `high` bound the weighted F1 on the test photos; `ece` is measured there after temperature scaling.
        `cv` is the weighted F1 on all photos, where they were cross-validated, and `cv.by` that on new sites.
        """
        test, val = self.details["test"], self.details["val"]
        figures = {
            "test": {name: test[name] for name in ("weighted_f1", "macro_f1")},
            "low": test["weighted_f1_low"],
            "high": test["weighted_f1_high"],
            "val": {"weighted_f1": val["weighted_f1"]},
            "ece": self.details["calibration"]["ece"]["after"],
        }
        if "cv" in self.details:
            cv = self.details["cv"]
            figures["cv"] = {
                "weighted_f1": cv["weighted_f1"],
                "low": cv["weighted_f1_low"],
                "high": cv["weighted_f1_high"],
            }
            figures["cv"] |= {"by": cv["by"]["weighted_f1"]} if "by" in cv else {}
        return rounded(figures, METRIC_DIGITS)


def score(predictions: Predictions, params: EvaluateParams, found: OutOfFold | None = None) -> Scores:
    """Score one model on the test set, the validation set and the second test set, if there is one.

    Temperature and thresholds are chosen on validation photos alone and evaluated on test photos. `found` are the
    logits of a cross-validation, whose scores are `cv`. Raises `UserError` if the predictions
    lack test or validation photos.

    >>> predictions = read_predictions(Path("predictions/vit/logits.parquet"))  # doctest: +SKIP
    >>> score(predictions, EvaluateParams()).metrics["test"]["weighted_f1"]  # doctest: +SKIP
    0.6941
    """
    val, test, held_out = (predictions.part("val"), predictions.part("test"), predictions.part("test", held_out=True))
    for name, part in (("val", val), ("test", test)):
        if not len(part.photos):
            raise UserError(f"the predictions of {predictions.model} have no {name} photos; run `dvc repro`.")
    parts = {"test": test, "val": val} | ({"held_out": held_out} if len(held_out.photos) else {})
    details: Tree = {name: _part(part, params) for name, part in parts.items()}
    if predictions.of_seeds:
        details["seeds"] = _over_seeds(test)
    by_class: Tree = {name: _classes(part, params) for name, part in parts.items()}
    temperature = fit_temperature(val.logits, val.targets)
    details["calibration"], by_class["calibration"] = _calibration(test, temperature, params)
    sentences = {}
    if at_bound(temperature):
        sentences["temperature"] = AT_BOUND
    thresholds, details["abstention"], by_class["abstention"] = _abstention(val, test, temperature, params)
    sentences["abstention"] = thresholds["sentence"]
    if len(test.labels) >= 3 and len(np.unique(test.targets)) >= 2:
        details["novelty"], by_class["novelty"] = _novelty(test, temperature)
    events = by_event(test, temperature)
    if events is not None and len(events.photos):
        details["events"] = _part(events, params) | {"photos": len(test.photos)}
    if test.covered is not None and not np.isnan(test.covered).all():
        details["covered"], by_class["covered"] = covered_scores(test, _how(params))
    order, taxa = levels(test.labels, predictions.ancestors) if predictions.ancestors else ([], [])
    if len(order) > 1:
        chosen, details["ranks"] = _ranks(val, test, order, taxa, temperature, params)
        thresholds["roll_up"], sentences["roll_up"] = chosen.threshold, chosen.sentence
    if found is not None:
        details["cv"], by_class["sites"] = _cross_validated(found, params)
        if "by" in details["cv"]:
            sentences["site"] = expectation(found.by, details["cv"]["by"])
    by_class["sentences"] = sentences
    calibration = {"temperature": temperature, "thresholds": thresholds}
    return Scores(rounded(details), rounded(by_class), calibration)


def _over_seeds(test: Predictions) -> Tree:
    """How the test scores vary over training seeds, the first of which is the model's own."""
    runs = [point_scores(logits, test.targets) for logits in (test.logits, *test.of_seeds)]
    spread: Tree = {"n": len(runs)}
    for name in ("weighted_f1", "accuracy"):
        values = np.array([run[name] for run in runs])
        spread[f"{name}_mean"] = float(values.mean())
        spread[f"{name}_sd"] = float(values.std(ddof=1))
        spread[f"{name}_min"], spread[f"{name}_max"] = float(values.min()), float(values.max())
    return spread


def _part(part: Predictions, params: EvaluateParams) -> Tree:
    """Scores, each followed by its interval, and the number of photos, of groups and of classes in means over them."""
    runs = [logits.argmax(axis=1) for logits in part.of_seeds]
    intervals = score_intervals(part.truth, part.predicted, _how(params), runs)
    result: Tree = {}
    for name, value in point_scores(part.logits, part.targets).items():
        result[name] = value
        if name == f"top{TOP}_accuracy":
            intervals[name] = share_interval(among_top(part.logits, part.targets), part.groups, params.confidence)
        if name in intervals:
            result |= {f"{name}_low": intervals[name].low, f"{name}_high": intervals[name].high}
    counted = counted_classes(np.bincount(part.targets, minlength=len(part.labels)))
    return result | {"n": len(part.photos), "groups": len(np.unique(part.groups)), "macro_classes": int(counted.sum())}


def _cross_validated(found: OutOfFold, params: EvaluateParams) -> tuple[Tree, Tree]:
    """The scores of a cross-validation, with those on new sites under `by`; and those of each site."""
    cv = _part(out_of_fold_predictions("", found), params) | {"folds": found.facts["folds"]}
    if not found.by:
        return cv, {}
    figures, sites = scores_by_site(found, Resampling(params.resamples, params.seed, params.confidence))
    return cv | {"by": figures}, sites


def _how(params: EvaluateParams) -> Resampling:
    return Resampling(params.resamples, params.seed, params.confidence)


def _classes(part: Predictions, params: EvaluateParams) -> dict[str, Tree]:
    """Precision, recall, F1 with its interval, and the number of photos of every class."""
    intervals = per_class_intervals(part.truth, part.predicted, params.confidence)
    points = per_class(part.targets, part.predicted, part.labels)
    return {
        label: {
            "precision": point["precision"],
            "recall": point["recall"],
            "f1": point["f1"],
            # Both are summed in different orders: rounding must not push a bound past the value.
            "f1_low": min(interval.f1.low, point["f1"]),
            "f1_high": max(interval.f1.high, point["f1"]),
            "n": point["n"],
        }
        for (label, point), interval in zip(points.items(), intervals, strict=True)
    }


def _calibration(test: Predictions, temperature: float, params: EvaluateParams) -> tuple[Tree, Tree]:
    """Errors of confidences before and after temperature scaling; and by predicted class, where they are off.

    Intervals of classes hold for all of them together, at 1 − (1 − confidence) / classes.
    """
    found: Tree = {"temperature": temperature} | {
        name: {"before": measure(test, 1.0), "after": measure(test, temperature)}
        for name, measure in CALIBRATION.items()
    }
    probabilities = softmax(test.logits, temperature)
    within = ece_range(probabilities, test.targets, test.groups, params.confidence, params.seed)
    found["ece"] |= asdict(within)
    photos = np.bincount(test.predicted, minlength=len(test.labels))
    summed = np.bincount(test.predicted, probabilities.max(axis=1), minlength=len(test.labels))
    right = np.bincount(test.predicted, test.predicted == test.targets, minlength=len(test.labels))
    intervals = per_class_intervals(test.truth, test.predicted, 1 - (1 - params.confidence) / len(test.labels))
    by_class = {
        label: {
            "confidence": float(summed[at] / photos[at]),
            "precision": float(right[at] / photos[at]),
            "precision_low": intervals[at].precision.low,
            "precision_high": intervals[at].precision.high,
            "n": int(photos[at]),
        }
        for at, label in enumerate(test.labels)
        if photos[at]
    }
    return found | {"classes_off": sum(is_off(each) for each in by_class.values())}, by_class


def is_off(row: Tree) -> bool:
    """Whether the mean confidence of a predicted class lies outside the interval of its precision."""
    return not row["precision_low"] <= row["confidence"] <= row["precision_high"]


def _abstention(
    val: Predictions, test: Predictions, temperature: float, params: EvaluateParams
) -> tuple[Tree, Tree, Tree]:
    """The thresholds; what they give on the test photos; and the same by class."""
    chosen_on, tested_on = (softmax(part.logits, temperature) for part in (val, test))
    common, each = choose_thresholds(chosen_on, val.targets, val.groups, params.precision, params.confidence)
    truth = (test.targets, test.groups)
    gives = _realised(realised(tested_on, *truth, each, params.confidence))
    own = {label: of.threshold for label, of in zip(test.labels, each, strict=True) if of is not common}
    figures = {
        "requested_precision": params.precision,
        "aurc": risk_coverage(tested_on.max(axis=1), test.predicted == test.targets).aurc,
        "common": _threshold(common),
        "classes": {"n": len(each), "own": len(own)},
        "test": gives,
    }
    given = realised_by_class(tested_on, *truth, each, params.confidence)
    by_class = {
        label: {"threshold": of.threshold, "test": _realised(what)}
        for label, of, what in zip(test.labels, each, given, strict=True)
    }
    thresholds = {
        "precision": params.precision,
        "confidence": params.confidence,
        "global": common.threshold,
        "per_class": own,
        "roll_up": None,
        "sentence": common.sentence,
        "test": gives,
    }
    return thresholds, figures, by_class


def _threshold(chosen: Threshold) -> Tree:
    """A threshold, and what it gives on the validation photos it was chosen on."""
    val = {"precision": chosen.precision, "precision_low": chosen.bound, "accepted": chosen.accepted}
    return {"threshold": chosen.threshold, "val": val}


def _realised(given: Realised) -> Tree:
    precision = {"precision": given.precision, "precision_low": given.low, "precision_high": given.high}
    return precision | {"coverage": given.coverage, "accepted": given.accepted, "n": given.photos}


def _novelty(test: Predictions, temperature: float) -> tuple[Tree, Tree]:
    """How well confidence separates left-out classes from the others, on average and by class."""
    found = novelty(test.logits / temperature, test.targets)
    by_class = {
        test.labels[each.target]: {"auroc": each.auroc, "fpr95": each.fpr95, "n": each.photos} for each in found.classes
    }
    return {"auroc": found.auroc, "fpr95": found.fpr95, "classes": len(found.classes)}, by_class


def _ranks(
    val: Predictions, test: Predictions, order: list[str], taxa: Ancestors, temperature: float, params: EvaluateParams
) -> tuple[Threshold, Tree]:
    """The threshold of a roll-up with the requested precision, what it gives, and the scores at every rank."""
    chosen_on, tested_on = (softmax(part.logits, temperature) for part in (val, test))
    found = [scores_at(tested_on, test.targets, taxa, rank) for rank in order if rank != LABEL]
    by_rank = {figures.pop("rank"): figures for figures in (asdict(each) for each in found if each)}
    chosen = choose_roll_up(chosen_on, val.targets, val.groups, taxa, order, params.precision, params.confidence)
    given, answered = realised_roll_up(
        tested_on, test.targets, test.groups, taxa, order, chosen.threshold, params.confidence
    )
    gives = {"test": _realised(given) | {"answered_at": answered}}
    roll_up = {"requested_precision": params.precision} | _threshold(chosen) | gives
    return chosen, {"by_rank": by_rank, "roll_up": roll_up}


CALIBRATION = {
    "ece": lambda part, temperature: ece(softmax(part.logits, temperature), part.targets),
    "adaptive_ece": lambda part, temperature: adaptive_ece(softmax(part.logits, temperature), part.targets),
    "brier": lambda part, temperature: brier(softmax(part.logits, temperature), part.targets),
    "nll": lambda part, temperature: nll(part.logits, part.targets, temperature),
}
