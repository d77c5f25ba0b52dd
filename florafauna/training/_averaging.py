"""The tensors that training changes, and the exponential moving average of them (params: ema)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

Tensors = dict[str, torch.Tensor]


def moving_tensors(model: nn.Module) -> Tensors:
    """What training can change: trainable parameters, and buffers (the statistics of unfrozen batch norms)."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}


@torch.no_grad()
def update_average(average: Tensors, model: nn.Module, decay: float) -> None:
    """In place: average = decay · average + (1 - decay) · model. Counters are copied; an empty average stays empty."""
    for name, tensor in moving_tensors(model).items() if average else ():
        if tensor.is_floating_point():
            average[name].lerp_(tensor, 1 - decay)
        else:
            average[name].copy_(tensor)


@contextmanager
def averaged(model: nn.Module, average: Tensors) -> Iterator[None]:
    """The model has its averaged weights within the block; with an empty `average` it keeps its own."""
    if not average:
        yield
        return
    own = {name: tensor.clone() for name, tensor in moving_tensors(model).items()}
    model.load_state_dict(average, strict=False)
    try:
        yield
    finally:
        model.load_state_dict(own, strict=False)
