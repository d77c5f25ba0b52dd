"""A tiny trained model and 100 drawn photos for the tests of the command line."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers.tiny import LABELS, SIDE, Place, draw_photos, params

from florafauna.commands.cli import main
from florafauna.photos.sources import open_source
from florafauna.preprocess._write import build_store
from florafauna.scores.settings import EvaluateParams

PHOTOS = 100  # more than one batch
Run = Callable[..., int]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Stores to train from, and `val` of 100 photos that lie in photos/val."""
    root = tmp_path_factory.mktemp("cli")
    for name, count, first_seed in (("train", 12, 0), ("val", PHOTOS, 1000)):
        photos = root / "photos" / name
        photos.mkdir(parents=True)
        rows = draw_photos(photos, count, first_seed)
        build_store(rows, LABELS, open_source(photos), root / name, SIDE, workers=1)
    return Place(root)


@pytest.fixture(scope="session")
def bundle(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is right in half of the photos, evaluated for a precision that it reaches for one of its classes."""
    model = params(epochs=10, warmup_epochs=0, rate=5e-3, schedule="constant")
    return place.bundle(tmp_path_factory.mktemp("bundle"), model, EvaluateParams(resamples=100, precision=0.4))


@pytest.fixture
def photos(place: Place) -> Path:
    return place.root / "photos" / "val"


@pytest.fixture
def run(bundle: Path) -> Run:
    """`florafauna predict` with the tiny model; returns the exit code."""

    def predict(*arguments: object) -> int:
        return main(["predict", "--bundle", str(bundle), *map(str, arguments)])

    return predict
