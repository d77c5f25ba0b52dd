"""What the training loop is fed: pixels through the whole model, or remembered features through its open part."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import PIL
import timm
import torch
from timm.data import Mixup
from torch import nn

from florafauna.base.code import code_hash
from florafauna.base.files import fingerprint
from florafauna.base.progress import track
from florafauna.base.randomness import global_random_state, rng_key
from florafauna.bundle.bundle import PREDICTION_BATCH
from florafauna.bundle.inference import Ready
from florafauna.model.compute import Compute
from florafauna.model.network import DataConfig
from florafauna.model.ranks import mirrored_part
from florafauna.model.settings import ModelParams
from florafauna.pixels.loading import EvalView, Loader, PixelBatch, normalise
from florafauna.pixels.store import PixelStore
from florafauna.training._compiling import forward_of
from florafauna.training._epochs import Epochs, epoch_order
from florafauna.training._parallel import Forward, distributed
from florafauna.training.augment._view import TrainView, random_erasing
from florafauna.training.frozen._prefix import NoPrefixError, SplitModel, split
from florafauna.training.frozen.features import Features, NotRememberedError, remember, reserve, values_of
from florafauna.training.trainable import set_training_modes

# What remembered features are made by: folders, so that a module that is moved or added is not forgotten.
MAKERS = (
    "florafauna.base.randomness",
    "florafauna.bundle",
    "florafauna.pixels",
    "florafauna.model",
    "florafauna.training.augment",
    "florafauna.training.frozen",
    "florafauna.training.trainable",
    __name__,
)

Images = Iterator[tuple[torch.Tensor, PixelBatch]]


@dataclass(frozen=True)
class Batch:
    """Inputs and targets on the device; targets are class indices, or class probabilities where photos are mixed."""

    inputs: tuple[torch.Tensor, ...]
    targets: torch.Tensor


class Feed(Protocol):
    """Batches of both kinds, and the forward pass that fits them."""

    @property
    def photos(self) -> "Photos":
        """What is fed."""

    @property
    def batches_per_epoch(self) -> int:
        """Training batches in every epoch."""

    @property
    def prefix_seconds(self) -> float:
        """What running the frozen prefix took, now or in the run that it is remembered from."""

    def training(self, epoch: int, first: int) -> Iterator[Batch]:
        """The batches of an epoch (from 0) from number `first` on: the same whatever was fed before."""

    @property
    def forward(self) -> Forward:
        """What training runs: the whole model or its open part, maybe compiled, maybe one of several processes'."""

    def validation(self, rows: range | None = None) -> Iterator[Batch]:
        """The validation photos in the order of their store, or some rows of it."""

    def fixed(self, view: int, rows: range | None = None) -> Iterator[Batch]:
        """The training photos, or some rows, in one of the `views`; without them, as evaluated."""

    def logits(self, batch: Batch, training: bool) -> torch.Tensor:
        """The forward pass: (photos, classes)."""


@dataclass(frozen=True)
class Photos:
    """The photos of one training, how they are seen, and where they are computed on."""

    train: PixelStore
    val: PixelStore
    params: ModelParams
    data: DataConfig
    compute: Compute

    @property
    def whole(self) -> "Photos":
        """The stores that these photos were selected from: what is remembered of them serves every selection."""
        return replace(self, train=self.train.whole, val=self.val.whole)

    def of(self, view: int | None) -> PixelStore:
        """The photos that a fixed view shows: those of training, or without one those of validation."""
        return self.val if view is None else self.train

    @cached_property
    def train_view(self) -> TrainView:
        """How a training photo is seen."""
        data, params = self.data, self.params
        return TrainView(data.train_size, data.interpolation, params.augment, data.mean, params.seed)

    @property
    def eval_view(self) -> EvalView:
        """How a validation photo is seen."""
        return EvalView(self.data.test_size, self.data.crop_pct, self.data.interpolation)

    def view_number(self, epoch: int) -> int:
        """Which draw of the training view an epoch shows: its own, or one of `views` in turn."""
        return epoch % self.params.views if self.params.views else epoch

    @property
    def batch_size(self) -> int:
        """Photos in a training batch; never more than there are, and an even number where pairs of them are mixed."""
        augment, most = self.params.augment, min(self.params.batch_size, len(self.train))
        return most - most % 2 if augment.mixup or augment.cutmix else most

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches only: a last batch of one photo breaks batch norm, a small one has a loud gradient."""
        return len(self.train) // self.batch_size

    @cached_property
    def places(self) -> np.ndarray:
        """The places in a training batch that this process takes: all, unless there are several."""
        return mirrored_part(self.batch_size)

    def order(self, epoch: int, first: int) -> np.ndarray:
        """The rows that this process takes of an epoch's batches, from number `first` on."""
        order = epoch_order(len(self.train), self.params.seed, epoch)[: self.batches_per_epoch * self.batch_size]
        return order.reshape(-1, self.batch_size)[first:, self.places].ravel()

    def training_images(self, epoch: int, first: int) -> Images:
        """Normalised images of an epoch's batches from number `first` on, on the device."""
        return self._as_trained(self._epochs.batches(epoch, first), self.view_number(epoch))

    def fixed_images(self, view: int, rows: range | None = None) -> Images:
        """Normalised images of all training photos or some, in one of the `views`; without them, as evaluated."""
        rows = rows if rows is not None else range(len(self.train))
        if self.params.views:
            return self._as_trained(self._training_loader(PREDICTION_BATCH).batches(rows, view), view)
        return self._as_evaluated(self._evaluation_loader(self.train).batches(rows))

    def validation_images(self, rows: range | None = None) -> Images:
        """Normalised images of all validation photos, or some, on the device."""
        return self._as_evaluated(self._validation.batches(rows if rows is not None else range(len(self.val))))

    def _as_trained(self, batches: Iterator[PixelBatch], number: int) -> Images:
        probability, seed = self.params.augment.random_erasing, self.params.seed
        for batch in batches:
            images = self._normalised(self.compute.send(batch.images))
            if probability:
                images = random_erasing(images, probability, seed, number, batch.names)
            yield images, batch

    def _as_evaluated(self, batches: Iterator[PixelBatch]) -> Images:
        for batch in batches:
            yield self._normalised(self.compute.send(batch.images)), batch

    def _training_loader(self, size: int) -> Loader:
        return Loader(self.train, self.train_view, size, self._workers, self.compute.pins)

    def _evaluation_loader(self, store: PixelStore) -> Loader:
        return Loader(store, self.eval_view, PREDICTION_BATCH, self._workers, self.compute.pins)

    @cached_property
    def _epochs(self) -> Epochs:
        """Whose processes live on from epoch to epoch, as those of `_validation` do."""
        loader = self._training_loader(len(self.places))
        return Epochs(loader, lambda epoch: (self.order(epoch, 0), self.view_number(epoch)), self.params.epochs - 1)

    @cached_property
    def _validation(self) -> Loader:
        return self._evaluation_loader(self.val)

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        return normalise(images, self.data.mean, self.data.std)

    @property
    def _workers(self) -> int:
        return self.params.workers if self.params.workers is not None else self.compute.default_workers


@dataclass(frozen=True)
class PixelFeed:
    """Photos through the whole model."""

    photos: Photos
    model: nn.Module
    forward: Forward

    @property
    def batches_per_epoch(self) -> int:
        """See `Feed`."""
        return self.photos.batches_per_epoch

    @property
    def prefix_seconds(self) -> float:
        """See `Feed`."""
        return 0.0

    def training(self, epoch: int, first: int) -> Iterator[Batch]:
        """See `Feed`."""
        photos, send = self.photos, self.photos.compute.send
        mixup = _mixup(photos)
        for number, (images, batch) in enumerate(photos.training_images(epoch, first), start=first):
            targets = send(batch.targets)
            if mixup is not None:
                with global_random_state(rng_key(photos.params.seed, epoch, f"mix {number}")):
                    images, targets = mixup(images, targets)
            yield Batch((images,), targets)

    def validation(self, rows: range | None = None) -> Iterator[Batch]:
        """See `Feed`."""
        for images, batch in self.photos.validation_images(rows):
            yield Batch((images,), batch.targets)

    def fixed(self, view: int, rows: range | None = None) -> Iterator[Batch]:
        """See `Feed`."""
        for images, batch in self.photos.fixed_images(view, rows):
            yield Batch((images,), batch.targets)

    def logits(self, batch: Batch, training: bool) -> torch.Tensor:
        """See `Feed`."""
        return (self.forward if training else self.model)(*batch.inputs)


@dataclass(frozen=True)
class FeatureFeed:
    """Remembered features of the frozen prefix through the model's tail."""

    photos: Photos
    halves: SplitModel
    forward: Forward
    train: tuple[Features, ...]  # one a view
    val: Features

    @property
    def batches_per_epoch(self) -> int:
        """See `Feed`."""
        return self.photos.batches_per_epoch

    @property
    def prefix_seconds(self) -> float:
        """See `Feed`."""
        return sum(features.seconds for features in (*self.train, self.val))

    def training(self, epoch: int, first: int) -> Iterator[Batch]:
        """See `Feed`."""
        features = self.train[self.photos.view_number(epoch)]
        order, size = self.photos.order(epoch, first), len(self.photos.places)
        for start in range(0, len(order), size):
            yield self._batch(features, self.photos.train, order[start : start + size])

    def validation(self, rows: range | None = None) -> Iterator[Batch]:
        """See `Feed`."""
        return self._in_order(self.val, self.photos.val, rows)

    def fixed(self, view: int, rows: range | None = None) -> Iterator[Batch]:
        """See `Feed`."""
        return self._in_order(self.train[view], self.photos.train, rows)

    def logits(self, batch: Batch, training: bool) -> torch.Tensor:
        """See `Feed`."""
        return (self.forward if training else self.halves.evaluation_tail)(*batch.inputs)

    def _in_order(self, features: Features, store: PixelStore, rows: range | None) -> Iterator[Batch]:
        rows = rows if rows is not None else range(len(store))
        for start in range(0, len(rows), PREDICTION_BATCH):
            yield self._batch(features, store, np.array(rows[start : start + PREDICTION_BATCH]))

    def _batch(self, features: Features, store: PixelStore, rows: np.ndarray) -> Batch:
        compute = self.photos.compute
        inputs = tuple(compute.send(value) for value in features.rows(rows))
        return Batch(inputs, compute.send(torch.from_numpy(store.targets[rows])))


def choose_feed(
    photos: Photos, model: nn.Module, weights_sha256: str, cache: Path, kept: Path | None = None
) -> tuple[Feed, str]:
    """The feed for this model, and a remark for the log that says which and why.

    Features are remembered where `views` are cycled and something is frozen ahead of what is trained; `cache` holds
    them by weights, cut, views and photos, so that a changed rate or epoch count finds them again. `kept` is the file
    in which what `compile: auto` decides outlives a killed training.
    """
    params = photos.params
    try:
        if not params.views:
            raise NoPrefixError("views: 0 shows a new view in every epoch")
        if params.norms == "all" and params.trainable != "all":
            raise NoPrefixError("norms: all trains normalisation layers from the first on")
        if photos.data.train_size != photos.data.test_size:
            raise NoPrefixError("train_size and test_size differ")
        halves = split(model, photos.data.train_size, set_training_modes)
        train, val = _features(photos, halves, weights_sha256, cache)
    except (NoPrefixError, NotRememberedError) as reason:
        kind = "no frozen prefix" if isinstance(reason, NoPrefixError) else "the frozen prefix is run in every epoch"
        steps = params.epochs * photos.batches_per_epoch
        forward = distributed(model, forward_of(model, params.compile, steps, kept))
        return PixelFeed(photos, model, forward), f"{kind}: {reason}"
    if params.compile:
        asked = "true" if params.compile is True else params.compile
        print(f"compile: {asked} has no effect behind a frozen prefix, because little is left to run", flush=True)
    size = sum(value.row_bytes for value in val.values)
    shapes = ", ".join("×".join(map(str, value.shape)) for value in val.values)
    remark = f"frozen prefix run once for each of {params.views} views, {size / 1e3:.1f} kB a photo ({shapes})"
    return FeatureFeed(photos, halves, distributed(halves.training_tail, halves.training_tail), train, val), remark


def _features(
    photos: Photos, halves: SplitModel, weights_sha256: str, cache: Path
) -> tuple[tuple[Features, ...], Features]:
    """The features of every training view and of the validation photos, computed where they are not remembered."""
    train_rows, val_rows = photos.train.rows_of_whole, photos.val.rows_of_whole
    photos = photos.whole  # with processes of its own, which end with it

    prefix = Ready(halves.prefix, photos.data, photos.compute)

    def run(views: Images) -> Iterator[tuple[torch.Tensor, ...]]:
        for images, _ in views:
            yield prefix.outputs(images)

    sample = next(run(photos.validation_images(range(min(PREDICTION_BATCH, len(photos.val))))))
    count = photos.params.views
    keys = (*range(count), None)
    folders = {view: cache / cache_key(photos, weights_sha256, halves.crossing, view) for view in keys}
    row_bytes = sum(value.row_bytes for value in values_of(sample))
    reserve({folder: row_bytes * len(photos.of(view)) for view, folder in folders.items()})

    def features(view: int | None, views: Callable[[range], Images], title: str) -> Features:
        def computed(rows: range) -> Iterator[tuple[torch.Tensor, ...]]:
            return track(run(views(rows)), title, -(-len(rows) // PREDICTION_BATCH))

        return remember(folders[view], len(photos.of(view)), sample, computed)

    train = tuple(
        features(number, partial(photos.fixed_images, number), f"frozen prefix, view {number + 1} of {count}")
        for number in range(count)
    )
    val = features(None, photos.validation_images, "frozen prefix, validation")
    return tuple(each.of(train_rows) for each in train), val.of(val_rows)


def cache_key(photos: Photos, weights_sha256: str, values: Sequence[str], view: int | None) -> str:
    """Names the remembered `values` of the initial model, of the validation photos or of one fixed training view.

    Two keys are equal only if weights, values, photos, pixels, views, precision and the code behind them are. (The file
    of the weights names its architecture and creation arguments.)
    """
    store, params, shown = photos.of(view), photos.params, list[Any](["evaluated"])
    if view is not None and params.views:
        shown = ["trained", params.augment.model_dump(mode="json"), params.seed, view]
    compute = photos.compute
    made_by = [torch.__version__, timm.__version__, PIL.__version__, code_hash(*MAKERS)]
    seen = [store.contents, store.store_size, asdict(photos.data)]
    key = fingerprint([weights_sha256, list(values), compute.precision, compute.device.type, made_by, seen, shown])
    return key[:24]


def _mixup(photos: Photos) -> Mixup | None:
    augment = photos.params.augment
    if not (augment.mixup or augment.cutmix):
        return None
    classes = len(photos.train.labels)
    return Mixup(augment.mixup, augment.cutmix, label_smoothing=0.0, num_classes=classes)  # the loss is smoothed
