"""Three pixel stores and a manifest, as split and preprocess leave them."""

import pandas as pd
import pytest
from helpers.tiny import LABELS, SIDE, Place, draw_photos

from florafauna.photos.sources import open_source
from florafauna.preprocess._write import build_store

COUNTS = {"train": 30, "val": 12, "test": 18}
SITES = ("brook", "dune", "heath", "moor", "wood", "")


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """60 drawn photos at five sites, pairs of which are groups; two of the test photos are held out."""
    root = tmp_path_factory.mktemp("crossval")
    tables = []
    for number, (split, count) in enumerate(COUNTS.items()):
        photos = root / "photos" / split
        photos.mkdir(parents=True)
        rows = draw_photos(photos, count, 1000 * number)
        rows["group"] = [f"{split} {row // 2}" if row % 3 else "" for row in range(count)]
        rows["held_out"] = ["time" if split == "test" and row < 2 else "" for row in range(count)]
        build_store(rows, LABELS, open_source(photos), root / split, SIDE, workers=1)
        sites = [SITES[(row // 2) % len(SITES)] for row in range(count)]
        tables.append(rows.assign(split=split, location=sites))
    pd.concat(tables).to_csv(root / "manifest.csv", index=False)
    return Place(root)
