"""A trained model ready to score photos: on a CPU folded and packed, a few photos at a time on each core."""

import copy
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from itertools import chain
from threading import Barrier
from typing import Any, TypeVar

import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from florafauna.base.errors import UserError
from florafauna.bundle._packed import can_pack, pack
from florafauna.model.compute import Compute
from florafauna.model.network import DataConfig
from florafauna.pixels.loading import normalise

# Pixels that a core of a CPU works on at once: 4 photos of 224 px. What layers hand on then stays in the cache and in
# memory that is used again; mobilenetv2_100 takes 13 ms a photo so, 26 ms in batches of 64 (28 and 47 ms not folded).
PIXELS = 4 * 224 * 224
TOLERANCE = 1e-4  # of the changed model's logits against the plain one's, relative to the largest
SMALLEST = 1e-9  # of these; a head that starts at zero has none

Result = TypeVar("Result")


class Ready:
    """The forward pass of `predict_logits`, of a model in evaluation mode.

    On a CPU each core takes photos of its own and computes alone, so logits do not depend on the number of cores, and
    cores never wait for each other within a layer, which other processes (decoding) would draw out.
    """

    def __init__(self, model: nn.Module, data: DataConfig, compute: Compute) -> None:
        """`model` is moved to the device; for fp32 on a CPU it is a copy of it that is run, see `for_cpu`."""
        self.model = compute.place(model).eval()
        self._data, self._compute = data, compute
        self._pool: ThreadPoolExecutor | None = None
        if not compute.on_gpu:
            self._pool = _threads(torch.get_num_threads())
            if compute.precision == "fp32":
                self.model = self._pool.submit(for_cpu, self.model, data.test_size).result()

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """float32 (photos, classes), on the CPU, of uint8 (photos, 3, height, width)."""
        return self._run(self.model, pixels)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """float32 (photos, features), on the CPU: what the classifier is given. `UserError` as for `Headless`."""
        return self._run(self._headless, pixels)

    @cached_property
    def _headless(self) -> "Headless":
        return Headless(self.model)

    def outputs(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """All that a model of several outputs gives, (photos, …) each, of normalised images on the device."""
        return tuple(map(torch.cat, zip(*self._of_parts(self._given, images), strict=True)))

    def _run(self, model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
        return torch.cat(self._of_parts(partial(self._scored, model), pixels))

    def _of_parts(self, run: Callable[[torch.Tensor], Result], photos: torch.Tensor) -> list[Result]:
        if self._pool is None:
            return [run(photos)]
        few = max(1, PIXELS // (photos.shape[2] * photos.shape[3]))
        return list(self._pool.map(run, photos.split(few)))

    @torch.inference_mode()
    def _given(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with self._compute.autocast():
            return _tensors(self.model(images))

    @torch.inference_mode()
    def _scored(self, model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
        return forward(model, pixels, self._data, self._compute)


class Headless(nn.Module):
    """A timm model without its classifier; `UserError` for a model that timm cannot divide so."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not callable(getattr(model, "forward_head", None)):
            raise UserError("this architecture's features cannot be told from its classifier; use another one.")
        self.model: Any = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """What the classifier is given, (photos, features)."""
        features: torch.Tensor = self.model.forward_head(self.model.forward_features(images), pre_logits=True)
        return features.flatten(1)


def forward(model: nn.Module, pixels: torch.Tensor, data: DataConfig, compute: Compute) -> torch.Tensor:
    """float32 (photos, classes), on the CPU: the model as it is, all photos at once."""
    images = normalise(pixels.to(compute.device, non_blocking=True), data.mean, data.std)
    with compute.autocast():
        logits: torch.Tensor = model(images)
    return logits.float().cpu()


def for_cpu(model: nn.Module, size: int) -> nn.Module:
    """A copy with each batch norm folded into the convolution before it, and with weights packed as oneDNN wants them.

    What there is to fold and to pack is found by running the model on seeded noise, `size` the side of its input. Where
    the copy then gives other logits, the model itself is returned, and that is said.
    """
    if not can_pack() and not any(map(_can_fold, model.modules())):
        return model
    noise = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    noise = noise.contiguous(memory_format=torch.channels_last)
    expected, pairs, called = _traced(model, noise)
    if not all(bool(each.isfinite().all()) for each in expected):  # NaN weights are refused elsewhere
        return model
    changed = copy.deepcopy(model, {id(each): each for each in chain(model.parameters(), model.buffers())})  # shared
    for convolution, norm in pairs:
        _fold(changed, convolution, norm)
    pack(changed, called)
    try:
        with torch.inference_mode():
            off = list(map(_off, _tensors(changed(noise)), expected))
        if all(each <= TOLERANCE for each in off):
            return changed
        why = f"its outputs would be {max(off):.1g} off"
    except Exception as error:  # a model's own code may ask its layers for anything
        why = f"{type(error).__name__}: {error}"
    print(f"the model is run as it was trained, scoring is slower: {why}", file=sys.stderr, flush=True)
    return model


@torch.inference_mode()
def _traced(
    model: nn.Module, images: torch.Tensor
) -> tuple[tuple[torch.Tensor, ...], list[tuple[str, str]], list[str]]:
    """What the model gives; pairs of a convolution and the batch norm of what it gave; convolutions and linear layers.

    All by name; those of a pair run once, the others at least once.
    """
    made: list[tuple[str, torch.Tensor]] = []  # kept, so that no other tensor takes one's place
    taken: list[tuple[str, torch.Tensor]] = []
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            hooks.append(module.register_forward_hook(_notes_output(made, name)))
        elif _can_fold(module):
            hooks.append(module.register_forward_pre_hook(_notes_input(taken, name)))
    try:
        given = _tensors(model(images))
    finally:
        for hook in hooks:
            hook.remove()
    runs = Counter(name for name, _ in made + taken)
    by_id = {id(output): name for name, output in made}
    pairs = [(by_id[id(given)], norm) for norm, given in taken if id(given) in by_id]
    convolutions = {name for name, _ in made if isinstance(model.get_submodule(name), nn.Conv2d)}
    once = [pair for pair in pairs if pair[0] in convolutions and all(runs[name] == 1 for name in pair)]
    return given, once, list(dict.fromkeys(name for name, _ in made))


def _can_fold(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d) and module.running_mean is not None


def _tensors(given: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (given,) if isinstance(given, torch.Tensor) else given


def _off(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, relative to the largest value; NaN where there is one."""
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=SMALLEST))


def _notes_output(made: list[tuple[str, torch.Tensor]], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        made.append((name, output))

    return hook


def _notes_input(taken: list[tuple[str, torch.Tensor]], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        taken.append((name, inputs[0]))

    return hook


def _fold(model: nn.Module, convolution: str, norm: str) -> None:
    """In place; the batch norm leaves its activation, if it has one."""
    conv, bn = model.get_submodule(convolution), model.get_submodule(norm)
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(bn, nn.BatchNorm2d)
    assert bn.running_mean is not None
    assert bn.running_var is not None
    given = (conv.weight, conv.bias, bn.running_mean, bn.running_var)
    weight, bias, mean, variance = (None if value is None else value.double() for value in given)
    scale, shift = (None if value is None else value.double() for value in (bn.weight, bn.bias))
    assert weight is not None
    assert mean is not None
    assert variance is not None
    weight, bias = fuse_conv_bn_weights(weight, bias, mean, variance, bn.eps, scale, shift)
    conv.weight = nn.Parameter(weight.to(conv.weight), requires_grad=False)
    conv.bias = nn.Parameter(bias.to(conv.weight), requires_grad=False)
    parent, _, child = norm.rpartition(".")
    left = nn.Sequential(bn.drop, bn.act) if isinstance(bn, BatchNormAct2d) else nn.Identity()
    setattr(model.get_submodule(parent), child, left.eval())


def _threads(count: int) -> ThreadPoolExecutor:
    """Threads in each of which torch computes on one core."""
    pool, all_there = ThreadPoolExecutor(count, "score"), Barrier(count)

    def begin() -> None:
        torch.get_num_threads()  # asked first, because a thread's first question sets the common number
        torch.set_num_threads(1)  # here, and for threads that are yet to start
        all_there.wait()

    for started in [pool.submit(begin) for _ in range(count)]:
        started.result()
    torch.set_num_threads(count)  # for those
    return pool
