"""A bundle run by torch: the forward pass of `predict_logits`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from florafauna.bundle import Bundle, forward, load_bundle
from florafauna.centre import Resize
from florafauna.compute import Compute, for_inference
from florafauna.resize import resize


@dataclass(frozen=True)
class TorchScorer:
    """See `Scorer`. The model must be in its place: see `of_bundle`."""

    bundle: Bundle
    compute: Compute
    resize: Resize = resize

    @classmethod
    def load(cls, folder: Path) -> "TorchScorer":
        """On the device and in the precision that fit; `UserError` as `load_bundle`."""
        bundle = load_bundle(folder)
        return cls.of_bundle(bundle, for_inference(bundle.info["precision"]))

    @classmethod
    def of_bundle(cls, bundle: Bundle, compute: Compute) -> "TorchScorer":
        """On a device of one's own choice."""
        return cls(Bundle(compute.place(bundle.model).eval(), bundle.info), compute)

    @property
    def info(self) -> dict[str, Any]:
        """See `Scorer`."""
        return self.bundle.info

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        (scores,) = forward(self.bundle.model, [images], self.bundle.data, self.compute)
        return scores.float().cpu().numpy()
