"""What several processes need to train as one would: the same gradients and the same batch statistics."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from types import MethodType
from typing import Any

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import nn
from torch.nn.functional import batch_norm
from torch.nn.parallel import DistributedDataParallel

from florafauna.model.ranks import ranks

Forward = Callable[..., torch.Tensor]


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return together(value)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return together(gradient.contiguous())


class _Module(nn.Module):
    """A forward pass together with the model whose parameters it uses."""

    def __init__(self, model: nn.Module, run: Forward) -> None:
        super().__init__()
        self.model, self._run = model, run

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """As the forward pass."""
        return self._run(*inputs)


def distributed(model: nn.Module, forward: Forward) -> Forward:
    """`forward` (of `model`, maybe compiled), whose backward pass means the gradients over all processes."""
    if ranks() == 1:
        return forward
    # Buffers are equal already: batch statistics are computed together. (torch 2.14 renamed the argument.)
    known = signature(DistributedDataParallel).parameters
    sync = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {sync: False}
    return DistributedDataParallel(_Module(model, forward), **options)


def unsynced(forward: Forward, last: bool) -> AbstractContextManager[Any]:
    """For a forward and backward pass: but for the last one of an optimizer step, gradients add up where they are."""
    if isinstance(forward, DistributedDataParallel) and not last:
        return forward.no_sync()
    return nullcontext()


def share(targets: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor | float:
    """What this process's mean loss counts, relative to the mean over processes, to be that of the whole batch.

    1 unless parts are of different sizes, or weigh differently by `weights` (classes,).
    """
    if ranks() == 1:
        return 1.0
    weighed = weights is not None and targets.dim() == 1
    mine = weights[targets].sum() if weights is not None and weighed else torch.tensor(float(len(targets)))
    total = mine.clone()
    dist.all_reduce(total)
    return mine * ranks() / total


def together(value: torch.Tensor, how: Any = dist.ReduceOp.SUM) -> torch.Tensor:
    """The sum (or another reduction) of a tensor over all processes."""
    if ranks() > 1:
        value = value.clone()
        dist.all_reduce(value, how)
    return value


def mean_of(value: torch.Tensor) -> torch.Tensor:
    """The mean of a tensor over all processes."""
    return together(value) / ranks()


def with_common_batch_norms(model: nn.Module) -> nn.Module:
    """The model, its batch norms normalising by the whole batch; torch's own can do that on GPUs alone."""
    if ranks() == 1:
        return model
    if next(model.parameters()).device.type != "cpu":
        synced: nn.Module = convert_sync_batchnorm(model)
        return synced
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.forward = MethodType(_common_batch_norm, module)  # type: ignore[method-assign]
    return model


def _common_batch_norm(module: nn.modules.batchnorm._BatchNorm, images: torch.Tensor) -> torch.Tensor:
    """Batch norm by the statistics of all processes' images, (photos, channels, …)."""
    if not module.training:
        normal = batch_norm(
            images, module.running_mean, module.running_var, module.weight, module.bias, False, 0.0, module.eps
        )
    else:
        over = [dim for dim in range(images.dim()) if dim != 1]
        shape = [1, -1] + [1] * (images.dim() - 2)
        own = images.new_tensor([images.numel() / images.shape[1]])
        count = together(own)
        mean = _Sum.apply(images.sum(over)) / count
        centred = images - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(over)) / count
        normal = centred * (variance + module.eps).rsqrt().view(shape)
        if module.affine:
            normal = normal * module.weight.view(shape) + module.bias.view(shape)
        _track(module, mean.detach(), (variance * count / (count - 1)).detach())
    return module.act(module.drop(normal)) if isinstance(module, BatchNormAct2d) else normal


def _track(module: nn.modules.batchnorm._BatchNorm, mean: torch.Tensor, variance: torch.Tensor) -> None:
    if module.running_mean is None or module.running_var is None or module.num_batches_tracked is None:
        return
    module.num_batches_tracked.add_(1)
    rate = module.momentum if module.momentum is not None else 1 / float(module.num_batches_tracked)
    module.running_mean.lerp_(mean, rate)
    module.running_var.lerp_(variance, rate)
