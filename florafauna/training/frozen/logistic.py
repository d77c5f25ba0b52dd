"""Multinomial logistic regression: the convex problem of a linear classifier on fixed features.

    min over (W, b) of mean loss(W x + b, target) + l2/2 |W|²

The loss is the training's own. Features are counted from their mean (which
changes nothing, as the bias is not penalised) in units of their root mean square, so that one grid of L2 suits every
backbone. It is the weights that are scaled, not the features: float32 features are read where they are mapped.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import minimize
from torch.nn.functional import linear

from florafauna.base.errors import UserError
from florafauna.base.metrics import weighted_f1
from florafauna.model.compute import as_many_threads_as_pay
from florafauna.training._loss import Loss

L2 = tuple(10.0**-power for power in range(8))  # strongest first: each starts from the solution before it
# Values of L2 without a better validation score, after which weaker ones are not tried. One that is so strong that all
# photos are given the same class does not count: rare classes, or what differs little, appear at weaker ones.
PATIENCE = 2
STEPS = 300  # of L-BFGS for one value of L2, at most
CHUNK = 8192  # rows of features in one product
KEPT_BYTES = 1 << 30  # of converted features; where there are more, they are converted again in every step
PLAIN = Loss()

Chunk = tuple[torch.Tensor, torch.Tensor]  # float32 (rows, features), int64 (rows,)


@dataclass(frozen=True)
class Samples:
    """The features of some photos in one view or several, (photos, features) each, and the photos' class indices.

    Iterating gives chunks on `device`, view by view. Features can be of any float type, and mapped from a file.
    `rows` are the photos' rows in the views, where these hold others, too.
    """

    views: Sequence[torch.Tensor]
    targets: np.ndarray
    device: torch.device
    rows: np.ndarray | None = None

    def __iter__(self) -> Iterator[Chunk]:
        """In float32."""
        for features in self.views:
            for start in range(0, len(self.targets), CHUNK):
                photos = slice(start, start + CHUNK)
                chosen = features[photos if self.rows is None else torch.from_numpy(self.rows[photos])]
                yield chosen.to(self.device).float(), torch.from_numpy(self.targets[photos]).to(self.device)

    @property
    def width(self) -> int:
        """Features of a photo."""
        return int(self.views[0].shape[1])

    def kept(self, limit: int) -> Iterable[Chunk]:
        """The chunks, converted only once if that takes no more than `limit` bytes."""
        in_place = self.rows is None and self.views[0].dtype == torch.float32
        free = in_place and self.device.type == "cpu"  # nothing is copied
        converted = len(self.targets) * len(self.views) * self.width * 4
        return list(self) if free or converted <= limit else self


@dataclass(frozen=True)
class Optimum:
    """A solved head. `weight` float32 (classes, features), `bias` float32 (classes,) or None, on the CPU."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    l2: float
    weighted_f1: float  # of the validation photos
    loss: float  # of the training photos, without the penalty
    steps: int  # of L-BFGS, over all values of L2
    converged: bool  # at the chosen L2
    seconds: float

    def __str__(self) -> str:
        limit = "" if self.converged else f", stopped after {STEPS} steps"
        return f"L2 {self.l2:.0e}, train loss {self.loss:.4f}, val weighted F1 {self.weighted_f1:.4f}{limit}"


@dataclass(frozen=True)
class Objective:
    """Value and gradient of the problem as L-BFGS asks for them: W, scaled, then b, as one flat float64 array."""

    chunks: Iterable[Chunk]
    device: torch.device  # of the chunks
    total_weight: float  # by which the sum of the losses is divided for their mean
    classes: int
    mean: torch.Tensor  # of each feature, float64 (features,) on the CPU; 0 where there is no bias to absorb the shift
    deviation: float  # root mean square of all features around their means
    has_bias: bool
    loss: Loss

    def __call__(self, flat: np.ndarray, l2: float) -> tuple[float, np.ndarray]:
        """The penalised mean loss, and its gradient."""
        values = torch.from_numpy(flat).to(self.device, torch.float32).requires_grad_()
        weight, bias = self._head(values, self.mean.to(self.device, torch.float32))
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        gradient = torch.zeros(len(flat), dtype=torch.float64, device=self.device)
        for x, targets in self.chunks:
            loss = self.loss(linear(x, weight, bias), targets, reduction="sum")
            gradient += torch.autograd.grad(loss, values, retain_graph=True)[0]
            total += loss.detach()
        penalised = np.where(np.arange(len(flat)) < self.classes * len(self.mean), flat, 0.0)
        value = float(total) / self.total_weight + l2 / 2 * float(np.square(penalised).sum())
        return value, gradient.cpu().numpy() / self.total_weight + l2 * penalised

    def head(self, flat: np.ndarray) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight and bias, float32, for the features as they are."""
        weight, bias = self._head(torch.from_numpy(flat), self.mean)
        return weight.float(), None if bias is None else bias.float()

    def penalty(self, flat: np.ndarray, l2: float) -> float:
        """What `__call__` adds to the mean loss."""
        return l2 / 2 * float(np.square(flat[: self.classes * len(self.mean)]).sum())

    def _head(self, values: torch.Tensor, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        size = self.classes * len(mean)
        weight = values[:size].view(self.classes, len(mean)) / self.deviation
        return weight, values[size:] - weight @ mean if self.has_bias else None


def solve(
    train: Samples,
    val: Samples,
    classes: int,
    *,
    has_bias: bool = True,
    loss: Loss = PLAIN,
    l2s: Sequence[float] = L2,
    kept_bytes: int = KEPT_BYTES,
) -> Optimum:
    """The head with the best weighted F1 on `val` among the optima on `train` of all `l2s`, strongest first.

    Raises `UserError` where a feature is NaN or infinite.
    """
    start = time.monotonic()
    with as_many_threads_as_pay(min(CHUNK, len(train.targets)) * train.width * classes):
        mean, deviation = mean_and_deviation(train, has_bias)
        objective = Objective(
            chunks=train.kept(kept_bytes),
            device=train.device,
            total_weight=loss.total_weight(train.targets) * len(train.views),
            classes=classes,
            mean=mean,
            deviation=deviation,
            has_bias=has_bias,
            loss=loss,
        )
        solution = np.zeros(classes * (train.width + has_bias))
        best: Optimum | None = None
        steps = waited = 0
        for l2 in l2s:
            found = minimize(
                objective,
                solution,
                args=(l2,),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": STEPS, "maxfun": 2 * STEPS, "ftol": 1e-8, "gtol": 1e-5},
            )
            solution, steps = found.x, steps + int(found.nit)
            weight, bias = objective.head(solution)
            predicted = predict(val, weight, bias)
            score = weighted_f1(val.targets, predicted)
            waited += len(np.unique(predicted)) > 1
            if best is None or score > best.weighted_f1:
                without = float(found.fun) - objective.penalty(solution, l2)
                best = Optimum(weight, bias, l2, score, without, steps=0, converged=found.status != 1, seconds=0.0)
                waited = 0
            if waited == PATIENCE:
                break
    assert best is not None
    return replace(best, steps=steps, seconds=time.monotonic() - start)


def mean_and_deviation(samples: Samples, has_bias: bool) -> tuple[torch.Tensor, float]:
    """Of each feature the mean, float64 (features,); and the root mean square of all features around their means."""
    total, squares, count = torch.zeros(()), torch.zeros(()), 0
    for x, _ in samples:
        x = x.double()
        total, squares, count = total + x.sum(0).cpu(), squares + x.square().sum().cpu(), count + len(x)
    mean = total / count
    if not bool(mean.isfinite().all()):
        raise UserError("the backbone's features are NaN or infinite; use precision: fp32 or other initial weights.")
    if not has_bias:
        mean = torch.zeros_like(mean)
    variance = float(squares) / count / mean.numel() - float(mean.square().mean())
    return mean, max(variance, 1e-12) ** 0.5


def predict(samples: Samples, weight: torch.Tensor, bias: torch.Tensor | None) -> np.ndarray:
    """The class index that the head gives each photo, int64 (photos,)."""
    weight = weight.to(samples.device)
    bias = None if bias is None else bias.to(samples.device)
    return torch.cat([linear(x, weight, bias).argmax(1) for x, _ in samples]).cpu().numpy()
