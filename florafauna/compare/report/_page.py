"""The page: gathers what each section shows, and renders it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from florafauna.base.files import write_atomic
from florafauna.compare._classifiers import Classifier, Findings
from florafauna.compare.report import _context, _curves, _data_facts, _mistakes, _thumbnails, _wrong_labels, figures
from florafauna.compare.report._predicted import PredictedLabels, predicted_labels
from florafauna.compare.report._provenance import provenance
from florafauna.compare.report._thumbnails import Album
from florafauna.compare.report.environment import environment
from florafauna.pixels.store import PixelStore
from florafauna.scores.bootstrap import ENOUGH
from florafauna.scores.score import is_off

MOST_CLASSES = 2000  # rows of a table by class
ROWS_AT_FIRST = 40  # of a table by class, before all are requested
MOST_SITES = 200  # rows of the table of sites
COVERED_SITES = 20  # in the figure of photos with their animals covered
MATRIX_CLASSES = 30  # classes of the confusion matrix shown at a time


@dataclass(frozen=True)
class ClassRow:
    """One class: test photos, F1 of each classifier (in their order), and their errors on it in total."""

    label: str
    n: int
    f1: list[float]
    missed: int


def write_report(path: Path, findings: Findings, root: Path) -> None:
    """Write the report to `path`, one file that needs no network.

    Below `root` are the pixel store of the test photos, metrics/data.json, data/quarantine.csv, data/examples.parquet
    and, optionally, dvc.lock and the git repository. `UserError` names what is missing.
    """
    write_atomic(path, render(findings, root))


def render(findings: Findings, root: Path) -> str:
    """The page as HTML."""
    models, classifiers = findings.models, findings.classifiers
    suspects = _wrong_labels.suspected(_wrong_labels.opinion(models))
    tests = [predicted_labels(each.predictions.part("test"), each.temperature) for each in classifiers]
    store = PixelStore(root / "data/processed/test")
    album = Album(store)
    for suspect in suspects[: _wrong_labels.MOST]:
        album.add(suspect.path)
    _mistakes.collect(tests, album)
    galleries = [_mistakes.mistakes(each, album) for each in tests]
    contexts = _context.contexts(store, album.names)
    bins = [_curves.bins_of(each) for each in classifiers]
    rows = class_rows(classifiers, tests)
    best = models[0]
    data = _data_facts.read_data_facts(root, MOST_CLASSES)
    enough = min(ENOUGH, max(row.n for row in rows))
    rare = sorted(row.label for row in rows if row.n < enough)
    return (
        environment()
        .get_template("index.html.j2")
        .render(
            models=models,
            classifiers=classifiers,
            comparison=findings.comparison,
            of_all=findings.of_all,
            site=best.out_of_fold.by if best.out_of_fold else "",
            sites=_largest_sites(best.per_class.get("sites", {})),
            expectation=best.per_class["sentences"].get("site", ""),
            corrected=findings.corrected,
            costs=findings.costs,
            seeds=any("seeds" in each.details for each in classifiers),
            ranked="ranks" in classifiers[0].details,
            covered_sites=_covered_sites(models[0]) if "covered" in models[0].details else None,
            forest=_forest(classifiers),
            confidence=findings.params.confidence,
            margin=findings.params.margin,
            rare=rare,
            enough=enough,
            cost_plots=_curves.cost_plots(classifiers),
            rows=rows[:MOST_CLASSES],
            all_classes=len(rows),
            score_curves=_curves.score_curves(models),
            loss_curves=[_curves.loss_curves(each) for each in models if len(each.history) > 1],  # else: a point
            reliability=[
                (each, found, _curves.reliability_plot(each, found))
                for each, found in zip(classifiers, bins, strict=True)
            ],
            risks=_curves.risk_plot(tests),
            galleries=galleries,
            suspects=suspects[: _wrong_labels.MOST],
            all_suspects=len(suspects),
            numbers={each.path: album.number(each.path) for each in suspects[: _wrong_labels.MOST]},
            data=data,
            origin=provenance(findings, root),
            embedded={
                "labels": tests[0].labels,
                "photos": album.embedded(),
                "contexts": contexts,
                "models": {each.model: _mistakes.matrix(each, album) for each in tests},
                "matrixClasses": MATRIX_CLASSES,
                # as markup the rows would be ten times larger
                "rest": {
                    "class-table": [[row.label, row.n, *row.f1] for row in rows[ROWS_AT_FIRST:MOST_CLASSES]],
                    "count-table": [[label, *counts.values()] for label, counts in data.per_class[ROWS_AT_FIRST:]],
                },
            },
            album_is_full=album.full,
            limits={
                "thumbnails": _thumbnails.MOST,
                "errors": _mistakes.MOST_ERRORS,
                "cell": _mistakes.OF_A_CELL,
                "correct": _mistakes.OF_A_CORRECT_CELL,
                "classes": MOST_CLASSES,
                "rows": ROWS_AT_FIRST,
                "matrix": MATRIX_CLASSES,
                "pair": _mistakes.OF_A_PAIR,
                "named": _data_facts.MOST_NAMED,
            },
            is_off=is_off,
            rule=_wrong_labels.RULE + (_wrong_labels.OF_ALL if findings.of_all else _wrong_labels.OF_SOME),
        )
    )


def class_rows(classifiers: Sequence[Classifier], tests: list[PredictedLabels]) -> list[ClassRow]:
    """A row for every class; those with most errors come first."""
    missed = np.sum([_missed(each) for each in tests], axis=0)
    by_class = [each.per_class["test"] for each in classifiers]
    rows = [
        ClassRow(label, by_class[0][label]["n"], [scores[label]["f1"] for scores in by_class], int(missed[number]))
        for number, label in enumerate(tests[0].labels)
    ]
    return sorted(rows, key=lambda row: (-row.missed, sum(row.f1) if row.n else len(row.f1), row.label))


def _largest_sites(sites: dict[str, Any]) -> list[str]:
    return sorted(sites, key=lambda name: (-sites[name]["n"], name))[:MOST_SITES]


def _covered_sites(model: Classifier) -> list[dict[str, Any]]:
    """The sites with most photos, of those that are known, and the accuracy at each where animals are covered."""
    sites = model.per_class["covered"]["sites"].items()
    return [{"site": site, **found} for site, found in sorted(sites, key=lambda each: -each[1]["n"])[:COVERED_SITES]]


def _missed(test: PredictedLabels) -> npt.NDArray[np.int64]:
    return np.bincount(test.targets[~test.correct], minlength=len(test.labels))


def _forest(classifiers: Sequence[Classifier]) -> figures.Forest:
    found = []
    for each in classifiers:
        value, low, high = (each.details["test"][f"weighted_f1{bound}"] for bound in ("", "_low", "_high"))
        found.append(figures.Estimate(each.name, value, low, high, ["details", each.name, "test"]))
    return figures.forest(found)
