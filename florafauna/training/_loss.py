"""The loss that is minimised, by the loop and by the solver of the head alike."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from florafauna.model.settings import ModelParams
from florafauna.pixels.store import PixelStore


@dataclass(frozen=True)
class Loss:
    """Cross-entropy with label smoothing, class weights and logit adjustment.

    `class_weights` and `log_prior` are float32 (classes,) on the device of the logits, or None.
    """

    label_smoothing: float = 0.0
    class_weights: torch.Tensor | None = None
    log_prior: torch.Tensor | None = None

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
        """Of float32 logits (photos, classes) and targets that are class indices, or probabilities of classes."""
        if self.log_prior is not None:
            logits = logits + self.log_prior
        return cross_entropy(
            logits, targets, weight=self.class_weights, label_smoothing=self.label_smoothing, reduction=reduction
        )

    def to(self, device: torch.device) -> "Loss":
        """The same for logits on another device."""
        moved = (value if value is None else value.to(device) for value in (self.class_weights, self.log_prior))
        return Loss(self.label_smoothing, *moved)

    def total_weight(self, targets: np.ndarray) -> float:
        """By what the sum over these class indices is divided for the mean."""
        if self.class_weights is None:
            return float(len(targets))
        return float(self.class_weights.cpu().double().numpy()[targets].sum())


def loss_of(params: ModelParams, store: PixelStore, device: torch.device) -> Loss:
    """The loss for the training photos in `store`.

    `class_weighting: balanced` is that of scikit-learn, photos / (classes * photos in the class). `loss:
    logit_adjusted` adds the logarithm of each class's share to its logit (Menon et al. 2021, with tau 1): trained so,
    the model's own logits are those of classes that are equally common.
    """
    counts = np.maximum(np.bincount(store.targets, minlength=len(store.labels)), 1)

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)

    return Loss(
        params.label_smoothing,
        tensor(len(store) / (len(counts) * counts)) if params.class_weighting == "balanced" else None,
        tensor(np.log(counts / len(store))) if params.loss == "logit_adjusted" else None,
    )
