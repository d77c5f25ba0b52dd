"""torch.compile where it works; a model that cannot be compiled is run as it is."""

from collections.abc import Callable

import torch
from torch import nn


def compiled(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """The compiled forward pass, tried on the first batch; if that fails, a message says so and it is not used."""
    fast = torch.compile(model)
    chosen: list[Callable[[torch.Tensor], torch.Tensor]] = []

    def forward(images: torch.Tensor) -> torch.Tensor:
        if not chosen:
            error = _failure(fast, model, images)
            if error is not None:
                print(
                    f"compile: true has no effect here ({type(error).__name__}); the model runs uncompiled", flush=True
                )
            chosen.append(model if error is not None else fast)
        return chosen[0](images)

    return forward


def _failure(fast: Callable[[torch.Tensor], torch.Tensor], model: nn.Module, images: torch.Tensor) -> Exception | None:
    """The error of a forward and a backward pass (each is compiled when first run), or None.

    The trial leaves batch-norm statistics, gradients and random numbers as they were.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with torch.random.fork_rng():
            torch.autograd.grad(fast(images).float().sum(), trained, allow_unused=True)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the compiler's backends raise their own errors
        return error
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)
    return None
