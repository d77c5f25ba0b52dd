"""What the writers of all formats are given, and what they say alike."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from florafauna.predict._events import Events
from florafauna.predict._inputs import Box, Photo
from florafauna.predict._part import Row
from florafauna.predict.answers import DIGITS, Answers
from florafauna.predict.request import PredictionRequest

UNKNOWN = "unknown"
Pairs = Iterable[tuple[Photo, Row]]


@dataclass(frozen=True)
class Result:
    """All but the rows: `results` is the detector's file if they are of one in MegaDetector's format."""

    request: PredictionRequest
    answers: Answers
    model: str
    taxonomy: dict[str, dict[str, str]]
    results: Path | None = None
    events: Events | None = None


def label_of(row: Row, answers: Answers) -> str | None:
    """What a photo, box or event shows, "unknown" if that is not accepted; None where it cannot be read."""
    if "top" not in row:
        return row.get("known")
    return answers.labels[row["top"][0]] if row["accepted"] is not False else UNKNOWN


def shares_of(box: Box, row: Row) -> list[float | None]:
    """x, y, width and height in shares of the photo's sides, None for what is no number or of a photo without sides."""
    if box.relative:
        return [number_of(value) for value in box[:4]]
    if "size" not in row:
        return [None] * 4
    return [number_of(round(value / side, DIGITS)) for value, side in zip(box[:4], row["size"] * 2, strict=True)]


def number_of(value: float) -> float | None:
    """None for what JSON and tables have no number for."""
    return value if math.isfinite(value) else None
