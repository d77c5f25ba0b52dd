"""Fixtures of more than one room: a plugin, which tests/conftest.py names. What needs torch imports it when asked."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from helpers.tiny import Place

PHOTOS = 100  # more than one batch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other over such small models are slower than one, much so beside other work."""
    torch = sys.modules.get("torch")
    if torch is None:  # no test needs it
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """A JPEG of 8 × 8 pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (30, 120, 60)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def make_photos(tmp_path: Path, jpeg: bytes) -> Callable[..., Path]:
    """Write photos at the given paths below a new folder, and return it."""

    def make(*paths: str, root: str = "photos") -> Path:
        folder = tmp_path / root
        folder.mkdir(exist_ok=True)
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(jpeg)
        return folder

    return make


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> "Place":
    """Two pixel stores of drawn photos, for trainings."""
    from helpers.tiny import TRAIN, VAL

    return _drawn(tmp_path_factory.mktemp("training"), train=TRAIN, val=VAL)


@pytest.fixture(scope="session")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> "Place":
    """Stores to train from, and `val` of 100 photos that lie in photos/val, for predictions."""
    return _drawn(tmp_path_factory.mktemp("hundred"), train=12, val=PHOTOS)


def _drawn(root: Path, **counts: int) -> "Place":
    from helpers.tiny import LABELS, SIDE, Place, draw_photos

    from florafauna.photos.sources import open_source
    from florafauna.preprocess._write import build_store

    for number, (name, count) in enumerate(counts.items()):
        photos = root / "photos" / name
        photos.mkdir(parents=True)
        rows = draw_photos(photos, count, 1000 * number)
        build_store(rows, LABELS, open_source(photos), root / name, SIDE, workers=1)
    return Place(root)


@pytest.fixture
def photos(hundred: "Place") -> Path:
    """The folder of these 100 photos."""
    return hundred.root / "photos" / "val"


@pytest.fixture(scope="session")
def bundle(hundred: "Place", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is right in two thirds of the photos, evaluated for a precision that some of its answers reach."""
    from helpers.tiny import params

    from florafauna.scores.settings import EvaluateParams

    model = params(epochs=15, warmup_epochs=0, rate=1e-2, schedule="constant")
    return hundred.bundle(tmp_path_factory.mktemp("bundle"), model, EvaluateParams(resamples=100, precision=0.6))


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a real S3 server on this machine that keeps everything in memory."""
    from moto.server import ThreadedMotoServer

    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    before = {key: os.environ.get(key) for key in keys}
    os.environ.update(keys)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    for key, value in before.items():
        if value is None:
            os.environ.pop(key)
        else:
            os.environ[key] = value
