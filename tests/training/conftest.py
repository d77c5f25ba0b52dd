"""Photos drawn once for all trainings."""

from collections.abc import Iterator

import pytest
import torch
from helpers.tiny import LABELS, SIDE, TRAIN, VAL, Place, draw_photos

from florafauna.photos.sources import open_source
from florafauna.preprocess._write import build_store


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Two pixel stores of drawn photos."""
    root = tmp_path_factory.mktemp("training")
    for name, count, first_seed in (("train", TRAIN, 0), ("val", VAL, 1000)):
        photos = root / "photos" / name
        photos.mkdir(parents=True)
        rows = draw_photos(photos, count, first_seed)
        build_store(rows, LABELS, open_source(photos), root / name, SIDE, workers=1)
    return Place(root)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other over such small models are slower than one, much so beside other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
