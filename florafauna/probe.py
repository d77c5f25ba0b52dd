"""The convex problem of a linear head: multinomial logistic regression on the features that its classifier is given.

Its optimum says how good a trained head could be, is what `optimizer: lbfgs` takes for the head, and is where
`head_init: probe` starts fine-tuning (LP-FT, Kumar et al. 2022).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize
from torch import nn
from torch.nn.functional import cross_entropy, linear

from florafauna.bundle import PREDICTION_BATCH
from florafauna.compute import as_many_threads_as_pay
from florafauna.errors import UserError
from florafauna.features import Features, remember
from florafauna.feeds import Batch, FeatureFeed, Feed, cache_key
from florafauna.network import classifier_paths
from florafauna.progress import track
from florafauna.scores.metrics import weighted_f1

L2 = tuple(10.0**-power for power in range(8))  # strongest first: each starts from the solution before it
PATIENCE = 2  # values of L2 without a better validation score, after which weaker ones are not tried
STEPS = 300  # of L-BFGS for one value of L2, at most
ROWS = 8192  # of features in one product
KEPT_BYTES = 1 << 30  # of features that are no float32 or go to a GPU: more are converted anew in every step


class NotLinearError(UserError):
    """The model's logits are not those of one linear layer on one vector a photo."""

    def __init__(self) -> None:
        super().__init__(
            "this architecture's logits are not those of one linear layer, so that optimizer: lbfgs and head_init: "
            "probe cannot solve for it; use adamw and random, or another architecture."
        )


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
class HeadProblem:
    """min over (W, b) of mean loss(W x + b, target) + l2/2 |W|², for the features x of all fixed views.

    The loss is the training's own, with its label smoothing and class weights. Features are counted from their mean
    (which changes nothing, the bias being free of the penalty) in units of their root mean square, so that one grid
    of L2 suits every backbone; it is the weights that are scaled, so that float32 features are used on the CPU where
    they are mapped. Others are converted once, and memory for that is bounded by `KEPT_BYTES`.
    """

    feed: Feed
    model: nn.Module
    weights_sha256: str
    cache: Path
    label_smoothing: float = 0.0
    class_weights: torch.Tensor | None = None

    @cached_property
    def classifier(self) -> nn.Module:
        """The one linear layer that gives the logits; `NotLinearError` where the model has no such layer."""
        paths = classifier_paths(self.model)
        module = self.model.get_submodule(paths[0])
        pointwise = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
        if len(paths) > 1 or not (isinstance(module, nn.Linear) or pointwise):
            raise NotLinearError
        return module

    @property
    def shown(self) -> str:
        """What the features are of, in words."""
        views = self.feed.photos.params.views
        return f"{views} fixed view{'s' * (views > 1)}" if views else "training photos as they are evaluated"

    def solve(self) -> Optimum:
        """The head with the best weighted F1 on the validation photos among the optima of all L2."""
        rows = min(ROWS, len(self._targets))
        classes, size = len(self.feed.photos.train.labels), self._scale.mean.numel()
        with as_many_threads_as_pay(rows * size * classes):
            return self._solve(classes, size)

    def _solve(self, classes: int, size: int) -> Optimum:
        start = time.monotonic()
        solution = np.zeros(classes * (size + self._has_bias))
        best: Optimum | None = None
        steps = waited = 0
        for l2 in L2:
            found = minimize(
                lambda flat, l2=l2: self._objective(flat, l2),
                solution,
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": STEPS, "maxfun": 2 * STEPS, "ftol": 1e-8, "gtol": 1e-5},
            )
            solution, steps = found.x, steps + int(found.nit)
            weight, bias = self._unscaled(solution)
            score = self.score(weight, bias)
            waited += 1
            if best is None or score > best.weighted_f1:
                penalty = l2 / 2 * float(np.square(solution[: classes * size]).sum())
                converged = found.status != 1
                best = Optimum(weight, bias, l2, score, float(found.fun) - penalty, 0, converged, 0.0)
                waited = 0
            if waited == PATIENCE:
                break
        assert best is not None
        values = {**best.__dict__, "steps": steps, "seconds": time.monotonic() - start}
        return Optimum(**values)

    def score(self, weight: torch.Tensor, bias: torch.Tensor | None) -> float:
        """Weighted F1 of a head on the validation photos."""
        predictions = [_product(x, weight, bias).argmax(1) for x, _ in self._read(self._val, self._val_targets)]
        return weighted_f1(self._val_targets, torch.cat(predictions).cpu().numpy())

    def loss(self, weight: torch.Tensor, bias: torch.Tensor | None) -> float:
        """Mean loss of a head over the fixed views of the training photos."""
        total = 0.0
        for x, targets in self._read(self._train, self._targets):
            total += float(self._loss(_product(x, weight, bias), targets))
        return total / self._total_weight

    def put(self, optimum: Optimum) -> None:
        """Make the optimum the model's classifier."""
        with torch.no_grad():
            self._weight.copy_(optimum.weight.view_as(self._weight))
            if optimum.bias is not None:
                self._bias.copy_(optimum.bias)

    # the objective

    def _objective(self, flat: np.ndarray, l2: float) -> tuple[float, np.ndarray]:
        classes, size = len(self.feed.photos.train.labels), self._scale.mean.numel()
        values = torch.from_numpy(flat).to(self._device, torch.float32).requires_grad_()
        weight = values[: classes * size].view(classes, size) / self._scale.deviation
        bias = None
        if self._has_bias:
            bias = values[classes * size :] - weight @ self._scale.mean.to(self._device, torch.float32)
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        gradient = torch.zeros(len(flat), dtype=torch.float64, device=self._device)
        for x, targets in self._everything():
            loss = self._loss(linear(x, weight, bias), targets)
            gradient += torch.autograd.grad(loss, values, retain_graph=True)[0]
            total += loss.detach()
        penalised = np.where(np.arange(len(flat)) < classes * size, flat, 0.0)
        value = float(total) / self._total_weight + l2 / 2 * float(np.square(penalised).sum())
        return value, gradient.cpu().numpy() / self._total_weight + l2 * penalised

    def _loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return cross_entropy(
            logits, targets, weight=self.class_weights, label_smoothing=self.label_smoothing, reduction="sum"
        )

    @cached_property
    def _total_weight(self) -> float:
        """What `cross_entropy` divides by for its mean."""
        if self.class_weights is None:
            return float(len(self._targets) * len(self._train))
        return float(self.class_weights.cpu().double().numpy()[self._targets].sum() * len(self._train))

    def _unscaled(self, flat: np.ndarray) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight and bias for the features as they are."""
        classes, size = len(self.feed.photos.train.labels), self._scale.mean.numel()
        weight = torch.from_numpy(flat[: classes * size]).view(classes, size) / self._scale.deviation
        if not self._has_bias:
            return weight.float(), None
        return weight.float(), (torch.from_numpy(flat[classes * size :]) - weight @ self._scale.mean).float()

    # the features

    @cached_property
    def _scale(self) -> "_Scale":
        total, squares, count = torch.zeros(()), torch.zeros(()), 0
        for x, _ in self._read(self._train, self._targets):
            x = x.double()
            total, squares, count = total + x.sum(0).cpu(), squares + x.square().sum().cpu(), count + len(x)
        mean = total / count
        if not bool(mean.isfinite().all()):
            raise UserError("the backbone's features are no numbers; use precision: fp32 or other initial weights.")
        if not self._has_bias:
            mean = torch.zeros_like(mean)  # only a bias can make up for the shift
        variance = float(squares) / count / mean.numel() - float(mean.square().mean())
        return _Scale(mean, max(variance, 1e-12) ** 0.5)

    def _everything(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield from self._kept if self._kept is not None else self._read(self._train, self._targets)

    @cached_property
    def _kept(self) -> list[tuple[torch.Tensor, torch.Tensor]] | None:
        """None where copies would be too large; views of what is mapped cost nothing."""
        (value,) = self._train[0].values
        mapped = self._device.type == "cpu" and value.dtype == torch.float32
        size = len(self._targets) * len(self._train) * self._scale.mean.numel() * 4
        return list(self._read(self._train, self._targets)) if mapped or size <= KEPT_BYTES else None

    def _read(self, views: tuple[Features, ...], targets: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for features in views:
            for start in range(0, len(targets), ROWS):
                rows = slice(start, start + ROWS)
                (x,) = features.rows(rows)
                yield x.to(self._device).float(), torch.from_numpy(targets[rows]).to(self._device)

    @property
    def _targets(self) -> np.ndarray:
        return self.feed.photos.train.targets

    @property
    def _val_targets(self) -> np.ndarray:
        return self.feed.photos.val.targets

    @property
    def _device(self) -> torch.device:
        return self.feed.photos.compute.device

    @property
    def _weight(self) -> torch.Tensor:
        return self.classifier.get_parameter("weight")

    @property
    def _bias(self) -> torch.Tensor:
        return self.classifier.get_parameter("bias")

    @cached_property
    def _has_bias(self) -> bool:
        return self.classifier.bias is not None

    @cached_property
    def _train(self) -> tuple[Features, ...]:
        if isinstance(self.feed, FeatureFeed) and self._is_whole_input(self.feed.val):
            return self.feed.train
        count = max(1, self.feed.photos.params.views)
        return tuple(
            self._remembered(number, self.feed.fixed(number), f"features for the head, view {number + 1} of {count}")
            for number in range(count)
        )

    @cached_property
    def _val(self) -> tuple[Features, ...]:
        if isinstance(self.feed, FeatureFeed) and self._is_whole_input(self.feed.val):
            return (self.feed.val,)
        return (self._remembered(None, self.feed.validation(), "features for the head, validation"),)

    def _is_whole_input(self, features: Features) -> bool:
        """Whether what is remembered is already what the classifier is given."""
        if len(features.values) != 1 or features.values[0].shape != (self._weight.shape[1],):
            return False
        (x,) = features.rows(np.arange(1))
        batch = Batch((x.to(self._device),), torch.zeros(1))
        ((given,),) = self._inputs(iter([batch]))
        return torch.equal(given.cpu(), x.float())

    def _remembered(self, view: int | None, batches: Iterator[Batch], title: str) -> Features:
        photos = len(self._val_targets if view is None else self._targets)
        key = cache_key(self.feed.photos, self.weights_sha256, ("head", *classifier_paths(self.model)), view)
        sample = (torch.empty(0, self._weight.shape[1]),)
        batch_count = -(-photos // PREDICTION_BATCH)
        return remember(self.cache / key, photos, sample, lambda: track(self._inputs(batches), title, batch_count))

    @torch.inference_mode()
    def _inputs(self, batches: Iterator[Batch]) -> Iterator[tuple[torch.Tensor]]:
        """What the classifier is given, float32 (photos, features), with the model in eval mode."""
        seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        hook = self.classifier.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
        self.model.eval()
        try:
            for batch in batches:
                with self.feed.photos.compute.autocast():
                    logits = self.feed.logits(batch, training=False)
                ((given, out),) = seen
                seen.clear()
                if given.numel() != len(logits) * self._weight.shape[1] or not torch.equal(out.flatten(1), logits):
                    raise NotLinearError
                yield (given.flatten(1).float(),)
        finally:
            hook.remove()


@dataclass(frozen=True)
class _Scale:
    mean: torch.Tensor  # float64 (features,)
    deviation: float


def _product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    weight = weight.detach().flatten(1).to(x.device)
    return linear(x, weight, None if bias is None else bias.detach().to(x.device))
