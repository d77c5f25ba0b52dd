"""The training photos most like a photo: remembered, and computed again where the disk has changed them."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny import Place

from florafauna.pixels.store import PixelStore
from florafauna.predict.with_torch import TorchScorer
from florafauna.serve._neighbours import Neighbours, open_neighbours


def ready(scorer: TorchScorer, train: Path, cache: Path) -> Neighbours:
    neighbours = open_neighbours(scorer, train, cache, threading.Lock())
    assert isinstance(neighbours, Neighbours)
    neighbours.start()
    for _ in range(600):
        if neighbours.state.kind != "computing":
            break
        time.sleep(0.05)
    assert neighbours.state.kind == "ready", neighbours.state
    return neighbours


def nearest(scorer: TorchScorer, hundred: Place, cache: Path) -> list[tuple[int, float]]:
    """To a photo of another set, among the training photos of the first class."""
    size = scorer.bundle.data.test_size
    pixels = np.random.default_rng(0).integers(0, 255, (1, size, size, 3), dtype=np.uint8)
    neighbours = ready(scorer, hundred.train, cache)
    return neighbours.find(neighbours.features(pixels)[0], 0)


def test_damaged_neighbours_are_said_and_computed_again(
    bundle: Path, hundred: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scorer = TorchScorer.load(bundle)
    found = nearest(scorer, hundred, tmp_path)
    assert len(found) == int((PixelStore(hundred.train).targets == 0).sum())
    (file,) = tmp_path.glob("*/0.bin")
    data = bytearray(file.read_bytes())
    data[:1000] = bytes(1000)
    file.write_bytes(data)
    capsys.readouterr()
    assert nearest(scorer, hundred, tmp_path) == found
    assert capsys.readouterr().err.count("was damaged on disk and is computed again") == 1
    assert nearest(scorer, hundred, tmp_path) == found
    assert capsys.readouterr().err == ""
