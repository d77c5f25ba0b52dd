"""The linear probe: what the classifier is given, its best head, and fine-tuning that starts from it."""

import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.tiny import CPU, LABELS, VAL, Place, params
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from florafauna.base.errors import UserError
from florafauna.base.files import sha256_file
from florafauna.base.metrics import weighted_f1
from florafauna.bundle.bundle import load_trained, predict_logits
from florafauna.model.network import backbone_state
from florafauna.model.settings import Architecture, ModelParams
from florafauna.model.weights import make_initial_weights
from florafauna.photos.sources import open_source
from florafauna.pixels.store import PixelStore
from florafauna.preprocess._write import build_store
from florafauna.training._feeds import Feed, PixelFeed, choose_feed
from florafauna.training._loss import Loss
from florafauna.training._result import describe, write_checked
from florafauna.training.frozen._probe import NotLinearError, classifier_features, put_head, solve_head
from florafauna.training.frozen.logistic import Samples, solve
from florafauna.training.job import TrainingJob
from florafauna.training.loop import train, train_once
from florafauna.training.trainable import start_head

CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # a frozen prefix is folded and packed for the CPU


def fed(place: Place, folder: Path, model_params: ModelParams) -> tuple[Feed, nn.Module]:
    """The model that training starts from, and what feeds it."""
    model, _ = place.built(model_params)
    feed, _ = choose_feed(place.photos(model, model_params), model, "weights", folder)
    return feed, model


def inputs_of(feed: Feed, model: Any, view: int | None) -> np.ndarray:
    """What the classifier is given, worked out anew: a model without its classifier gives just that."""
    images = feed.photos.validation_images() if view is None else feed.photos.fixed_images(view)
    model.eval()
    with torch.inference_mode():
        values = torch.cat([model.forward_head(model.forward_features(x), pre_logits=True) for x, _ in images])
    return values.numpy()


# the features


@pytest.mark.parametrize("architecture", ["test_efficientnet", "test_convnext", "test_vit"])
@pytest.mark.parametrize("views", [0, 2])
def test_what_the_classifier_is_given_is_what_a_model_without_one_gives(
    place: Place, tmp_path: Path, architecture: str, views: int
) -> None:
    feed, model = fed(place, tmp_path, params(architecture, trainable="head", views=views))
    train, val = classifier_features(feed, model, "weights", tmp_path)
    assert len(train) == max(1, views)
    for view, features in enumerate(train):
        np.testing.assert_allclose(features.rows(slice(None))[0], inputs_of(feed, model, view), **CLOSE)
    np.testing.assert_allclose(val.rows(slice(None))[0], inputs_of(feed, model, None), **CLOSE)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"label_smoothing": 0.2},
        {"class_weights": torch.tensor([1.0, 5.0, 1.0])},
        {"log_prior": torch.tensor([0.8, 0.15, 0.05]).log()},
    ],
)
def test_the_head_is_the_optimum_for_these_features(place: Place, tmp_path: Path, values: dict[str, Any]) -> None:
    feed, model = fed(place, tmp_path, params("test_vit", trainable="head", views=2))
    optimum = solve_head(feed, model, "weights", tmp_path, Loss(**values))
    device, photos = torch.device("cpu"), feed.photos
    train = Samples([torch.tensor(inputs_of(feed, model, view)) for view in range(2)], photos.train.targets, device)
    val = Samples([torch.tensor(inputs_of(feed, model, None))], photos.val.targets, device)
    assert solve(train, val, len(LABELS), loss=Loss(**values)).loss == pytest.approx(optimum.loss, rel=1e-4)


def test_a_head_without_a_bias(place: Place, tmp_path: Path) -> None:
    model_params = params("test_vit", trainable="head", views=1)
    model, _ = place.built(model_params)
    model.head = nn.Linear(model.head.in_features, len(LABELS), bias=False)
    feed, _ = choose_feed(place.photos(model, model_params), model, "weights", tmp_path)
    optimum = solve_head(feed, model, "weights", tmp_path)
    assert optimum.bias is None
    put_head(model, optimum)
    (batch,) = feed.validation()
    assert weighted_f1(batch.targets, feed.logits(batch, training=False).argmax(1)) == optimum.weighted_f1


# optimizer: lbfgs


def test_lbfgs_leaves_a_bundle_as_any_training_does(place: Place, tmp_path: Path) -> None:
    values: dict[str, Any] = {"trainable": "head", "views": 2, "label_smoothing": 0.1, "ema": 0.9}
    model_params = params("test_convnext", optimizer="lbfgs", **values)
    first, second = (place.trained(tmp_path / name, model_params) for name in "ab")
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name
    rows = pd.read_csv(first / "history.csv")
    assert list(rows["epoch"]) == [1]
    assert rows["step"][0] > 1
    trained, val = load_trained(first), PixelStore(place.val)
    assert (
        weighted_f1(val.targets, predict_logits(trained, val, CPU, as_trained=True).argmax(1))
        == rows["val_weighted_f1"][0]
    )
    before = load_file(place.initial(model_params.architecture))
    after = load_file(first / "model.safetensors")
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    looped = pd.read_csv(place.trained(tmp_path / "loop", params("test_convnext", epochs=20, **values)) / "history.csv")
    assert rows["train_loss"][0] < looped["train_loss"].min()


def test_a_killed_lbfgs_goes_on_with_what_it_has_solved(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = place.job(tmp_path, params("test_vit", trainable="head", optimizer="lbfgs"))
    train_once(job)  # as train() does, but that it ends before the folder for resuming is deleted
    first = (job.out / "model.safetensors").read_bytes()
    shutil.rmtree(job.out)
    shutil.rmtree(job.scratch / "features")
    capsys.readouterr()
    train(job)
    assert "resuming after step" in capsys.readouterr().out
    assert not (job.scratch / "features").exists(), "nothing is computed again"
    assert (job.out / "model.safetensors").read_bytes() == first


def test_lbfgs_for_more_than_the_head_is_refused(place: Place, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"models\.newts\.optimizer: lbfgs solves the head alone"):
        place.trained(tmp_path, params("test_vit", trainable=("norm", "head"), optimizer="lbfgs"))
    place.trained(tmp_path, params("test_vit", trainable=("head",), optimizer="lbfgs"))


def test_a_model_without_one_linear_head_is_refused(place: Place, tmp_path: Path) -> None:
    model_params = params("test_vit", trainable="head")
    model, _ = place.built(model_params)
    model.head = nn.Sequential(model.head, nn.ReLU())
    feed = PixelFeed(place.photos(model, model_params), model, model)
    with pytest.raises(UserError, match="not those of one linear layer"):
        solve_head(feed, model, "weights", tmp_path)

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, _ = place.built(model_params)
            self.head = self.inner.head
            self.pretrained_cfg = self.inner.pretrained_cfg

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * self.inner(x)

    scaled = Scaled()
    feed = PixelFeed(place.photos(model, model_params), scaled, scaled)
    with pytest.raises(UserError, match="not those of one linear layer"):
        solve_head(feed, scaled, "weights", tmp_path)


def test_the_refusal_reaches_the_other_processes_of_a_job() -> None:
    """As pickle, which by default makes an error of its message."""
    refusal = NotLinearError()
    assert str(pickle.loads(pickle.dumps(refusal))) == str(refusal)


def test_a_photo_on_the_boundary_of_two_classes_does_not_end_a_training(place: Place, tmp_path: Path) -> None:
    """Behind a frozen prefix, which is folded and packed, its logits are rounded differently."""
    model_params = params("test_efficientnet", trainable="head", views=1, head_init="random")
    feed, model = fed(place, tmp_path, model_params)
    start_head(model, "random", 0)
    info = describe("newts", model, place.built(model_params)[1], "0" * 64, feed.photos)
    classifier, targets = model.get_classifier(), PixelStore(place.val).targets

    def logits_by(run: Callable[[], Iterator[torch.Tensor]]) -> torch.Tensor:
        model.eval()
        with torch.inference_mode():
            return torch.cat(list(run()))

    def behind() -> torch.Tensor:
        return logits_by(lambda: (feed.logits(batch, training=False) for batch in feed.validation()))

    def whole() -> torch.Tensor:
        return logits_by(lambda: (model(images) for images, _ in feed.photos.validation_images()))

    bias = classifier.bias.detach().clone()
    for between in ((behind() + whole()) / 2).tolist():
        with torch.no_grad():
            classifier.bias.copy_(bias + torch.tensor([0.0, between[0] - between[1], -100.0]))
        logged, found = (weighted_f1(targets, logits().argmax(1)) for logits in (behind, whole))
        if logged != found:
            write_checked(tmp_path / "out", model, info | {"val": {"weighted_f1": logged}}, feed, [])
            return
    pytest.fail("all answers are the same, which shows nothing")


# head_init


@pytest.mark.parametrize("architecture", ["test_efficientnet", "test_convnext", "test_vit"])
def test_how_the_classifier_starts(place: Place, architecture: str) -> None:
    drawn, heads = place.built(params(architecture))[0], {}
    for way, seed in (("random", 0), ("zero", 0), ("normal", 0), ("normal again", 0), ("normal", 1)):
        model, _ = place.built(params(architecture))
        start_head(model, way.split()[0], seed)
        classifier = model.get_classifier()
        heads[way, seed] = classifier.weight.detach()
        assert way == "random" or not classifier.bias.any()
        state = backbone_state(model)
        assert all(torch.equal(state[name], tensor) for name, tensor in backbone_state(drawn).items())
    assert torch.equal(heads["random", 0], drawn.get_classifier().weight)
    assert not heads["zero", 0].any()
    assert heads["normal", 0].std() == pytest.approx(0.01, rel=0.2)
    assert torch.equal(heads["normal", 0], heads["normal again", 0])
    assert not torch.equal(heads["normal", 0], heads["normal", 1])


@pytest.mark.parametrize("way", ["zero", "random"])
def test_nothing_is_left_where_the_photos_change_nothing(place: Place, tmp_path: Path, way: str) -> None:
    """30 photos span 30 of 64 dimensions: what the head has in the others, no gradient ever reaches."""
    values: dict[str, Any] = {"trainable": "head", "optimizer": "sgd", "rate": 0.1, "weight_decay": 0.0, "views": 1}
    model_params = params("test_vit", head_init=way, **values)
    feed, model = fed(place, tmp_path, model_params)
    photos = torch.tensor(inputs_of(feed, model, 0)).double()
    _, _, basis = torch.linalg.svd(photos, full_matrices=True)
    weight = load_trained(place.trained(tmp_path, model_params)).model.get_classifier().weight.double()
    outside = (weight @ basis[len(photos) :].T).norm() / weight.norm()
    assert outside > 0.1 if way == "random" else outside < 1e-5


# head_init: probe


@pytest.mark.parametrize(
    "policy",
    [{"trainable": "all"}, {"trainable": ("blocks.5", "norm", "head"), "views": 2}, {"trainable": "head", "views": 2}],
    ids=["all", "last block", "head"],
)
def test_fine_tuning_starts_from_the_probe(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: dict[str, Any]
) -> None:
    """At a rate of nearly nothing the model that is kept is the one before the first step."""
    still = params("test_vit", head_init="probe", rate=1e-12, ema=0.5, **policy)
    out = place.trained(tmp_path, still)
    assert "starts from its optimum" in capsys.readouterr().out
    feed, model = fed(place, tmp_path / "again", still)
    optimum = solve_head(feed, model, "weights", tmp_path / "again")
    assert optimum.bias is not None
    expected = torch.tensor(inputs_of(feed, model, None)) @ optimum.weight.T + optimum.bias
    logits = predict_logits(load_trained(out), PixelStore(place.val), CPU)
    torch.testing.assert_close(torch.tensor(logits), expected, rtol=1e-3, atol=1e-3)
    assert pd.read_csv(out / "history.csv")["val_weighted_f1"][0] == pytest.approx(optimum.weighted_f1, abs=1 / VAL)


def test_a_resumed_training_does_not_solve_again(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = place.job(tmp_path, params("test_vit", head_init="probe"))
    train_once(job)
    shutil.rmtree(job.scratch / "features")
    capsys.readouterr()
    train(job)
    text = capsys.readouterr().out
    assert "resuming after step" in text
    assert "starts from its optimum" not in text
    assert not (job.scratch / "features").exists()


def test_the_probe_beats_a_random_head_on_real_photos(shared: Path, tmp_path: Path) -> None:
    names = ["daisy", "japanese_macaque", "tulips"]
    for split, first, last in (("train", 0, 16), ("val", 16, 28)):
        rows = [
            {"path": f"{label}/{path.name}", "label": label, "target": target, "size": Image.open(path).size}
            for target, label in enumerate(names)
            for path in sorted((shared / "photos" / label).iterdir())[first:last]
        ]
        table = pd.DataFrame(rows).sort_values("path", ignore_index=True)
        table = table.assign(width=[w for w, _ in table["size"]], height=[h for _, h in table["size"]])
        digests = [sha256_file(shared / "photos" / path) for path in table["path"]]
        table = table.assign(held_out="", group="", cluster="", sha256=digests).drop(columns="size")
        build_store(table, names, open_source(shared / "photos"), tmp_path / split, 96, workers=1)
    values: dict[str, Any] = {"train_size": 96, "batch_size": 48, "rate": 1e-12, "epochs": 1, "warmup_epochs": 0}
    weights: dict[str, Any] = {"source": "file", "file": "data/weights/w.safetensors"}
    creation = {"name": "mobilenetv2_035", "pad_type": "same", "bn_eps": 1e-3}
    weights |= {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bicubic"}
    model = params(**values, weights=weights).model_copy(update={"architecture": Architecture(**creation)})
    real = model.weights.model_copy(update={"file": str(shared / "weights" / "mobilenetv2_035.tf_in1k.safetensors")})
    make_initial_weights(model.architecture, real, tmp_path / "initial.safetensors")
    scores = {}
    for way in ("random", "probe"):
        job = TrainingJob(
            name=way,
            params=model.model_copy(update={"head_init": way}),
            initial=tmp_path / "initial.safetensors",
            train=tmp_path / "train",
            val=tmp_path / "val",
            scratch=tmp_path / "scratch",
            out=tmp_path / way,
            timing=tmp_path / f"{way}.json",
        )
        train(job)
        scores[way] = pd.read_csv(job.out / "history.csv")["val_weighted_f1"][0]
    assert scores["probe"] > scores["random"] + 0.3
