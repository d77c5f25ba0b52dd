"""On the device: views are those of the CPU but for rounding, no step waits, and compiling may fail."""

import copy
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import CPU, TRAIN, Place, params
from torch._dynamo.backends.common import aot_autograd
from torch.utils._python_dispatch import TorchDispatchMode

from florafauna.compute import Compute, choose
from florafauna.crops import CropBatch, collect_crops, render
from florafauna.errors import UserError
from florafauna.feeds import PixelFeed, choose_feed
from florafauna.files import write_json
from florafauna.models import parameter_groups
from florafauna.params import ModelParams
from florafauna.placement import rates, views_on_device
from florafauna.resume import State
from florafauna.store import PixelStore
from florafauna.training import Parts, train_epoch
from florafauna.views import Loader, collect

ROWS = np.arange(TRAIN)
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="`make test-gpu` runs it where there is a GPU")
STRONG: dict[str, Any] = {"rand_augment": "rand-m9-n3-mstd0.5-inc1", "color_jitter": 0.2, "vertical_flip": 0.5}


def photos_of(place: Place, model_params: ModelParams, compute: Compute = CPU) -> Any:
    model, _ = place.built(model_params)
    return replace(place.photos(model, model_params), compute=compute), compute.place(model)


# memory

FAULTS = """
import resource, sys, torch
from florafauna.compute import reuse_freed_memory
if sys.argv[1] == "reuse":
    reuse_freed_memory()
for _ in range(20):  # what is freed fits only after some, because an aligned block is asked for with a margin
    torch.ones(1 << 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep what is freed")
def test_freed_memory_is_used_again_without_asking_the_system() -> None:
    faults = {}
    for how in ("plain", "reuse"):
        words = [sys.executable, "-c", FAULTS, how]
        faults[how] = int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert faults["reuse"] < faults["plain"] / 5, "tensors of 64 MiB are else mapped anew, each"


# views


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("augment", [{}, {"scale": (0.02, 0.1)}, {"color_jitter": 0.4, "vertical_flip": 0.5}])
def test_views_of_the_device_are_those_of_the_cpu_but_for_rounding(
    place: Place, interpolation: str, augment: dict[str, Any]
) -> None:
    photos, _ = photos_of(place, params(interpolation=interpolation, augment=augment))
    for epoch in range(3):
        expected = collect(photos.train, photos.train_view, ROWS, epoch)
        batch = collect_crops(photos.train, photos.train_view, ROWS, epoch)
        found = render(batch, photos.train_view, CPU)
        assert found.dtype == torch.uint8
        assert found.is_contiguous(memory_format=torch.channels_last)
        differences = (found.int() - expected.images.int()).abs()
        assert differences.max() <= 4, "two levels, made more by the contrast"
        assert differences.float().mean() < 0.1
        assert (batch.names, batch.targets.tolist()) == (expected.names, expected.targets.tolist())


def test_a_policy_differs_only_where_rounding_meets_a_threshold(place: Place) -> None:
    photos, _ = photos_of(place, params(augment=STRONG))
    parts = []
    for epoch in range(8):
        expected = collect(photos.train, photos.train_view, ROWS, epoch).images
        found = render(collect_crops(photos.train, photos.train_view, ROWS, epoch), photos.train_view, CPU)
        parts.append((found.int() - expected.int()).abs())
    differences = torch.cat(parts)
    assert (differences <= 2).float().mean() > 0.98
    assert differences.float().mean() < 0.5


def test_whole_crops_are_augmented_to_the_very_same_pixels(place: Place) -> None:
    """Nothing is resized, so nothing is rounded: what is drawn and done is the same."""
    store = PixelStore(place.train)
    augment = {**STRONG, "scale": (1.0, 1.0), "ratio": (1.0, 1.0)}
    photos, _ = photos_of(place, params(train_size=40, augment=augment))
    assert store.photo(0).shape[:2] == (40, 48)
    for epoch in range(4):
        expected = collect(store, photos.train_view, ROWS, epoch).images
        found = render(collect_crops(store, photos.train_view, ROWS, epoch), photos.train_view, CPU)
        assert torch.equal(found, expected)


def test_crops_do_not_depend_on_workers_or_on_the_other_photos(place: Place) -> None:
    photos, _ = photos_of(place, params(augment=STRONG))
    view, store = photos.train_view, photos.train

    def images(size: int, workers: int) -> torch.Tensor:
        loader = Loader(store, view, size, workers, collector=collect_crops)
        return torch.cat([render(batch, view, CPU) for batch in loader.batches(ROWS, 1)])

    assert torch.equal(images(7, 0), images(7, 2))
    assert torch.equal(images(7, 0), images(TRAIN, 0))


def test_a_training_hardly_changes_with_the_place_where_views_are_made(place: Place, tmp_path: Path) -> None:
    losses = []
    for on_device in (False, True):
        model_params = params("test_convnext", augment={"color_jitter": 0.2, "random_erasing": 0.5})
        photos, model = photos_of(place, model_params)
        feed = PixelFeed(replace(photos, on_device=on_device), model, model)
        losses.append(train_epoch(place.parts(tmp_path, model, model_params, feed), State()))
    assert losses[0] != losses[1], "else the views were made in the same place"
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


def test_remembered_features_of_one_place_are_not_taken_for_the_others(place: Place, tmp_path: Path) -> None:
    photos, model = photos_of(place, params(trainable="head", views=1))
    for on_device in (False, True):
        choose_feed(replace(photos, on_device=on_device), model, "weights", tmp_path)
    assert len(list(tmp_path.iterdir())) == 3, "a view each, and the validation photos"


# where they are made


def test_without_a_gpu_auto_says_so_and_gpu_is_refused(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    default = place.trained(tmp_path / "cpu", params("test_vit"))
    assert "views" not in capsys.readouterr().out.replace("views: 0", "")
    auto = place.trained(tmp_path / "auto", params("test_vit", augment={"device": "auto"}))
    assert "auto makes the views on the CPU, for there is no GPU" in capsys.readouterr().out
    assert (auto / "history.csv").read_bytes() == (default / "history.csv").read_bytes()
    with pytest.raises(UserError, match="gpu needs a GPU and there is none here; use cpu or auto"):
        place.trained(tmp_path / "gpu", params("test_vit", augment={"device": "gpu"}))


def test_a_policy_that_the_gpu_cannot_do_stays_on_the_cpu(place: Place, tmp_path: Path) -> None:
    gpu = Compute(torch.device("cuda"), "bf16")
    for policy, missing in (("3a", "GaussianBlurRand|a random blur"), ("augmix-m3-w3", "mix")):
        photos, model = photos_of(place, params(augment={"rand_augment": policy, "device": "auto"}))
        on_device, remark = views_on_device(replace(photos, compute=gpu), model, tmp_path / "augment.json")
        assert not on_device
        assert "the GPU cannot do" in remark
        if policy == "3a":
            values = {"rand_augment": policy, "device": "gpu"}
            photos, model = photos_of(place, params(augment=values))
            with pytest.raises(UserError, match=f"gpu cannot do .*({missing}).* of rand_augment: 3a"):
                views_on_device(replace(photos, compute=gpu), model, tmp_path / "augment.json")


@pytest.mark.parametrize("chosen", [True, False])
def test_a_run_that_was_killed_goes_on_with_what_auto_chose(place: Place, tmp_path: Path, chosen: bool) -> None:
    write_json(tmp_path / "augment.json", {"on_device": chosen, "cpu": 100.5, "gpu": 99.5})
    photos, model = photos_of(place, params(augment={"device": "auto"}))
    photos = replace(photos, compute=Compute(torch.device("cuda"), "bf16"))
    on_device, remark = views_on_device(photos, model, tmp_path / "augment.json")
    assert on_device == chosen
    assert ("on the GPU: " in remark) == chosen
    assert "99.5" in remark
    assert "100.5" in remark


@pytest.mark.parametrize("values", [{}, {"trainable": "head", "views": 2}])
def test_the_measurement_leaves_the_model_as_it_was(place: Place, values: dict[str, Any]) -> None:
    photos, model = photos_of(place, params(augment={"rand_augment": "rand-m9-n2"}, **values))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert min(rates(photos, model)) > 0
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


# compile


def test_a_compiler_that_is_not_there_is_a_message_and_no_end(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    monkeypatch.setattr(config.cpp, "cxx", ("/nonexistent/c++",))
    model_params = params(compile=True)
    photos, _ = photos_of(place, model_params)
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 3))
    alone = copy.deepcopy(model)
    feed, _ = choose_feed(photos, model, "weights", tmp_path)
    batch = next(iter(feed.training(0, 0)))
    assert torch.equal(feed.logits(batch, training=True), alone(*batch.inputs))
    assert "compile: true has no effect here" in capsys.readouterr().out
    assert torch.equal(feed.logits(batch, training=True), alone(*batch.inputs))
    assert "compile" not in capsys.readouterr().out, "it is said once"
    assert all(map(torch.equal, model.buffers(), alone.buffers())), "the trial left the statistics alone"
    torch._dynamo.reset()


def test_a_backward_pass_that_cannot_be_compiled_is_found_in_time(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is compiled when it is first run, outside the model's forward."""
    whole = torch.compile

    def without_backward(model: torch.nn.Module) -> Any:
        return whole(model, backend=aot_autograd(fw_compiler=lambda graph, _: graph, bw_compiler=broken))

    def broken(graph: Any, _: Any) -> Any:
        raise RuntimeError("no backward here")

    monkeypatch.setattr(torch, "compile", without_backward)
    photos, _ = photos_of(place, params(compile=True))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 3), torch.nn.Tanh())
    feed, _ = choose_feed(photos, model, "weights", tmp_path)
    feed.logits(next(iter(feed.training(0, 0))), training=True).sum().backward()
    assert "compile: true has no effect here" in capsys.readouterr().out
    torch._dynamo.reset()


def test_compiling_behind_a_prefix_is_said_to_have_no_effect(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.trained(tmp_path, params("test_vit", trainable="head", views=1, compile=True))
    assert "compile: true has no effect behind a frozen prefix" in capsys.readouterr().out


# no waiting


class Reads(TorchDispatchMode):
    """Counts what would make a program wait for a GPU: values read by Python, and shapes that depend on values."""

    waiting = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "bincount", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.partition(".")[0]
        if name in self.waiting or (name in ("index", "index_put_") and has_mask(args)):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def has_mask(args: Any) -> bool:
    return any(isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in args[1] or ())


def parts_like_a_gpus(place: Place, folder: Path, model_params: ModelParams, compute: Compute, **values: Any) -> Parts:
    photos, model = photos_of(place, model_params, compute)
    if model_params.views:
        feed, _ = choose_feed(photos, model, "weights", folder)
    else:
        feed = PixelFeed(replace(photos, on_device=True), model, model)
    parts = place.parts(folder, model, model_params, feed)
    groups = [{k: v for k, v in group.items() if k != "names"} for group in parameter_groups(model, model_params)]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[model_params.optimizer]
    average = {name: tensor.clone() for name, tensor in model.state_dict().items()} if model_params.ema else {}
    optimizer = kind(groups, lr=1e-3, fused=True)
    return replace(parts, compute=compute, optimizer=optimizer, average=average, **values)


STEPPED: list[dict[str, Any]] = [
    {"augment": {**STRONG, "random_erasing": 0.5}, "ema": 0.9, "clip_gradient": 1.0},
    {"augment": {"mixup": 0.2, "cutmix": 1.0}, "label_smoothing": 0.1, "optimizer": "adam"},
    {"trainable": "head", "views": 2, "optimizer": "sgd", "accumulate": 2},
]


@pytest.mark.parametrize("values", STEPPED)
def test_no_step_reads_a_value_back(place: Place, tmp_path: Path, values: dict[str, Any]) -> None:
    """The epoch reads two, whether the loss broke and its mean, and a new DataLoader draws its seed on the CPU."""
    parts = parts_like_a_gpus(place, tmp_path, params("test_convnext", **values), CPU)
    with Reads() as reads:
        train_epoch(parts, State())
    assert parts.feed.batches_per_epoch == 5
    assert reads.found == ["_local_scalar_dense"] * (2 + isinstance(parts.feed, PixelFeed))


@pytest.mark.gpu
@NEEDS_GPU
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("values", STEPPED)
def test_no_step_waits_for_the_gpu(place: Place, tmp_path: Path, values: dict[str, Any], precision: str) -> None:
    compute = choose(precision)
    scaler = torch.amp.GradScaler("cuda", enabled=precision == "fp16")
    model_params = params("test_convnext", epochs=3, precision=precision, **values)
    parts = parts_like_a_gpus(place, tmp_path, model_params, compute, scaler=scaler)
    train_epoch(parts, State())  # what is done once: kernels are loaded, constants copied
    torch.cuda.synchronize()
    batches = list(parts.feed.training(1, 0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            with compute.autocast():
                loss = parts.feed.logits(batch, training=True).float().square().mean()
            parts.scaler.scale(loss).backward()
            parts.scaler.step(parts.optimizer)
            parts.scaler.update()
            parts.optimizer.zero_grad(set_to_none=True)
        made = parts.feed.training(2, 0)
        for _ in made:
            pass
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@NEEDS_GPU
def test_views_made_on_a_gpu_are_those_of_the_cpu_but_for_rounding(place: Place) -> None:
    compute = choose("fp32")
    photos, _ = photos_of(place, params(augment={"color_jitter": 0.4}), compute)
    batch: CropBatch = collect_crops(photos.train, photos.train_view, ROWS, 0).pin_memory()
    found = render(batch, photos.train_view, compute).cpu()
    assert (found.int() - collect(photos.train, photos.train_view, ROWS, 0).images.int()).abs().max() <= 3
