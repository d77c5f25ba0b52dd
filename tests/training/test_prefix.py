"""Training through the remembered features of the frozen prefix equals training through the whole model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny import CPU, TRAIN, Place, params
from torch import nn

from florafauna.model.compute import Compute
from florafauna.model.settings import ModelParams
from florafauna.training._feeds import FeatureFeed, Feed, PixelFeed, choose_feed
from florafauna.training._resume import State
from florafauna.training.frozen._prefix import NoPrefixError, split
from florafauna.training.loop import fit, train_epoch
from florafauna.training.trainable import set_training_modes

POLICIES = [
    ("test_efficientnet", "head"),
    ("test_efficientnet", ("blocks.4", "conv_head", "bn2", "classifier")),
    ("test_convnext", "head"),
    ("test_convnext", ("stages.3", "head")),
    ("test_vit", "head"),
    ("test_vit", ("blocks.4", "blocks.5", "norm", "head")),
]


def built(place: Place, model_params: ModelParams, cache: Path) -> tuple[nn.Module, Feed, str]:
    """A fresh model and the feed that training would choose for it."""
    model, _ = place.built(model_params)
    feed, remark = choose_feed(place.photos(model, model_params), model, "weights", cache)
    return model, feed, remark


def tensors(batches: Any) -> list[torch.Tensor]:
    return [value for batch in batches for value in (*batch.inputs, batch.targets)]


@pytest.mark.parametrize(("architecture", "trainable"), POLICIES)
def test_training_through_the_prefix_equals_training_without_it(
    place: Place, tmp_path: Path, architecture: str, trainable: str | tuple[str, ...]
) -> None:
    # Adam would blow up the rounding of gradients that are 0 in theory, as those of a bias in front of a batch norm.
    optimizer = "sgd" if architecture == "test_efficientnet" else "adamw"
    model_params = params(
        architecture,
        trainable=trainable,
        optimizer=optimizer,
        views=2,
        epochs=3,
        drop_path=0.2 if trainable != "head" else 0.0,
        rate=0.01 if optimizer == "sgd" else 1e-3,
        augment={"rand_augment": "rand-m9-mstd0.5-inc1", "random_erasing": 0.5, "color_jitter": 0.2},
    )
    short, feed, remark = built(place, model_params, tmp_path / "features")
    assert isinstance(feed, FeatureFeed), remark
    short_state = fit(place.parts(tmp_path / "short", short, model_params, feed))
    whole, _ = place.built(model_params)
    whole_feed = PixelFeed(place.photos(whole, model_params), whole, whole)
    whole_state = fit(place.parts(tmp_path / "whole", whole, model_params, whole_feed))
    before, _ = place.built(model_params)
    learnt = 0
    for name, expected in whole.state_dict().items():
        assert torch.allclose(short.state_dict()[name], expected, rtol=1e-4, atol=1e-4), name
        learnt += not torch.equal(expected, before.state_dict()[name])
    assert learnt > 1
    for a, b in zip(short_state.history, whole_state.history, strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, abs=1e-4)
        assert a.val_loss == pytest.approx(b.val_loss, abs=1e-4)


def test_views_are_cycled_and_differ_from_each_other(place: Place, tmp_path: Path) -> None:
    """Epoch 0 and 2 show the first view, epoch 1 the second, in every epoch's own order."""
    model_params = params(trainable="head", views=2, epochs=3, batch_size=TRAIN)
    _, feed, _ = built(place, model_params, tmp_path)
    assert isinstance(feed, FeatureFeed)
    shown = []
    for epoch in range(3):
        (batch,) = feed.training(epoch, 0)
        shown.append(batch.inputs[0][np.argsort(feed.photos.order(epoch, 0))])
    assert torch.equal(shown[0], shown[2])
    assert not torch.equal(shown[0], shown[1])
    assert not np.array_equal(feed.photos.order(0, 0), feed.photos.order(2, 0))


@pytest.mark.parametrize("views", [0, 2])
def test_an_epoch_can_be_entered_at_any_batch(place: Place, tmp_path: Path, views: int) -> None:
    model_params = params(trainable="head", views=views)
    _, feed, _ = built(place, model_params, tmp_path)
    whole, rest = list(feed.training(1, 0)), list(feed.training(1, 2))
    assert feed.batches_per_epoch == len(whole) == len(rest) + 2 == 5
    assert all(map(torch.equal, tensors(whole[2:]), tensors(rest)))


def test_mixed_photos_do_not_depend_on_where_an_epoch_was_entered(place: Place, tmp_path: Path) -> None:
    _, feed, _ = built(place, params(augment={"mixup": 0.4, "cutmix": 1.0}), tmp_path)
    whole, rest = list(feed.training(1, 0)), list(feed.training(1, 3))
    shares = {float(batch.targets.max(1).values.min()) for batch in whole}
    assert len(shares) > 1, "every batch is mixed in its own way"
    assert all(map(torch.equal, tensors(whole[3:]), tensors(rest)))


def test_remembered_features_are_found_again_and_those_of_other_views_are_not_taken_for_them(
    place: Place, tmp_path: Path
) -> None:
    base: dict[str, Any] = {"trainable": "head", "views": 1}
    built(place, params(**base), tmp_path)
    first = {path.name for path in tmp_path.iterdir()}
    assert len(first) == 2, "one view, and the validation photos"
    built(place, params(**base, rate=0.5, epochs=9, weight_decay=0.1), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == first, "the rate does not change what the prefix sees"
    built(place, params(**base, seed=1), tmp_path)
    built(place, params(**base, augment={"scale": (0.5, 1.0)}), tmp_path)
    assert len(list(tmp_path.iterdir())) == 4, "two more views; the validation photos are the same"
    built(place, params(**base, interpolation="bilinear"), tmp_path)
    assert len(list(tmp_path.iterdir())) == 6
    model_params = params(**base)
    model, _ = place.built(model_params)
    choose_feed(place.photos(model, model_params), model, "other weights", tmp_path)
    assert len(list(tmp_path.iterdir())) == 8
    half = replace(place.photos(model, model_params), compute=Compute(torch.device("cpu"), "bf16"))
    choose_feed(half, model, "weights", tmp_path)
    assert len(list(tmp_path.iterdir())) == 10, "features in another precision"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"trainable": "head"}, "views: 0"),
        ({"trainable": "all", "views": 1}, "every parameter is trained"),
        ({"trainable": ("conv_stem", "classifier"), "views": 1}, "needs the photos themselves"),
        ({"trainable": "head", "norms": "all", "views": 1}, "norms: all trains normalisation layers from the first on"),
        ({"trainable": "head", "views": 1, "test_size": 40}, "train_size and test_size differ"),
    ],
)
def test_without_a_usable_prefix_the_whole_model_is_run_and_the_log_says_why(
    place: Place, tmp_path: Path, values: dict[str, Any], reason: str
) -> None:
    _, feed, remark = built(place, params(**values), tmp_path)
    assert isinstance(feed, PixelFeed)
    assert reason in remark


@pytest.mark.parametrize(
    ("values", "reason"),
    [({"trainable": "all"}, "every parameter is trained"), ({"norms": "all"}, "norms: all trains")],
)
def test_the_log_of_a_training_without_a_prefix_says_why(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], values: dict[str, Any], reason: str
) -> None:
    policy = {"trainable": ("blocks.5", "norm", "head"), **values}
    place.trained(tmp_path, params("test_vit", epochs=1, warmup_epochs=0, views=1, **policy))
    assert f"no frozen prefix: {reason}" in capsys.readouterr().out


def test_open_norms_in_front_shorten_the_prefix(place: Place, tmp_path: Path) -> None:
    """`norms: all` opens the first block's norm, so the cut moves in front of it."""
    policy: dict[str, Any] = {"trainable": ("blocks.5", "norm", "head"), "views": 1}
    rows = {}
    for norms in ("tail", "all"):
        model, _ = place.built(params("test_vit", norms=norms, **policy))
        halves = split(model, 32, set_training_modes)
        inside = {
            str(node.target) for node in halves.evaluation_tail.graph.nodes if node.op in ("call_module", "get_attr")
        }
        rows[norms] = {target.split(".")[1] for target in inside if target.startswith("blocks.")}
    assert rows == {"tail": {"5"}, "all": set("012345")}


def test_a_model_that_cannot_be_traced_is_no_error(place: Place) -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen, self.open = nn.Linear(3, 3), nn.Linear(3, 2)
            self.frozen.requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            pooled = self.frozen(x.mean((2, 3)))
            return self.open(pooled if pooled.sum() > 0 else -pooled)

    with pytest.raises(NoPrefixError, match="cannot be traced"):
        split(Branching(), 8, set_training_modes)


def test_the_whole_model_sees_a_new_view_in_every_epoch(place: Place, tmp_path: Path) -> None:
    model_params = params(batch_size=TRAIN)
    model, feed, _ = built(place, model_params, tmp_path)
    assert isinstance(feed, PixelFeed)
    (first,), (second,) = (list(feed.training(epoch, 0)) for epoch in (0, 1))
    back = [np.argsort(feed.photos.order(epoch, 0)) for epoch in (0, 1)]
    same = (first.inputs[0][back[0]] == second.inputs[0][back[1]]).flatten(1).all(1)
    assert not same.any()
    before, after = tensors(feed.validation()), tensors(feed.validation())
    assert all(map(torch.equal, before, after)), "a validation photo is always the same"
    parts = place.parts(tmp_path, model, model_params, feed)
    train_epoch(parts, State())
    assert parts.compute is CPU
    assert all(map(torch.equal, before, tensors(feed.validation())))
