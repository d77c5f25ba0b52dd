"""A bundle run by torch, with the forward pass of `predict_logits`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from florafauna.bundle.bundle import Bundle, load_bundle
from florafauna.bundle.inference import Ready
from florafauna.model.compute import Compute, for_inference
from florafauna.pixels.centre import Resize
from florafauna.pixels.resize import resize


@dataclass(frozen=True)
class TorchScorer:
    """See `Scorer`; created by `of_bundle`. The model of `bundle` is that of `ready`."""

    bundle: Bundle
    compute: Compute
    ready: Ready
    resize: Resize = resize

    @classmethod
    def load(cls, folder: Path) -> "TorchScorer":
        """On the best device and in its precision; raises `UserError` like `load_bundle`."""
        bundle = load_bundle(folder)
        return cls.of_bundle(bundle, for_inference(bundle.info["precision"]))

    @classmethod
    def of_bundle(cls, bundle: Bundle, compute: Compute) -> "TorchScorer":
        """On the device and in the precision given by `compute`."""
        ready = Ready(bundle.model, bundle.data, compute)
        return cls(Bundle(ready.model, bundle.info), compute, ready)

    @property
    def info(self) -> dict[str, Any]:
        """See `Scorer`."""
        return self.bundle.info

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        return self.ready.logits(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """What the classifier is given, float32 (photos, features); `UserError` as for `Ready.features`."""
        return self.ready.features(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
