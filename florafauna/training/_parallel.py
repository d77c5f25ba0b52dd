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


class _CommonBatchNorm(torch.autograd.Function):
    """Batch norm by the statistics of all processes' images, (photos, channels, …), on a CPU.

    Gives the normalised images, and of the statistics mean and variance (channels,) and the number of values a channel.
    The gradients of weight and bias are this process's share, as those of every layer are.
    """

    @staticmethod
    def forward(
        ctx: Any, images: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float
    ) -> tuple[torch.Tensor, ...]:
        own_mean, own_variance = torch.batch_norm_update_stats(
            images.float(), None, None, 0.0
        )  # 25 times var_mean's speed
        own = torch.full_like(own_mean[:1], images.numel() / images.shape[1])
        sums = together(torch.cat([own * own_mean, own]))
        mean, count = sums[:-1] / sums[-1], sums[-1]
        variance = together(own * (own_variance + (own_mean - mean).square())) / count
        ctx.save_for_backward(images, weight, mean, variance, count)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, count)
        return batch_norm(images, mean, variance, weight, bias, False, 0.0, eps), mean, variance, count

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        images, weight, mean, variance, count = ctx.saved_tensors
        of_images, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, images, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )  # as if mean and variance were constants; what they depend on comes on top
        by_weight, by_bias = together(torch.cat([of_weight, of_bias])).chunk(2)
        inverse = (variance + ctx.eps).rsqrt()
        scale = -inverse / count if weight is None else -weight * inverse / count
        slope = scale * inverse * by_weight
        shape = [1, -1] + [1] * (images.dim() - 2)
        level = (scale * by_bias - slope * mean).to(images.dtype).view(shape)
        of_images.add_(level).addcmul_(images, slope.to(images.dtype).view(shape))
        return of_images, None if weight is None else of_weight, None if weight is None else of_bias, None


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
    """The module's forward pass; in training by the statistics of all processes' images."""
    if module.training:
        normal, mean, variance, count = _CommonBatchNorm.apply(images, module.weight, module.bias, module.eps)
        _track(module, mean, variance * count / (count - 1))
    else:
        normal = batch_norm(
            images, module.running_mean, module.running_var, module.weight, module.bias, False, 0.0, module.eps
        )
    return module.act(module.drop(normal)) if isinstance(module, BatchNormAct2d) else normal


def _track(module: nn.modules.batchnorm._BatchNorm, mean: torch.Tensor, variance: torch.Tensor) -> None:
    if module.running_mean is None or module.running_var is None or module.num_batches_tracked is None:
        return
    module.num_batches_tracked.add_(1)
    rate = module.momentum if module.momentum is not None else 1 / float(module.num_batches_tracked)
    module.running_mean.lerp_(mean, rate)
    module.running_var.lerp_(variance, rate)
