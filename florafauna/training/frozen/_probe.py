"""The linear probe of a model: the best head over the features that its classifier is given.

`optimizer: lbfgs` takes it for the head; `head_init: probe` starts fine-tuning from it (LP-FT, Kumar et al. 2022).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from florafauna.base.errors import UserError
from florafauna.base.progress import track
from florafauna.bundle.bundle import PREDICTION_BATCH
from florafauna.model.network import classifier_paths
from florafauna.model.ranks import by_first
from florafauna.training._feeds import Batch, FeatureFeed, Feed, PixelFeed, cache_key
from florafauna.training._loss import Loss
from florafauna.training.frozen import logistic
from florafauna.training.frozen.features import Features, NotRememberedError, hold, remember
from florafauna.training.frozen.logistic import L2, PLAIN, Optimum, Samples


class NotLinearError(UserError):
    """The model's logits are not those of one linear layer on one vector a photo."""

    def __init__(self) -> None:
        super().__init__(
            "this architecture's logits are not those of one linear layer, so that optimizer: lbfgs and head_init: "
            "probe cannot solve for it; use adamw and head_init: zero, or another architecture."
        )

    def __reduce__(self) -> tuple[type["NotLinearError"], tuple[()]]:
        """How it is sent to the other processes of a job: pickle would call it with its message."""
        return type(self), ()


def solve_head(
    feed: Feed,
    model: nn.Module,
    weights_sha256: str,
    cache: Path,
    loss: Loss = PLAIN,
    l2s: Sequence[float] = L2,
) -> Optimum:
    """The best head for the fixed views of the training photos, or without `views` for the photos as evaluated.

    Features are remembered in `cache`, as those of a frozen prefix are, or held in memory where that is not possible.
    Raises `NotLinearError` where the model has no one linear layer that gives its logits.
    """
    classifier, photos, device = linear_classifier(model), feed.photos, feed.photos.compute.float64_device
    train, val = classifier_features(feed, model, weights_sha256, cache)
    return by_first(
        lambda: logistic.solve(
            Samples([_matrix(features) for features in train], photos.train.targets, device),
            Samples([_matrix(val)], photos.val.targets, device),
            len(photos.train.labels),
            has_bias=classifier.bias is not None,
            loss=loss.to(device),
            l2s=l2s,
        )
    )


def put_head(model: nn.Module, optimum: Optimum) -> None:
    """Make the optimum the model's classifier."""
    classifier = linear_classifier(model)
    with torch.no_grad():
        classifier.weight.copy_(optimum.weight.view_as(classifier.weight))
        if classifier.bias is not None and optimum.bias is not None:
            classifier.bias.copy_(optimum.bias)


def linear_classifier(model: nn.Module) -> nn.Linear | nn.Conv2d:
    """The linear layer, or 1×1 convolution, that is the model's classifier; `NotLinearError` where it is another."""
    paths = classifier_paths(model)
    module = model.get_submodule(paths[0])
    pointwise = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
    if len(paths) > 1 or not (isinstance(module, nn.Linear) or pointwise):
        raise NotLinearError
    assert isinstance(module, nn.Linear | nn.Conv2d)
    return module


def classifier_features(
    feed: Feed, model: nn.Module, weights_sha256: str, cache: Path
) -> tuple[tuple[Features, ...], Features]:
    """What the classifier is given: of each fixed view of the training photos, and of the validation photos."""
    if isinstance(feed, FeatureFeed) and _are_inputs(feed, model):
        return feed.train, feed.val
    views = max(1, feed.photos.params.views)
    train_rows, val_rows = None, None
    if isinstance(feed, PixelFeed):
        train_rows, val_rows = feed.photos.train.rows_of_whole, feed.photos.val.rows_of_whole
        feed = replace(feed, photos=feed.photos.whole)
    sample = (torch.empty(0, linear_classifier(model).weight.shape[1]),)
    held = False

    def features(view: int | None, batches: Callable[[range], Iterator[Batch]], title: str) -> Features:
        nonlocal held
        photos = len(feed.photos.of(view))
        key = cache_key(feed.photos, weights_sha256, ("head", *classifier_paths(model)), view)

        def inputs(rows: range) -> Iterator[tuple[torch.Tensor]]:
            return track(classifier_inputs(feed, model, batches(rows)), title, -(-len(rows) // PREDICTION_BATCH))

        try:
            return remember(cache / key, photos, sample, inputs)
        except NotRememberedError as reason:
            if not held:
                print(f"features for the head stay in memory, for this run alone: {reason}", flush=True)
            held = True
            return hold(photos, sample, inputs(range(photos)))

    train = tuple(
        features(view, partial(feed.fixed, view), f"features for the head, view {view + 1} of {views}")
        for view in range(views)
    )
    val = features(None, feed.validation, "features for the head, validation")
    return tuple(each.of(train_rows) for each in train), val.of(val_rows)


@torch.inference_mode()
def classifier_inputs(feed: Feed, model: nn.Module, batches: Iterator[Batch]) -> Iterator[tuple[torch.Tensor]]:
    """What the classifier is given of each batch, float32 (photos, features), with the model in eval mode.

    Raises `NotLinearError` where the classifier's output is not the model's, or its input not one vector a photo.
    """
    classifier = linear_classifier(model)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    hook = classifier.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    model.eval()
    try:
        for batch in batches:
            with feed.photos.compute.autocast():
                logits = feed.logits(batch, training=False)
            ((given, out),) = seen
            seen.clear()
            if given.numel() != len(logits) * classifier.weight.shape[1] or not torch.equal(out.flatten(1), logits):
                raise NotLinearError
            yield (given.flatten(1).float(),)
    finally:
        hook.remove()


def _are_inputs(feed: FeatureFeed, model: nn.Module) -> bool:
    """Whether what the feed remembers is already what the classifier is given; tried on one photo."""
    if len(feed.val.values) != 1 or feed.val.values[0].shape != (linear_classifier(model).weight.shape[1],):
        return False
    (x,) = feed.val.rows(np.arange(1))
    batch = Batch((x.to(feed.photos.compute.device),), torch.zeros(1))
    ((given,),) = classifier_inputs(feed, model, iter([batch]))
    return torch.equal(given.cpu(), x.float())


def _matrix(features: Features) -> torch.Tensor:
    """(photos, features), mapped."""
    (matrix,) = features.rows(slice(None))
    return matrix
