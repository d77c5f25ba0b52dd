"""WiSE-FT (Wortsman et al. 2022, arXiv 2109.01903): the mean of the weights before and after fine-tuning.

It keeps some of what the initial weights knew and fine-tuning forgets. Statistics of batch norms are averaged as
weights are, so that one end is exactly the start and the other exactly the fine-tuned model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from florafauna.base.metrics import accuracy, weighted_f1
from florafauna.training._averaging import Tensors, moving_tensors

GRID = tuple(tenths / 10 for tenths in range(11))  # shares of the fine-tuned weights, as in the paper


@dataclass(frozen=True)
class Mean:
    """The share of the fine-tuned weights in the mean, and the validation scores of this and of all that were tried."""

    share: float
    weighted_f1: float
    accuracy: float
    tried: dict[float, float]  # weighted F1 by share

    def __str__(self) -> str:
        tried = ", ".join(f"{share:g}: {score:.4f}" for share, score in self.tried.items())
        return f"{self.share:g} of the fine-tuned weights (val weighted F1 by that share: {tried})"


def average_with_start(
    model: nn.Module,
    start: Mapping[str, torch.Tensor],
    wise: float | Literal["auto"],
    validate: Callable[[], tuple[np.ndarray, np.ndarray]],
) -> Mean:
    """Give the fine-tuned model its mean with the start, in the share `wise`.

    `auto` is the share of GRID with the highest weighted F1 on the validation photos, of equal ones the highest share.
    `validate` returns the model's logits (photos, classes) and targets.
    """
    end = {name: tensor.clone() for name, tensor in moving_tensors(model).items()}
    start = {name: start[name].to(tensor.device) for name, tensor in end.items()}

    def tried(share: float) -> tuple[float, float]:
        model.load_state_dict(mean_of(start, end, share), strict=False)
        logits, targets = validate()
        return weighted_f1(targets, logits.argmax(1)), accuracy(targets, logits.argmax(1))

    scores = {share: tried(share) for share in (GRID if wise == "auto" else (wise,))}
    chosen = max(scores, key=lambda share: (scores[share][0], share))
    model.load_state_dict(mean_of(start, end, chosen), strict=False)
    return Mean(chosen, *scores[chosen], {share: score for share, (score, _) in scores.items()})


def mean_of(start: Mapping[str, torch.Tensor], end: Mapping[str, torch.Tensor], share: float) -> Tensors:
    """(1 - share) · start + share · end; counters, which have no mean, are those of the end unless the share is 0."""
    return {
        name: start[name].lerp(tensor, share) if tensor.is_floating_point() else tensor if share else start[name]
        for name, tensor in end.items()
    }
