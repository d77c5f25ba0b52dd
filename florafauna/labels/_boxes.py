"""Boxes as the rows of a label source carry them: a text, see `photos.crops.box_text`."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from florafauna.photos.crops import box_text

# The columns of detections, all text: where in the file (number of the image, and of the detection in it) they are
BOXES = ("path", "_box", "_category", "_confidence", "label", "frame", "image", "detection")
# Names of the four columns of a table: ours, Camtrap DP's, animl's
COLUMNS = (
    ("bbox_x", "bbox_y", "bbox_width", "bbox_height"),
    ("bbox_x", "bbox_y", "bbox_w", "bbox_h"),
    ("bboxX", "bboxY", "bboxWidth", "bboxHeight"),
    ("bbox1", "bbox2", "bbox3", "bbox4"),
)
NOTHING = ",,,"
MOST = 10**9  # pixels of a side


def text_of(box: Any, size: tuple[Any, Any] | None = None) -> str:
    """The text of a list of four numbers; with the `size` (width, height) of the photo they are pixels of it.

    What is no box is kept as text: it is refused by name where it is used.
    """
    given = box if isinstance(box, list | tuple) else ()
    if len(given) != 4 or not all(type(value) in (int, float) for value in given):
        return NOTHING
    try:
        values = [float(value) for value in given]
    except OverflowError:
        return NOTHING
    if size is None:
        return box_text(values)
    if not all(type(side) in (int, float) and 0 < side < MOST for side in size):
        return box_text(values, relative=False)
    return box_text([value / side for value, side in zip(values, (*size, *size), strict=True)])


def box_texts(table: pd.DataFrame, columns: Sequence[str] | None = None) -> pd.Series | None:
    """The boxes that four columns of a table hold, "" where one is empty; None where it has no such columns.

    They are pixels where half of the sides are longer than 1, since shares are not.
    """
    names = columns if columns is not None else next((each for each in COLUMNS if set(each) <= set(table.columns)), ())
    if not names or not set(names) <= set(table.columns):
        return None
    parts = [table[name] for name in names]
    given = (parts[0] != "") & (parts[1] != "") & (parts[2] != "") & (parts[3] != "")
    numbers = pd.concat([pd.to_numeric(part, errors="coerce") for part in parts], axis=1)[given].to_numpy(float)
    relative = not (numbers[:, 2:] > 1).mean() >= 0.5 if len(numbers) else True
    texts = iter([box_text(row, relative) for row in numbers.tolist()])
    return pd.Series([next(texts) if there else "" for there in given], index=table.index, dtype=str)
