"""The photo around what a thumbnail shows, with its boxes: the page opens it on a click."""

from collections.abc import Sequence
from io import BytesIO

import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from florafauna.compare.report._thumbnails import data_uri, thumbnail
from florafauna.pixels.store import PHOTOS, PixelStore

SIDE = 240  # pixels of the longer side
MOST = 300  # photos: about 2 MB
Context = tuple[str, list[list[float]]]  # data URI, and boxes (left, top, width, height) in shares of its sides


def contexts(store: PixelStore, names: Sequence[str]) -> dict[int, Context]:
    """The contexts of the first of `names` by their number; photos without a box have none."""
    if (store.folder / PHOTOS).is_file():
        return _of_crops(store, names[:MOST])
    return _of_photos(store, names[:MOST]) if "boxes" in store.columns else {}


def _of_crops(store: PixelStore, names: Sequence[str]) -> dict[int, Context]:
    table = pq.read_table(store.folder / PHOTOS, filters=pc.field("path").isin(list(names)), use_threads=False)
    known = {row["path"]: row for row in table.to_pylist()}
    found = {}
    for number, name in enumerate(names):
        row = known.get(name)
        if row is not None:
            with Image.open(BytesIO(row["picture"])) as picture:
                found[number] = data_uri(row["picture"]), _shares(row["box"], *picture.size)
    return found


def _of_photos(store: PixelStore, names: Sequence[str]) -> dict[int, Context]:
    boxes = store.table("boxes")["boxes"]
    found = {}
    for number, name in enumerate(names):
        row = store.row_of(name)
        if row is not None and boxes[row]:
            photo = store.photo(row)
            height, width = photo.shape[:2]
            found[number] = thumbnail(photo, SIDE), _shares(boxes[row], width, height)
    return found


def _shares(boxes: str, width: int, height: int) -> list[list[float]]:
    sides = (width, height, width, height)
    return [
        [round(int(value) / side, 4) for value, side in zip(box.split(","), sides, strict=True)]
        for box in boxes.split()
    ]
