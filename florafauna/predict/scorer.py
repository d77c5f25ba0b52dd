"""A trained model that scores views of photos, run by torch, or by onnxruntime where torch is not installed."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from florafauna.base.errors import UserError
from florafauna.pixels.centre import Resize


class Scorer(Protocol):
    """A trained model, whatever runs it. `info` is bundle.json; `resize` makes the views."""

    @property
    def info(self) -> dict[str, Any]:
        """The content of bundle.json; read-only."""

    @property
    def resize(self) -> Resize:
        """torch's or numpy's, depending on what runs the model."""

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """float32 (photos, classes) of uint8 (photos, size, size, 3)."""


def load_scorer(path: Path) -> Scorer:
    """The bundle at `path`: a folder with model.safetensors, or one with model.onnx, or an .onnx file.

    `UserError` if it is incomplete or changed, or if the package that runs it is not installed.
    """
    if is_exported(path):
        from florafauna.predict.with_onnx import OnnxScorer

        return OnnxScorer.load(path)
    try:
        from florafauna.predict.with_torch import TorchScorer
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "timm", "torchvision"):
            raise
        raise UserError(
            f"{error.name} is not installed, and {path} needs it; install it, or use an exported bundle."
        ) from None
    return TorchScorer.load(path)


def is_exported(path: Path) -> bool:
    """Whether `florafauna export` wrote what is there."""
    return path.suffix.lower() == ".onnx" or (path / "model.onnx").is_file()
