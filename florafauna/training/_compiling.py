"""torch.compile where it works and, if asked to find out, where it pays; else the model is run as it is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch.distributed import ReduceOp

from florafauna.base.errors import UserError
from florafauna.base.files import read_json, write_json
from florafauna.model.ranks import by_first
from florafauna.training._parallel import mean_of, together

Forward = Callable[[torch.Tensor], torch.Tensor]
WORTH_TRYING = 600.0  # seconds in all steps ahead: compiling takes a minute or so, of which a part has to be saved
TRIES = 3  # passes of which the fastest counts


@dataclass(frozen=True)
class Decision:
    """What `compile: auto` came to. Seconds: of compiling, and of a step's forward and backward pass either way."""

    used: bool
    why: str
    steps: int  # ahead, if the training does not stop early
    plain: float | None = None
    compiled: float | None = None
    compiling: float | None = None


def decide(steps: int, plain: float, compiled: float, compiling: float) -> Decision:
    """Whether compiling pays: whether the steps ahead save more than it took.

    What it took is spent by then, but each resumption and each further seed spends it again.

    >>> decide(steps=3000, plain=0.1, compiled=0.08, compiling=45.0).used
    True
    """
    used = steps * (plain - compiled) > compiling
    then = f"{steps:,} steps then {steps * compiled:,.0f} s instead of {steps * plain:,.0f}"
    why = f"compiling took {compiling:.0f} s, {then}"
    return Decision(used, why, steps, plain, compiled, compiling)


def remembered(kept: Path) -> Decision | None:
    """The decision that a run has left; None where there is none, or the disk has damaged it."""
    with suppress(UserError, TypeError):
        return Decision(**read_json(kept))
    return None


def forward_of(model: nn.Module, how: bool | Literal["auto"], steps: int, kept: Path | None) -> Forward:
    """The model's forward pass, compiled if `how` says so, or if it is auto, on a GPU and pays over `steps`.

    A decision is kept in the file `kept`, so that a resumed training keeps to it.
    """
    if how != "auto":
        return compiled(model) if how else model
    if next(model.parameters()).device.type != "cpu":
        return compiled_if_it_pays(model, steps, kept)
    why = "not tried on a CPU, on which compiling can take minutes; true compiles there"
    _settle(Decision(False, why, steps), kept)
    return model


def compiled(model: nn.Module) -> Forward:
    """The compiled forward pass, tried on the first batch; if that fails, a message says so and it is not used."""

    def choose(fast: Forward, images: torch.Tensor) -> Forward:
        error = _failure(fast, model, images)
        if error is None:
            return fast
        print(f"compile: true has no effect here ({type(error).__name__}); the model runs uncompiled", flush=True)
        return model

    return _chosen_on_the_first_batch(model, choose)


def compiled_if_it_pays(model: nn.Module, steps: int, kept: Path | None, worth_trying: float = WORTH_TRYING) -> Forward:
    """The forward pass, compiled if that pays by what the first batch takes either way; several processes agree."""
    known = None if kept is None else by_first(lambda: remembered(kept))
    if known is not None:
        _say(known)
        return compiled(model) if known.used else model

    def choose(fast: Forward, images: torch.Tensor) -> Forward:
        decision = _measured(fast, model, images, steps, worth_trying)
        _settle(decision, kept)
        return fast if decision.used else model

    return _chosen_on_the_first_batch(model, choose)


def _chosen_on_the_first_batch(model: nn.Module, choose: Callable[[Forward, torch.Tensor], Forward]) -> Forward:
    fast: Forward = torch.compile(model)
    chosen: list[Forward] = []

    def forward(images: torch.Tensor) -> torch.Tensor:
        if not chosen:
            chosen.append(choose(fast, images))
        return chosen[0](images)

    return forward


def _settle(decision: Decision, kept: Path | None) -> None:
    _say(decision)
    if kept is not None:
        by_first(lambda: write_json(kept, asdict(decision)))


def _say(decision: Decision) -> None:
    print(f"compile: auto does{'' if decision.used else ' not'} compile: {decision.why}", flush=True)


def _measured(fast: Forward, model: nn.Module, images: torch.Tensor, steps: int, worth_trying: float) -> Decision:
    plain = _seconds(model, model, images)
    if plain * steps < worth_trying:
        return Decision(False, f"not tried, as all {steps:,} steps take about {plain * steps:.0f} s", steps, plain)
    start = time.monotonic()
    error = _failure(fast, model, images)
    _wait(images)
    compiling = time.monotonic() - start
    if bool(together(torch.tensor(float(error is not None)), ReduceOp.MAX)):
        why = "in another process" if error is None else type(error).__name__
        return Decision(False, f"it failed ({why})", steps, plain)
    return decide(steps, plain, _seconds(fast, model, images), float(mean_of(torch.tensor(compiling))))


def _seconds(run: Forward, model: nn.Module, images: torch.Tensor) -> float:
    """Of a forward and a backward pass: the fastest of a few, the mean over processes."""
    taken = []
    for _ in range(TRIES + 1):
        _wait(images)
        start = time.monotonic()
        _pass(run, model, images)
        _wait(images)
        taken.append(time.monotonic() - start)
    return float(mean_of(torch.tensor(min(taken[1:]))))


def _wait(images: torch.Tensor) -> None:
    if images.device.type != "cpu":
        torch.accelerator.synchronize()


def _failure(fast: Forward, model: nn.Module, images: torch.Tensor) -> Exception | None:
    """The error of a forward and a backward pass (each is compiled when first run), or None."""
    try:
        _pass(fast, model, images)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the compiler's backends raise their own errors
        return error
    return None


def _pass(run: Forward, model: nn.Module, images: torch.Tensor) -> None:
    """Forward and backward, which leaves batch-norm statistics, gradients and random numbers as they were."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with _undone(model, images.device):
        torch.autograd.grad(run(images).float().sum(), trained, allow_unused=True)


@contextmanager
def _undone(model: nn.Module, device: torch.device) -> Iterator[None]:
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    gpus = [device] if device.type != "cpu" else []
    try:
        with torch.random.fork_rng(gpus, device_type=device.type):
            yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)
