"""The examples in docstrings give what they say, and every room's face has one."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in sorted((ROOT / "florafauna").rglob("*.py"))
    if ">>>" in file.read_text(encoding="utf-8")
]
FACES = [
    "labels.read.read_photos", "audit.audit.audit", "split.dataset.prepare", "preprocess.preprocess.preprocess",
    "training.loop.train", "bundle.bundle.load_bundle", "scores.score.score", "evaluate.evaluate.evaluate",
    "compare.compare.compare", "predict.run.predict", "predict.export.export_onnx", "serve.run.serve",
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_an_example_gives_what_it_says(module: str) -> None:
    assert doctest.testmod(import_module(module)).failed == 0


@pytest.mark.parametrize("face", FACES)
def test_the_face_of_a_room_has_an_example(face: str) -> None:
    module, name = face.rsplit(".", 1)
    assert ">>> " in getattr(import_module(f"florafauna.{module}"), name).__doc__
