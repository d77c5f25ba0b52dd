"""Learning rate schedule and early stopping: pure functions of the step and of the validation scores so far."""

import math
from collections.abc import Sequence

from florafauna.model.settings import ModelParams


def rate_at(step: int, steps_per_epoch: int, scores: Sequence[float], params: ModelParams) -> float:
    """The learning rate of optimizer step `step` (from 0), given the validation scores of the epochs before it.

    Linear warm-up, then cosine decay to `final_rate * rate` at the last step of the last epoch, or a reduction by
    `plateau_factor` whenever the score has not improved for more than `plateau_patience` epochs, or a constant.
    """
    warmup = round(params.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return params.rate * (step + 1) / warmup
    if params.schedule == "cosine":
        done = (step - warmup) / max(1, params.epochs * steps_per_epoch - 1 - warmup)
        return params.rate * (params.final_rate + (1 - params.final_rate) * (1 + math.cos(math.pi * done)) / 2)
    if params.schedule == "plateau":
        return params.rate * params.plateau_factor ** plateaus(scores, params.plateau_patience)
    return params.rate


def plateaus(scores: Sequence[float], patience: int) -> int:
    """How often the score has not improved for more than `patience` epochs in a row (as in ReduceLROnPlateau)."""
    best, waited, falls = -math.inf, 0, 0
    for score in scores:
        if score > best:
            best, waited = score, 0
        else:
            waited += 1
        if waited > patience:
            waited, falls = 0, falls + 1
    return falls


def should_stop(scores: Sequence[float], patience: int) -> bool:
    """Whether the best score is at least `patience` epochs old."""
    return bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= patience
