"""What a model sees of a stored photo: training views drawn by f(seed, epoch, photo); evaluation views draw nothing."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from florafauna.centre import centre
from florafauna.params import Augment
from florafauna.policies import Policy, Step, apply, draw_jitter
from florafauna.randomness import rng_key
from florafauna.resize import resize
from florafauna.store import PixelStore

CROP_ATTEMPTS = 10


@dataclass(frozen=True)
class Draw:
    """What is random about one view: the crop in pixels, the flips, then operations on the resized crop."""

    top: int
    left: int
    height: int
    width: int
    flips_horizontally: bool
    flips_vertically: bool
    steps: tuple[Step, ...]

    def crop(self, photo: np.ndarray) -> np.ndarray:
        """uint8 (height, width, 3), a copy."""
        return np.array(photo[self.top : self.top + self.height, self.left : self.left + self.width])


@dataclass(frozen=True)
class TrainView:
    """A random crop, flipped and augmented; equal (seed, epoch, photo) give equal views.

    The crop is resized first; colour jitter and timm's policy then work on the small result.
    """

    size: int
    interpolation: str
    augment: Augment
    mean: tuple[float, float, float]  # fills what the policy moves into the picture
    seed: int

    def __call__(self, photo: np.ndarray, epoch: int, name: str) -> torch.Tensor:
        """uint8 (3, size, size), in channels_last, of a uint8 (height, width, 3) photo."""
        height, width, _ = photo.shape
        draw = self.draw(height, width, epoch, name)
        image = torch.from_numpy(resize(draw.crop(photo), self.size, self.size, self.interpolation))
        flipped = [axis for axis, flips in ((0, draw.flips_vertically), (1, draw.flips_horizontally)) if flips]
        if flipped:
            image = image.flip(flipped)
        if draw.steps:
            image = torch.from_numpy(apply(draw.steps, image.numpy()))
        return image.permute(2, 0, 1)

    def draw(self, height: int, width: int, epoch: int, name: str) -> "Draw":
        """All that is random about the view of a photo of this size."""
        rng = random.Random(rng_key(self.seed, epoch, name))
        box = self._crop(rng, height, width)
        horizontally = rng.random() < self.augment.horizontal_flip
        vertically = rng.random() < self.augment.vertical_flip
        steps = draw_jitter(rng, self.augment.color_jitter)
        if self.policy is not None:
            steps += self.policy.draw(rng.getrandbits(63))
        return Draw(*box, horizontally, vertically, steps)

    def _crop(self, rng: random.Random, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height, width of Inception's random resized crop, as torchvision draws it."""
        low, high = self.augment.scale
        ratios = math.log(self.augment.ratio[0]), math.log(self.augment.ratio[1])
        for _ in range(CROP_ATTEMPTS):
            area = height * width * rng.uniform(low, high)
            ratio = math.exp(rng.uniform(*ratios))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return rng.randint(0, height - h), rng.randint(0, width - w), h, w
        side = min(height, width)
        return (height - side) // 2, (width - side) // 2, side, side

    @cached_property
    def policy(self) -> Policy | None:
        """timm's policy, if there is one."""
        policy = self.augment.rand_augment
        return Policy(policy, self.size, self.fill) if policy is not None else None

    @property
    def fill(self) -> tuple[int, ...]:
        """What is moved into the picture, RGB."""
        return tuple(min(255, round(255 * value)) for value in self.mean)


@dataclass(frozen=True)
class EvalView:
    """The centre of the photo as timm evaluates: see `centre`."""

    size: int
    crop_pct: float
    interpolation: str

    def __call__(self, photo: np.ndarray, epoch: int = 0, name: str = "") -> torch.Tensor:
        """uint8 (3, size, size), in channels_last, of a uint8 (height, width, 3) photo, at all times the same."""
        pixels = centre(photo, self.size, self.crop_pct, self.interpolation, resize)
        return torch.from_numpy(pixels).permute(2, 0, 1)


View = TrainView | EvalView
Rows = Sequence[int] | np.ndarray  # of a store
Collector = Callable[[PixelStore, Any, np.ndarray, int], Any]  # store, view, rows, epoch -> a batch


@dataclass(frozen=True)
class PixelBatch:
    """uint8 images (photos, 3, size, size) in channels_last, class indices (photos,), and the photos' names."""

    images: torch.Tensor
    targets: torch.Tensor
    names: tuple[str, ...]

    def pin_memory(self) -> "PixelBatch":
        """What DataLoader calls so that copies to the GPU need not wait."""
        return PixelBatch(self.images.pin_memory(), self.targets.pin_memory(), self.names)


@dataclass(frozen=True)
class Request:
    """A batch to be drawn. It carries the epoch, so that worker processes need no news of it."""

    epoch: int
    rows: np.ndarray


def collect(store: PixelStore, view: View, rows: np.ndarray, epoch: int) -> PixelBatch:
    """The views of some photos as one batch."""
    names = tuple(store.names[row] for row in rows)
    images = torch.empty(len(names), view.size, view.size, 3, dtype=torch.uint8)
    for image, row, name in zip(images, rows, names, strict=True):
        image.copy_(view(store.photo(row), epoch, name).permute(1, 2, 0))
    return PixelBatch(images.permute(0, 3, 1, 2), torch.from_numpy(store.targets[rows]), names)


class _Batches(Dataset[Any]):
    def __init__(self, store: PixelStore, view: View, collector: Collector) -> None:
        self.store, self.view, self.collector = store, view, collector

    def __getitem__(self, request: Request) -> Any:
        return self.collector(self.store, self.view, request.rows, request.epoch)


class _Requests(Sampler[Request]):
    """What the loader draws next; asked only as far ahead as its processes work."""

    def __init__(self) -> None:
        self.coming: Iterator[Request] = iter(())

    def __iter__(self) -> Iterator[Request]:
        return self.coming


class Loader:
    """Draws batches of views of a store, in `workers` processes that live as long as the loader (0: in this one).

    Batches do not depend on the number of workers, nor on what was drawn before.
    """

    def __init__(
        self,
        store: PixelStore,
        view: View,
        size: int,
        workers: int = 0,
        pin: bool = False,
        collector: Collector = collect,
    ) -> None:
        """`size` photos a batch; `pin` puts them into page-locked memory for asynchronous copies to a GPU.

        `collector` makes a batch (`collect`, or `crops.collect_crops` where the device does the rest).
        """
        self.size = size
        self._requests = _Requests()
        self._loader = DataLoader(
            _Batches(store, view, collector),
            sampler=self._requests,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin,
            generator=torch.Generator(),  # its own, for DataLoader draws a seed in every epoch
        )

    def batches(self, order: Rows, epoch: int = 0) -> Iterator[Any]:
        """The photos of `order` (rows of the store) as `epoch` shows them; the last batch may be smaller.

        With worker processes a new call ends the iteration of the call before.
        """
        return self.draw(iter(self.requests(order, epoch)))

    def requests(self, order: Rows, epoch: int) -> list[Request]:
        """What `batches` asks for."""
        rows = np.asarray(order, dtype=np.int64)
        return [Request(epoch, rows[start : start + self.size]) for start in range(0, len(rows), self.size)]

    def draw(self, requests: Iterator[Request]) -> Iterator[Any]:
        """A batch a request. The processes ask for more than is taken: two requests each."""
        self._requests.coming = requests
        return iter(self._loader)


class Epochs:
    """A loader's batches, epoch by epoch: its processes begin the next while the last batches of this one are used.

    Else a GPU would wait in every epoch for as long as one process needs for one batch: 0.14 to 0.2 s for 128 photos at
    224 px, where training on 70 of them takes 3.5 s.
    """

    def __init__(self, loader: Loader, plan: Callable[[int], tuple[Rows, int]], last: int) -> None:
        """`plan` gives the order of an epoch and the number of the views that it shows; there are none after `last`."""
        self._loader, self._plan, self._last = loader, plan, last
        self._drawn: Iterator[Any] = iter(())
        self._next: tuple[int, int] | None = None  # epoch and batch

    def batches(self, epoch: int, first: int) -> Iterator[Any]:
        """Those of an epoch from number `first` on. A new call ends the iteration of the call before."""
        if self._next != (epoch, first):
            self._drawn = self._loader.draw(self._requests(epoch, first))
        for number in range(first, len(self._loader.requests(*self._plan(epoch)))):
            self._next = None  # should drawing fail, it begins anew
            batch = next(self._drawn)
            self._next = (epoch, number + 1)
            yield batch
        self._next = (epoch + 1, 0)

    def _requests(self, epoch: int, first: int) -> Iterator[Request]:
        yield from self._loader.requests(*self._plan(epoch))[first:]
        for later in range(epoch + 1, self._last + 1):
            yield from self._loader.requests(*self._plan(later))


def batches(
    store: PixelStore, view: View, order: Rows, size: int, epoch: int = 0, workers: int = 0, pin: bool = False
) -> Iterator[PixelBatch]:
    """The batches of a `Loader` that is needed once."""
    return Loader(store, view, size, workers, pin).batches(order, epoch)


def epoch_order(photos: int, seed: int, epoch: int) -> np.ndarray:
    """The rows of a store in the order in which an epoch visits them."""
    return np.random.default_rng(rng_key(seed, epoch, "order")).permutation(photos)


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


def random_erasing(
    images: torch.Tensor, probability: float, seed: int, epoch: int, names: Sequence[str]
) -> torch.Tensor:
    """Random erasing of a normalised batch, in place: in each photo, by its own draw, a box becomes noise.

    Zhong et al. 2020 with timm's defaults: a box of 2 % to 1/3 of the area, aspect 0.3 to 1/0.3, filled with normal
    noise a pixel. (timm's own draws from global state, also torch's, on which dropout depends.)
    """
    for image, name in zip(images, names, strict=True):
        key = rng_key(seed, epoch, f"erase {name}")
        box = _erased_box(random.Random(key), probability, *image.shape[1:])
        if box is not None:
            top, left, height, width = box
            generator = torch.Generator(images.device).manual_seed(key)
            noise = torch.randn(3, height, width, generator=generator, device=images.device)
            image[:, top : top + height, left : left + width] = noise
    return images


def _erased_box(rng: random.Random, probability: float, height: int, width: int) -> tuple[int, int, int, int] | None:
    if rng.random() >= probability:
        return None
    for _ in range(CROP_ATTEMPTS):
        area = height * width * rng.uniform(0.02, 1 / 3)
        ratio = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if h < height and w < width:
            return rng.randint(0, height - h), rng.randint(0, width - w), h, w
    return None
