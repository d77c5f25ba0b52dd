"""The screening itself: every backbone's heads scored on the same photos, and the learning curve of the best."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from florafauna.base.errors import UserError
from florafauna.base.files import write_atomic, write_json
from florafauna.base.progress import track
from florafauna.compare.paired import Candidate, ModelPair, Question, compare_all
from florafauna.compare.report.figures import pareto
from florafauna.model.compute import choose
from florafauna.pixels.store import PixelStore
from florafauna.scores.bootstrap import SCORES as ALL_SCORES
from florafauna.scores.bootstrap import Resampling, Truth, points_of, score_intervals
from florafauna.scores.classification import rounded
from florafauna.scores.score import METRIC_DIGITS
from florafauna.scores.settings import EvaluateParams
from florafauna.screen._findings import SCORES, Findings, Row, headline, possible_pairs, scored, title
from florafauna.screen._heads import HEADS, SOLVED, Photos, cross_validated, rounds
from florafauna.screen._learning import SHARES, gains, learning_curve
from florafauna.screen._page import write_report
from florafauna.screen._saved import BackboneFeatures, read_features
from florafauna.screen.settings import ScreenParams


@dataclass(frozen=True)
class ScreenJob:
    """What is compared, the folders that are read and the files that are written."""

    params: ScreenParams
    evaluate: EvaluateParams
    stores: tuple[Path, ...]  # of the training and of the validation photos
    features: Path
    metrics: Path
    details: Path
    tables: Path
    report: Path


def screen(job: ScreenJob) -> None:
    """Compare the backbones by their features; write metrics, tables and the report.

    >>> screen(ScreenJob(params, evaluate, stores, features, metrics, details, tables, report))  # doctest: +SKIP
    """
    stores = [PixelStore(folder) for folder in job.stores]
    backbones = [read_features(name, job.features / name, stores) for name in job.params.backbones]
    findings = compare_backbones(backbones, photos_of(stores), job.params, job.evaluate)
    best = findings.rows[0]
    figures = {"best": findings.best, "val": {"weighted_f1": best.scores["weighted_f1"]}}
    bounds = {name: getattr(best.intervals["weighted_f1"], name) for name in ("low", "high")}
    write_json(job.metrics, rounded(figures | bounds, METRIC_DIGITS))
    write_json(job.details, details(findings))
    for name, table in (("backbones", backbone_table(findings)), ("classes", class_table(findings))):
        write_atomic(job.tables / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    write_report(job.report, findings)
    print(f"{findings.headline}\n{findings.gains.sentence}", flush=True)


def photos_of(stores: list[PixelStore]) -> Photos:
    """The photos of all stores, one after the other; a photo without a group is one by itself."""
    table = pd.concat([store.table("path", "target", "group") for store in stores], ignore_index=True)
    groups = table["group"].where(table["group"] != "", table["path"])
    return Photos(table["target"].to_numpy(np.int64), groups.tolist(), stores[0].labels)


def compare_backbones(
    backbones: list[BackboneFeatures], photos: Photos, params: ScreenParams, evaluate: EvaluateParams
) -> Findings:
    """Score every backbone's heads on the same folds, and draw the learning curve of the best solved head."""
    groups, needed = len(set(photos.groups)), 2 * params.folds  # so that there are parts to learn from
    if groups < needed:
        raise UserError(f"there are {groups} groups of photos; a screening in {params.folds} folds needs {needed}.")
    device = choose("fp32").device
    folds = rounds(photos, params.folds, params.seed)
    predicted: dict[tuple[str, str], np.ndarray] = {}
    for each in track(backbones, "cross-validation", len(backbones)):
        for name, head in HEADS.items():
            predicted[each.name, name] = cross_validated(head, torch.from_numpy(each.matrix), photos, folds, device)
    truth, how = photos.truth, Resampling(evaluate.resamples, evaluate.seed, evaluate.confidence)
    best = max(backbones, key=lambda each: _points(truth, predicted[each.name, SOLVED])["weighted_f1"])
    candidates = {title(*key): Candidate(each) for key, each in predicted.items()}
    alone = {best.name: candidates.pop(best.name)}
    question = Question(evaluate.margin, how, possible=possible_pairs(len(backbones)))
    pairs = compare_all(alone, truth, question, with_best=candidates).pairs
    rows = _rows(best.name, {each.name: each.about for each in backbones}, predicted, pairs, truth, how)
    curve = learning_curve(torch.from_numpy(best.matrix), photos, params.folds, params.draws, params.seed, device)
    solved = [row.pair for row in rows if row.head == SOLVED and row.pair is not None]
    return Findings(
        rows,
        headline(best.name, solved, len(photos.targets), evaluate.margin),
        photos,
        curve,
        gains(curve, photos, how, best.name),
        params,
        evaluate.confidence,
    )


def _rows(
    best: str,
    abouts: dict[str, dict[str, Any]],
    predicted: dict[tuple[str, str], np.ndarray],
    pairs: list[ModelPair],
    truth: Truth,
    how: Resampling,
) -> list[Row]:
    points = {key: _points(truth, each) for key, each in predicted.items()}
    by_title = {pair.other(best): pair for pair in pairs}
    keys = sorted(points, key=lambda key: (title(*key) != best, -points[key]["weighted_f1"]))
    seconds = [1 / max(abouts[name]["photos_per_second"], 1e-9) for name, _ in keys]
    front = pareto(seconds, [points[key]["weighted_f1"] for key in keys])
    return [
        Row(
            *key,
            points[key],
            score_intervals(truth, predicted[key], how),
            by_title.get(title(*key)),
            abouts[key[0]],
            at in front,
        )
        for at, key in enumerate(keys)
    ]


def _points(truth: Truth, predicted: np.ndarray) -> dict[str, float]:
    return dict(zip(ALL_SCORES, map(float, points_of(truth, predicted)), strict=True))


def details(findings: Findings) -> dict[str, Any]:
    """metrics/details/screening.json: all numbers that are the same on every machine, none of them by class."""
    scores = findings.curve.scores(findings.truth)
    shares = {
        str(share): {"photos": round(float(findings.curve.fitted[at]), 1)}
        | {f"{name}_{how}": float(value) for name in SCORES for how, value in _spread(scores[name][:, at]).items()}
        for at, share in enumerate(SHARES)
    }
    backbones: dict[str, Any] = {}
    for row in findings.rows:
        about = {key: row.about[key] for key in ("parameters", "megabytes", "size", "features")}
        start = {key: row.about["weights"].get(key) for key in ("licence", "seen")}
        backbones.setdefault(row.backbone, about | start)[row.head] = scored(row)
    gain = asdict(findings.gains.weighted_f1)
    found = {
        "best": findings.best,
        "verdict": findings.headline,
        "n": len(findings.photos.targets),
        "groups": len(set(findings.photos.groups)),
        "folds": findings.params.folds,
        "backbones": backbones,
        "learning_curve": {"sentence": findings.gains.sentence, "shares": shares, "gain_of_all_over_half": gain},
    }
    rounded_: dict[str, Any] = rounded(found)
    return rounded_


def _spread(values: np.ndarray) -> dict[str, float]:
    return {"mean": float(values.mean()), "sd": float(values.std(ddof=1))}


def backbone_table(findings: Findings) -> pd.DataFrame:
    """One row a backbone and head, with time and memory, which differ from run to run."""
    costs = ("parameters", "megabytes", "photos_per_second", "peak_memory_mb")
    return pd.DataFrame(
        {"backbone": row.backbone, "head": row.head}
        | rounded(scored(row))
        | {key: row.about[key] for key in costs}
        | {"pareto": row.pareto, "licence": row.about["weights"].get("licence")}
        for row in findings.rows
    )


def class_table(findings: Findings) -> pd.DataFrame:
    """One row a class: its photos, F1 of the best backbone, and what the second half of the photos has brought."""
    photos, found = findings.photos, findings.gains
    return pd.DataFrame(
        {
            "label": photos.labels,
            "n": np.bincount(photos.targets, minlength=len(photos.labels)),
            "f1": found.f1.round(6),
            **{
                f"gain{name and '_'}{name}": [round(getattr(each, name or "value"), 6) for each in found.classes]
                for name in ("", "low", "high")
            },
            "p_holm": [round(each.p, 6) for each in found.classes],
        }
    )
