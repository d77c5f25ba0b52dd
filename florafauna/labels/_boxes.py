"""Boxes as the rows of a label source carry them: the text of four numbers, x, y, width and height.

They are shares of the upright photo's sides, or pixels of it, which the text ends with ("100,200,30,40px").
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

PIXELS = "px"
# The columns of detections, all text: where in the file (number of the image, and of the detection in it) they are
BOXES = ("path", "box", "category", "confidence", "label", "frame", "image", "detection")
# Names of the four columns of a table: ours, Camtrap DP's, animl's
COLUMNS = (
    ("bbox_x", "bbox_y", "bbox_width", "bbox_height"),
    ("bbox_x", "bbox_y", "bbox_w", "bbox_h"),
    ("bboxX", "bboxY", "bboxWidth", "bboxHeight"),
    ("bbox1", "bbox2", "bbox3", "bbox4"),
)
NOTHING = ",,,"


def box_text(box: Any, size: tuple[Any, Any] | None = None) -> str:
    """The text of a list of four numbers; with the `size` (width, height) of the photo they are pixels of it.

    What is no box is kept as text: it is refused by name where it is used.
    """
    values = list(box) if isinstance(box, list | tuple) else [box]
    if len(values) != 4 or not all(type(value) in (int, float) for value in values):
        return NOTHING
    if size is None:
        return ",".join(map(repr, values))
    if not all(type(side) in (int, float) and side > 0 for side in size):
        return ",".join(map(repr, values)) + PIXELS
    return ",".join(repr(value / side) for value, side in zip(values, (*size, *size), strict=True))


def box_texts(table: pd.DataFrame, columns: Sequence[str] | None = None) -> pd.Series | None:
    """The boxes that four columns of a table hold, "" where one is empty; None where it has no such columns.

    They are pixels where half of the sides are longer than 1, since shares are not.
    """
    names = columns if columns is not None else next((each for each in COLUMNS if set(each) <= set(table.columns)), ())
    if not names or not set(names) <= set(table.columns):
        return None
    parts = [table[name] for name in names]
    given = (parts[0] != "") & (parts[1] != "") & (parts[2] != "") & (parts[3] != "")
    sides = pd.to_numeric(pd.concat(parts[2:])[pd.concat([given, given])], errors="coerce")
    unit = PIXELS if (sides > 1).mean() >= 0.5 else ""
    return (parts[0] + "," + parts[1] + "," + parts[2] + "," + parts[3] + unit).where(given, "")


def parse_boxes(texts: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """float64 (rows, 4) of boxes, NaN for what is no number, and whether each is relative, bool (rows,)."""
    boxes, relative = np.full((len(texts), 4), math.nan), np.ones(len(texts), dtype=bool)
    for row, text in enumerate(texts):
        relative[row] = not text.endswith(PIXELS)
        boxes[row] = [_number(value) for value in text.removesuffix(PIXELS).split(",")]
    return boxes, relative


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
