"""A model's errors: the confusion matrix with the photos behind its cells, confident errors, confused pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from florafauna.compare.report._predicted import PredictedLabels
from florafauna.compare.report._thumbnails import Album

MOST_ERRORS = 60  # in a model's gallery
MOST_PAIRS = 12
OF_A_PAIR = 6  # photos shown beside a confused pair
OF_A_CELL = 24  # photos behind a cell of errors
OF_A_CORRECT_CELL = 4  # photos behind a cell of the diagonal


@dataclass(frozen=True)
class Answer:
    """One photo and a model's prediction. `number` is that of the photo in the album, None if it has no thumbnail."""

    path: str
    number: int | None
    truth: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class ConfusedPair:
    """Photos of class `truth` that were predicted as class `predicted`, the most confident first."""

    truth: str
    predicted: str
    row: int
    column: int
    count: int
    answers: list[Answer]


@dataclass(frozen=True)
class Mistakes:
    """The number of errors of one model on the test photos, and those to look at."""

    model: str
    photos: int
    errors: int
    gallery: list[Answer]
    pairs: list[ConfusedPair]
    confused_pairs: int


def collect(models: Sequence[PredictedLabels], album: Album) -> None:
    """Add photos to the album, the most informative first: confident errors, then all errors, then correct ones.

    Models take turns, so that a full album does not leave out the photos of one model for another's.
    """
    for limit in (MOST_ERRORS, None):
        for turn in zip_longest(*(model.errors[:limit] for model in models)):
            for model, row in zip(models, turn, strict=True):
                if row is not None:
                    album.add(str(model.photos["path"].iat[row]))
    for model in models:
        for rows in _cells(model).values():
            if model.targets[rows[0]] == model.predicted[rows[0]]:
                for row in rows[:OF_A_CORRECT_CELL]:
                    album.add(str(model.photos["path"].iat[row]))


def mistakes(model: PredictedLabels, album: Album) -> Mistakes:
    """The galleries of one model."""
    cells = {cell: rows for cell, rows in _cells(model).items() if cell[0] != cell[1]}
    confused = sorted(cells, key=lambda cell: (-len(cells[cell]), -model.confidence[cells[cell][0]], cell))
    pairs = [
        ConfusedPair(
            model.labels[truth],
            model.labels[predicted],
            truth,
            predicted,
            len(cells[truth, predicted]),
            [_answer(model, row, album) for row in cells[truth, predicted][:OF_A_PAIR]],
        )
        for truth, predicted in confused[:MOST_PAIRS]
    ]
    gallery = [_answer(model, row, album) for row in model.errors[:MOST_ERRORS]]
    return Mistakes(model.model, len(model.targets), len(model.errors), gallery, pairs, len(cells))


def matrix(model: PredictedLabels, album: Album) -> list[list[Any]]:
    """The non-empty cells: [true class, predicted class, photos, [[number in the album, confidence], …]]."""
    found = []
    for (truth, predicted), rows in sorted(_cells(model).items()):
        most = OF_A_CORRECT_CELL if truth == predicted else OF_A_CELL
        shown: list[list[float]] = []
        for row in rows:
            number = album.number(str(model.photos["path"].iat[row]))
            if number is not None and len(shown) < most:
                shown.append([number, round(float(model.confidence[row]), 3)])
        found.append([truth, predicted, len(rows), shown])
    return found


def _cells(model: PredictedLabels) -> dict[tuple[int, int], list[int]]:
    """Rows behind each cell: errors with the most confident first, correct answers with the least confident first."""
    ranked = np.where(model.correct, model.confidence, -model.confidence)
    cells: dict[tuple[int, int], list[int]] = {}
    for row in np.argsort(ranked, kind="stable"):
        cells.setdefault((int(model.targets[row]), int(model.predicted[row])), []).append(int(row))
    return cells


def _answer(model: PredictedLabels, row: int, album: Album) -> Answer:
    path = str(model.photos["path"].iat[row])
    truth, predicted = model.labels[model.targets[row]], model.labels[model.predicted[row]]
    return Answer(path, album.number(path), truth, predicted, float(model.confidence[row]))
