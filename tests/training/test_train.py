"""One training from params to bundle: what is chosen, what is written, what is refused, and what every option does."""

import json
import multiprocessing
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.tiny import ARCHITECTURES, CPU, LABELS, SIDE, TRAIN, VAL, Place, params
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from florafauna.base.errors import UserError
from florafauna.base.files import sha256_file
from florafauna.base.metrics import weighted_f1
from florafauna.bundle.bundle import load_trained, predict_logits
from florafauna.model.settings import ModelParams
from florafauna.photos.sources import open_source
from florafauna.pixels.selection import write_selection
from florafauna.pixels.store import PixelStore
from florafauna.preprocess._write import build_store
from florafauna.training._feeds import PixelFeed
from florafauna.training._refusals import refuse_photos
from florafauna.training._resume import State
from florafauna.training.loop import train, train_epoch

Tensors = dict[str, torch.Tensor]
PLAIN: dict[str, Any] = {"augment": {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "horizontal_flip": 0.0}}


def history(bundle: Path) -> pd.DataFrame:
    return pd.read_csv(bundle / "history.csv")


def weights(bundle: Path) -> Tensors:
    return load_file(bundle / "model.safetensors")


def equal(a: Tensors, b: Tensors) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def after_one_epoch(place: Place, folder: Path, model_params: ModelParams) -> tuple[Tensors, float]:
    """The weights and the mean loss after the first epoch, through the whole model."""
    model, _ = place.built(model_params)
    feed = PixelFeed(place.photos(model, model_params), model, model)
    loss = train_epoch(place.parts(folder, model, model_params, feed), State())
    return model.state_dict(), loss


# which epoch is kept


@pytest.mark.parametrize("architecture", ["test_convnext", "test_efficientnet"])
def test_the_bundle_is_the_best_epoch_also_where_the_last_is_worse(
    place: Place, tmp_path: Path, architecture: str
) -> None:
    """A best state_dict that is only referred to goes on changing with the model, and the last epoch is kept."""
    for seed in range(9):  # the rate is far too high: scores go up and down
        values: dict[str, Any] = {"schedule": "constant", "rate": 0.05, "patience": 20, "seed": seed}
        out = place.trained(tmp_path / f"{seed}", params(architecture, epochs=5, **values))
        rows = history(out)
        best = int(rows["val_weighted_f1"].argmax())
        if 1 <= best < 4 and rows["val_weighted_f1"].iloc[-1] < rows["val_weighted_f1"][best]:
            break
    else:
        pytest.fail("the last epoch is always the best, which shows nothing")
    bundle, val = load_trained(out), PixelStore(place.val)
    logits = predict_logits(bundle, val, CPU)
    assert weighted_f1(val.targets, logits.argmax(1)) == rows["val_weighted_f1"][best]
    loss = float(cross_entropy(torch.tensor(logits), torch.tensor(val.targets)))
    assert loss == pytest.approx(rows["val_loss"][best], rel=1e-5)
    assert bundle.info["best_epoch"] == rows["epoch"][best]
    assert bundle.info["val"]["weighted_f1"] == rows["val_weighted_f1"][best]
    until_best = place.trained(tmp_path / "until best", params(architecture, epochs=best + 1, **values))
    assert equal(weights(out), weights(until_best))


def test_training_stops_after_patience_epochs_without_a_better_score(place: Place, tmp_path: Path) -> None:
    still: dict[str, Any] = {"head_init": "random", "rate": 1e-12, "schedule": "constant", "warmup_epochs": 0}
    model = params(trainable="head", epochs=9, patience=3, **still)
    assert len(history(place.trained(tmp_path, model))) == 4, "the first epoch stays the best: nothing is learnt"


# what is written


def test_a_system_that_cannot_tell_the_peak_memory_costs_no_training(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has no `resource`."""
    for module in ("resource", "psutil"):
        monkeypatch.setitem(sys.modules, module, None)
    job = place.job(tmp_path, params("test_vit", epochs=1, warmup_epochs=0))
    train(job)
    assert json.loads(job.timing.read_text())["peak_memory_mb"] is None


def test_what_a_training_leaves(place: Place, tmp_path: Path) -> None:
    model = params("test_vit", epochs=3, batch_size=8)
    job = place.job(tmp_path, model)
    out = place.trained(tmp_path, model)
    assert sorted(path.name for path in out.iterdir()) == ["history.csv", "model.safetensors", "training.json"]
    rows = history(out)
    assert list(rows["epoch"]) == [1, 2, 3]
    assert list(rows["step"]) == [3, 6, 9], "30 photos make three whole batches of 8"
    assert rows["lr"].iloc[0] == pytest.approx(model.rate)
    assert rows["lr"].iloc[-1] == pytest.approx(0, abs=1e-12)
    info = json.loads((out / "training.json").read_text())
    assert info["labels"] == LABELS
    assert info["data"]["mean"] == [0.5, 0.5, 0.5]
    assert (info["data"]["train_size"], info["data"]["test_size"]) == (32, 32)
    assert info["photos"] == {
        "train": {"n": TRAIN, "sha256": sha256_file(place.train / "index.parquet")},
        "val": {"n": VAL, "sha256": sha256_file(place.val / "index.parquet")},
    }
    assert info["weights"] == {
        "source": "none",
        "seed": 1,
        "licence": None,
        "seen": None,
        "initial_sha256": sha256_file(job.initial),
    }
    assert ModelParams.model_validate(info["params"]) == model
    timing = json.loads(job.timing.read_text())
    assert timing["seconds"] > 0
    assert (timing["device"], timing["precision"]) == ("cpu", "fp32")
    assert not any((job.scratch / "training").iterdir())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_two_trainings_give_the_same_bytes(place: Place, tmp_path: Path, architecture: str) -> None:
    model = params(
        architecture,
        drop_path=0.1,
        ema=0.5,
        augment={"rand_augment": "rand-m9-mstd0.5-inc1", "random_erasing": 0.3, "mixup": 0.2, "cutmix": 1.0},
    )
    first = place.trained(tmp_path / "a", model)
    torch.manual_seed(99)  # whatever was drawn before
    np.random.seed(99)
    second = place.trained(tmp_path / "b", model)
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_workers_change_nothing_but_a_seed_does(place: Place, tmp_path: Path) -> None:
    values: dict[str, Any] = {"augment": {"rand_augment": "rand-m9-mstd0.5-inc1", "random_erasing": 0.3}}
    runs: dict[str, dict[str, Any]] = {"a": {"workers": 0}, "b": {"workers": 2}, "c": {"workers": 0, "seed": 1}}
    alone, helped, other = (place.trained(tmp_path / name, params(**values, **more)) for name, more in runs.items())
    assert (alone / "model.safetensors").read_bytes() == (helped / "model.safetensors").read_bytes()
    assert (alone / "history.csv").read_bytes() == (helped / "history.csv").read_bytes()
    assert not equal(weights(alone), weights(other))
    assert not multiprocessing.active_children(), "else those of all seeds and folds would live on"


# what is refused


@pytest.mark.parametrize("epochs", [2, 1])
def test_a_loss_that_is_no_number_ends_the_training_and_leaves_no_bundle(
    place: Place, tmp_path: Path, epochs: int
) -> None:
    model = params("test_vit", rate=1e30, epochs=epochs, warmup_epochs=0, schedule="constant", optimizer="sgd")
    job = place.job(tmp_path, model)
    with pytest.raises(UserError, match=r"NaN or infinite at step [1-9] \(rate 1\.00e\+30\); lower models\.newts"):
        place.trained(tmp_path, model)
    assert not job.out.exists()
    assert not job.timing.exists()


def test_weights_that_break_in_the_very_last_step_are_no_model(place: Place, tmp_path: Path) -> None:
    """Its loss was still a number; only the validation shows it."""
    values: dict[str, Any] = {"epochs": 1, "warmup_epochs": 0, "schedule": "constant", "batch_size": TRAIN}
    model = params("test_vit", rate=1e30, optimizer="sgd", **values)
    with pytest.raises(UserError, match="NaN or infinite"):
        place.trained(tmp_path, model)
    assert not place.job(tmp_path, model).out.exists()


def test_half_precision_without_a_gpu_is_refused(place: Place, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        place.trained(tmp_path, params(precision="fp16"))


def test_a_new_classifier_that_would_never_be_trained_is_refused(place: Place, tmp_path: Path) -> None:
    """From a head of zeros no gradient comes back, so that nothing at all would change."""
    values: dict[str, Any] = {"trainable": ("blocks.5", "norm"), "epochs": 1, "warmup_epochs": 0}
    for head_init in ("zero", "normal"):
        with pytest.raises(UserError, match=r"newts\.trainable leaves out the new classifier \(head\), .*add head"):
            place.trained(tmp_path, params("test_vit", head_init=head_init, **values))
    place.trained(tmp_path, params("test_vit", head_init="probe", **values))


def test_photos_that_are_stored_too_small_are_said(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    model, _ = place.built(params("test_convnext"))
    for size, said in ((SIDE, False), (SIDE + 8, True)):
        refuse_photos("newts", place.photos(model, params("test_convnext", train_size=size)))
        assert (f"enlarged to {size} pixels, since image.store_size is {SIDE}" in capsys.readouterr().out) == said


# what every option does


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "adam"},
        {"optimizer": "sgd", "momentum": 0.5},
        {"schedule": "plateau", "plateau_patience": 1},
        {"schedule": "constant"},
        {"label_smoothing": 0.2},
        {"ema": 0.9},
        {"accumulate": 2},
        {"clip_gradient": 0.01},
        {"weight_decay": 0.5},
        {"layer_decay": 0.5},
        {"drop_path": 0.3},
        {"seed": 3},
        {"warmup_epochs": 0.0},
        {"final_rate": 0.5},
        {"augment": {"mixup": 0.4}},
        {"augment": {"cutmix": 1.0}},
        {"augment": {"random_erasing": 0.9}},
        {"augment": {"color_jitter": 0.5}},
        {"interpolation": "bilinear"},
        {"precision": "bf16"},
    ],
    ids=lambda values: ", ".join(values),
)
def test_every_option_reaches_the_training(
    place: Place, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    plain = place.root / "plain"
    if not plain.exists():
        place.trained(plain, params("test_vit"))
    changed = place.trained(tmp_path, params("test_vit", **values))
    assert (plain / "model/history.csv").read_bytes() != (changed / "history.csv").read_bytes()
    assert np.isfinite(history(changed).to_numpy()).all()


def test_rare_classes_in_the_loss(place: Place, tmp_path: Path) -> None:
    """All photos of two classes and three of the third: balanced, its loss counts as much as theirs."""
    index = PixelStore(place.train).table().assign(width=SIDE + 8, height=SIDE).drop(columns="offset")
    rows = pd.concat([index[index["target"] < 2], index[index["target"] == 2].head(3)]).sort_values("path")
    uneven = tmp_path / "uneven"
    build_store(rows, LABELS, open_source(place.root / "photos" / "train"), uneven, SIDE, workers=1)
    losses, logits, targets = {}, torch.empty(0), torch.empty(0)
    ways = {"none": {}, "balanced": {"class_weighting": "balanced"}, "adjusted": {"loss": "logit_adjusted"}}
    for way, chosen in ways.items():
        values: dict[str, Any] = {"epochs": 1, "warmup_epochs": 0, "rate": 1e-12, "batch_size": len(rows)}
        model_params = params("test_vit", head_init="random", **chosen, **values)
        job = replace(place.job(tmp_path / way, model_params), train=uneven)
        train(job)
        losses[way] = history(job.out)["train_loss"][0]
        model, _ = place.built(model_params)
        photos = replace(place.photos(model, model_params), train=PixelStore(uneven))
        (batch,) = PixelFeed(photos, model, model).training(0, 0)
        logits, targets = model.eval()(*batch.inputs).detach(), batch.targets
    of_photo = cross_entropy(logits, targets, reduction="none")
    of_class = [of_photo[targets == target].mean() for target in range(3)]
    assert losses["none"] == pytest.approx(float(of_photo.mean()), rel=1e-5)
    assert losses["balanced"] == pytest.approx(float(sum(of_class)) / 3, rel=1e-5)
    assert losses["balanced"] != pytest.approx(losses["none"], rel=1e-4)
    share = targets.bincount() / len(targets)
    assert losses["adjusted"] == pytest.approx(float(cross_entropy(logits + share.log(), targets)), rel=1e-5)
    assert losses["adjusted"] != pytest.approx(losses["none"], rel=1e-4)


def test_two_half_batches_accumulated_are_one_whole_batch(place: Place, tmp_path: Path) -> None:
    """For a model without batch norm, whose statistics are a batch's."""
    values: dict[str, Any] = {"optimizer": "sgd", "rate": 0.05, "weight_decay": 0.0, **PLAIN}
    whole, whole_loss = after_one_epoch(place, tmp_path, params("test_convnext", batch_size=10, **values))
    halves, halves_loss = after_one_epoch(
        place, tmp_path, params("test_convnext", batch_size=5, accumulate=2, **values)
    )
    before = place.built(params("test_convnext"))[0].state_dict()
    assert any((whole[name] - before[name]).abs().max() > 1e-3 for name in whole)
    for name, tensor in whole.items():
        torch.testing.assert_close(halves[name], tensor, rtol=1e-4, atol=1e-6)
    assert halves_loss == pytest.approx(whole_loss, rel=1e-4)


def test_the_last_batches_of_an_epoch_count_as_much_where_they_are_fewer(place: Place, tmp_path: Path) -> None:
    """Three batches accumulated four at a time are one step of the mean of three, not of three quarters of it."""
    values: dict[str, Any] = {"optimizer": "sgd", "rate": 0.05, "weight_decay": 0.0, "batch_size": 10, **PLAIN}
    three, four = (after_one_epoch(place, tmp_path, params("test_convnext", accumulate=n, **values))[0] for n in (3, 4))
    for name, tensor in three.items():
        torch.testing.assert_close(four[name], tensor, rtol=1e-5, atol=1e-7)


def test_label_smoothing_is_of_the_loss_also_where_photos_are_mixed(place: Place, tmp_path: Path) -> None:
    losses = {
        (smoothing, mixup): after_one_epoch(
            place,
            tmp_path,
            params("test_vit", rate=1e-12, label_smoothing=smoothing, batch_size=TRAIN, augment={"mixup": mixup}),
        )[1]
        for smoothing in (0.0, 0.3)
        for mixup in (0.0, 1.0)
    }
    for mixup in (0.0, 1.0):
        assert losses[0.3, mixup] != losses[0.0, mixup]


def test_mixed_targets_are_shares_of_two_classes(place: Place) -> None:
    for augment in ({"mixup": 1.0}, {"cutmix": 1.0}):
        model_params = params("test_vit", augment=augment, batch_size=TRAIN)
        model, _ = place.built(model_params)
        feed = PixelFeed(place.photos(model, model_params), model, model)
        (batch,) = feed.training(0, 0)
        assert batch.targets.shape == (TRAIN, len(LABELS))
        torch.testing.assert_close(batch.targets.sum(1), torch.ones(TRAIN))
        assert ((batch.targets > 0).sum(1) <= 2).all()
        assert (batch.targets.max(1).values < 0.999).any()
        assert all(not targets.targets.is_floating_point() for targets in feed.validation())


def test_of_an_odd_number_of_photos_one_is_left_out_where_pairs_are_mixed(place: Place, tmp_path: Path) -> None:
    """timm refuses the batch by an AssertionError."""
    write_selection([PixelStore(place.train)], np.arange(TRAIN) < TRAIN - 1, tmp_path)
    model_params = params("test_vit", augment={"mixup": 1.0}, batch_size=TRAIN + 4)
    model, _ = place.built(model_params)
    photos = replace(place.photos(model, model_params), train=PixelStore(tmp_path))
    (batch,) = PixelFeed(photos, model, model).training(0, 0)
    assert len(batch.targets) == TRAIN - 2


def test_the_averaged_weights_are_scored_and_kept(place: Place, tmp_path: Path) -> None:
    """An average that hardly moves scores as the initial weights do, however high the rate."""
    slow = params("test_vit", ema=0.999999, head_init="random", optimizer="sgd", rate=0.1, schedule="constant")
    out = place.trained(tmp_path / "slow", slow)
    start = place.built(slow)[0].state_dict()
    for name, tensor in weights(out).items():
        torch.testing.assert_close(tensor, start[name], rtol=1e-3, atol=1e-4)
    rows = history(out)
    assert rows["val_loss"].iloc[0] == pytest.approx(rows["val_loss"].iloc[-1], rel=1e-3)
    assert rows["train_loss"].iloc[0] != pytest.approx(rows["train_loss"].iloc[-1], rel=1e-3)


def test_a_small_gradient_limit_keeps_the_weights_near(place: Place, tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "optimizer": "sgd",
        "momentum": 0.0,
        "rate": 1.0,
        "weight_decay": 0.0,
        "batch_size": TRAIN,
    }
    model_params = params("test_vit", clip_gradient=1e-3, warmup_epochs=0, **values)
    after, _ = after_one_epoch(place, tmp_path, model_params)
    start = place.built(model_params)[0].state_dict()
    moved = torch.cat([(after[name] - start[name]).flatten() for name in start]).norm()
    assert float(moved) == pytest.approx(1e-3, rel=0.05), "one step of the rate times the limit"


def test_a_training_learns_what_can_be_learnt(place: Place, tmp_path: Path) -> None:
    """All that the other tests hold equal could be equally useless."""
    model = params("test_vit", epochs=12, rate=3e-3, augment={"scale": (0.6, 1.0)})
    rows = history(place.trained(tmp_path, model))
    assert rows["val_weighted_f1"].max() > 0.6
    assert rows["train_loss"].iloc[-1] < rows["train_loss"].iloc[0] - 0.1


def test_a_damaged_store_is_not_trained_on(place: Place, tmp_path: Path) -> None:
    damaged = Place(Path(shutil.copytree(place.root, tmp_path / "place")))
    shard = sorted((damaged.train / "pixels").iterdir())[0]
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(UserError, match=r"was damaged on disk .*delete it and run"):
        damaged.trained(tmp_path, params())
    trained = place.trained(tmp_path, params())
    shard = sorted((damaged.val / "pixels").iterdir())[0]
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(UserError, match=r"was damaged on disk .*delete it and run"):
        damaged.evaluated(trained, tmp_path)
