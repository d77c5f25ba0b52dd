"""A tiny trained model and 100 drawn photos for the tests of the command line."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.project import REPOSITORY
from helpers.tiny import LABELS, SIDE, Place, draw_photos, params
from training.conftest import one_thread

from florafauna.commands.cli import main
from florafauna.photos.sources import open_source
from florafauna.preprocess._write import build_store
from florafauna.scores.settings import EvaluateParams

__all__ = ["one_thread"]  # a fixture

PHOTOS = 100  # more than one batch
Run = Callable[..., int]


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
    """A model that is right in two thirds of the photos, evaluated for a precision that some of its answers reach."""
    model = params(epochs=15, warmup_epochs=0, rate=1e-2, schedule="constant")
    return place.bundle(tmp_path_factory.mktemp("bundle"), model, EvaluateParams(resamples=100, precision=0.6))


@pytest.fixture
def photos(place: Place) -> Path:
    return place.root / "photos" / "val"


@pytest.fixture
def run(bundle: Path) -> Run:
    """`florafauna predict` with the tiny model; returns the exit code."""

    def predict(*arguments: object) -> int:
        return main(["predict", "--bundle", str(bundle), *map(str, arguments)])

    return predict


def served(bundle: Path, root: Path, seconds: float = 60, held: int | None = None) -> Iterator[int]:
    """The port of a `florafauna serve` that runs in `root` and gives each photo so many seconds to arrive.

    `held` is how many bytes of unfinished photos it holds, if not as many as usual.
    """
    code = "import sys, florafauna.serve._app as app\napp.UPLOAD_SECONDS = float(sys.argv.pop(1))\n"
    code += f"app.HELD = {held}\n" if held is not None else ""
    code += "from florafauna.commands.cli import main\nraise SystemExit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, str(seconds), "serve", "--bundle", str(bundle), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found
        try:
            yield int(found[1])
        finally:
            process.kill()
