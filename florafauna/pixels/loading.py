"""Batches of stored photos: how a photo is seen (a view), and the processes that draw views of many photos."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from florafauna.pixels.centre import centre
from florafauna.pixels.resize import resize
from florafauna.pixels.store import PixelStore

Rows = Sequence[int] | np.ndarray  # of a store


class View(Protocol):
    """What a model sees of a stored photo. Equal arguments give equal views, in whatever process."""

    @property
    def size(self) -> int:
        """The side of a view in pixels."""

    def __call__(self, photo: np.ndarray, epoch: int, name: str) -> torch.Tensor:
        """uint8 (3, size, size), in channels_last, of a uint8 (height, width, 3) photo."""


@dataclass(frozen=True)
class EvalView:
    """The centre of the photo, as timm evaluates: see `centre`. It is the same in every epoch."""

    size: int
    crop_pct: float
    interpolation: str

    def __call__(self, photo: np.ndarray, epoch: int = 0, name: str = "") -> torch.Tensor:
        """uint8 (3, size, size), in channels_last, of a uint8 (height, width, 3) photo."""
        pixels = centre(photo, self.size, self.crop_pct, self.interpolation, resize)
        return torch.from_numpy(pixels).permute(2, 0, 1)


@dataclass(frozen=True)
class AlteredView:
    """A view of photos that are changed first: `alter` is given stored pixels and the photo's name."""

    view: View
    alter: Callable[[np.ndarray, str], np.ndarray]

    @property
    def size(self) -> int:
        """See `View`."""
        return self.view.size

    def __call__(self, photo: np.ndarray, epoch: int = 0, name: str = "") -> torch.Tensor:
        """See `View`."""
        return self.view(self.alter(photo, name), epoch, name)


@dataclass(frozen=True)
class PixelBatch:
    """uint8 images (photos, 3, size, size) in channels_last, class indices (photos,), and the photos' names."""

    images: torch.Tensor
    targets: torch.Tensor
    names: tuple[str, ...]

    def pin_memory(self) -> "PixelBatch":
        """Called by DataLoader, so that copies to the GPU need not wait."""
        return PixelBatch(self.images.pin_memory(), self.targets.pin_memory(), self.names)


@dataclass(frozen=True)
class Request:
    """A batch to be drawn. It carries the epoch, so that worker processes need not be told."""

    epoch: int
    rows: np.ndarray


def collect(store: PixelStore, view: View, rows: np.ndarray, epoch: int) -> PixelBatch:
    """The views of some photos as one batch."""
    names = tuple(store.names[row] for row in rows)
    images = torch.empty(len(names), view.size, view.size, 3, dtype=torch.uint8)
    for image, row, name in zip(images, rows, names, strict=True):
        image.copy_(view(store.photo(row), epoch, name).permute(1, 2, 0))
    return PixelBatch(images.permute(0, 3, 1, 2), torch.from_numpy(store.targets[rows]), names)


class _Batches(Dataset[PixelBatch]):
    def __init__(self, store: PixelStore, view: View) -> None:
        self.store, self.view = store, view

    def __getitem__(self, request: Request) -> PixelBatch:
        return collect(self.store, self.view, request.rows, request.epoch)


class _Requests(Sampler[Request]):
    """What the loader draws next; read only as far ahead as its processes work."""

    def __init__(self) -> None:
        self.coming: Iterator[Request] = iter(())

    def __iter__(self) -> Iterator[Request]:
        return self.coming


class Loader:
    """Draws batches of views of a store, in `workers` processes that live as long as the loader (0: in this one).

    Batches do not depend on the number of workers, nor on what was drawn before.
    """

    def __init__(self, store: PixelStore, view: View, size: int, workers: int = 0, pin: bool = False) -> None:
        """`size` photos a batch; `pin` puts them into page-locked memory for asynchronous copies to a GPU."""
        self.size = size
        self._requests = _Requests()
        self._loader = DataLoader(
            _Batches(store, view),
            sampler=self._requests,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin,
            generator=torch.Generator(),  # its own, because DataLoader draws a seed in every epoch
        )

    def batches(self, order: Rows, epoch: int = 0) -> Iterator[PixelBatch]:
        """The photos of `order` (rows of the store) as `epoch` shows them; the last batch may be smaller.

        With worker processes a new call ends the iteration of the call before.
        """
        return self.draw(iter(self.requests(order, epoch)))

    def requests(self, order: Rows, epoch: int) -> list[Request]:
        """What `batches` draws, in its order."""
        rows = np.asarray(order, dtype=np.int64)
        return [Request(epoch, rows[start : start + self.size]) for start in range(0, len(rows), self.size)]

    def draw(self, requests: Iterator[Request]) -> Iterator[PixelBatch]:
        """One batch a request. The processes draw ahead, two requests each."""
        self._requests.coming = requests
        return iter(self._loader)


def batches(
    store: PixelStore, view: View, order: Rows, size: int, epoch: int = 0, workers: int = 0, pin: bool = False
) -> Iterator[PixelBatch]:
    """The batches of a `Loader` that is used only once."""
    return Loader(store, view, size, workers, pin).batches(order, epoch)


def normalise(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """float32 (x / 255 - mean) / std of a uint8 batch (photos, 3, height, width), on its device, in channels_last."""
    scale, shift = _scale_and_shift(tuple(mean), tuple(std), images.device)
    return images.contiguous(memory_format=torch.channels_last).float().mul_(scale).add_(shift)


@lru_cache
@torch.inference_mode(False)  # or the first caller could leave tensors that autograd refuses
def _scale_and_shift(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Remembered, because a copy to the GPU in every step would wait for the GPU."""
    deviation = torch.tensor(std, device=device).view(1, 3, 1, 1)
    return 1 / (255 * deviation), -torch.tensor(mean, device=device).view(1, 3, 1, 1) / deviation
