"""A trained model that scores views of photos, whatever runs it: torch, or onnxruntime where there is no torch."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from florafauna.base.errors import UserError
from florafauna.pixels.centre import Resize


class Scorer(Protocol):
    """`info` is bundle.json; `resize` makes the views."""

    @property
    def info(self) -> dict[str, Any]:
        """Not to be changed."""

    @property
    def resize(self) -> Resize:
        """Of the same kind as the model."""

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """float32 (photos, classes) of uint8 (photos, size, size, 3)."""


def load_scorer(path: Path) -> Scorer:
    """The bundle at `path`: a folder with model.safetensors, or one with model.onnx, or an .onnx file.

    `UserError` for one that is incomplete or changed, and where what runs it is not installed.
    """
    if path.suffix.lower() == ".onnx" or (path / "model.onnx").is_file():
        from florafauna.predict.with_onnx import OnnxScorer

        return OnnxScorer.load(path)
    try:
        from florafauna.predict.with_torch import TorchScorer
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "timm", "torchvision"):
            raise
        raise UserError(
            f"{error.name} is not installed, which {path} needs; install it, or use what `florafauna export` wrote."
        ) from None
    return TorchScorer.load(path)
