"""The moving parts that the loop works with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from florafauna.model.compute import Compute
from florafauna.training._feeds import Feed
from florafauna.training._loss import Loss
from florafauna.training.frozen.logistic import Optimum
from florafauna.training.job import TrainingJob


@dataclass(frozen=True)
class Parts:
    """The moving parts of one run. `average` is the exponential moving average of the weights, empty without EMA."""

    job: TrainingJob
    model: nn.Module
    feed: Feed
    compute: Compute
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: dict[str, torch.Tensor]
    loss: Loss
    folder: Path  # of the saved state and the best checkpoint
    solve: Callable[[], Optimum] | None = None  # the head's optimum; needed by optimizer: lbfgs
    head_seconds: float = 0.0  # what the head that training starts from took
    head_l2: float | None = None
