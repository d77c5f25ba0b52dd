"""On the device: no step waits for the GPU, compiling may fail, and freed memory is used again."""

import copy
import json
import platform
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.forks import quick
from helpers.tiny import CPU, Place, params
from torch._dynamo.backends.common import aot_autograd
from torch.utils._python_dispatch import TorchDispatchMode

from florafauna.base.files import write_json
from florafauna.model.compute import Compute, choose
from florafauna.model.settings import ModelParams
from florafauna.training._compiling import compiled_if_it_pays, decide, remembered
from florafauna.training._feeds import PixelFeed, choose_feed
from florafauna.training._loss import Loss
from florafauna.training._parts import Parts
from florafauna.training._resume import State
from florafauna.training.loop import train_epoch
from florafauna.training.trainable import parameter_groups

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="`make test-gpu` runs it where there is a GPU")
STRONG: dict[str, Any] = {"rand_augment": "rand-m9-n3-mstd0.5-inc1", "color_jitter": 0.2, "vertical_flip": 0.5}


def photos_of(place: Place, model_params: ModelParams, compute: Compute = CPU) -> Any:
    model, _ = place.built(model_params)
    return replace(place.photos(model, model_params), compute=compute), compute.place(model)


# memory

FAULTS = """
import resource, sys, torch
from florafauna.model.compute import reuse_freed_memory
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
        words = [quick(), "-c", FAULTS, how]
        faults[how] = int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert faults["reuse"] < faults["plain"] / 5, "tensors of 64 MiB are else mapped anew, each"


# float64


def test_what_is_summed_in_float64_is_not_summed_on_an_apple() -> None:
    """Its GPU has no float64: torch raises a TypeError."""
    found = {name: Compute(torch.device(name), "fp32").float64_device.type for name in ("cpu", "cuda", "xpu", "mps")}
    assert found == {"cpu": "cpu", "cuda": "cuda", "xpu": "xpu", "mps": "cpu"}
    moved = Loss(0.1, class_weights=torch.ones(3), log_prior=torch.zeros(3)).to(torch.device("meta"))
    assert moved.class_weights is not None
    assert moved.log_prior is not None
    assert (moved.label_smoothing, moved.class_weights.is_meta, moved.log_prior.is_meta) == (0.1, True, True)
    assert Loss().to(torch.device("meta")) == Loss()


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


@pytest.mark.parametrize(
    ("steps", "plain", "compiled", "used"),
    [(1000, 0.10, 0.05, True), (1000, 0.10, 0.06, False), (100, 0.10, 0.05, False), (10**6, 0.10, 0.11, False)],
)
def test_compiling_pays_if_the_steps_ahead_save_more_than_it_takes(
    steps: int, plain: float, compiled: float, used: bool
) -> None:
    decision = decide(steps, plain, compiled, compiling=45.0)
    assert decision.used is used
    assert f"compiling took 45 s, {steps:,} steps then {steps * compiled:,.0f} s instead of" in decision.why


def counted(monkeypatch: pytest.MonkeyPatch, backend: str = "aot_eager") -> list[str]:
    """A compiler that generates no code, and so takes a second; the list grows with each compiled pass."""
    whole, passes = torch.compile, list[str]()

    def quick(model: torch.nn.Module) -> Any:
        fast = whole(model, backend=backend)
        return lambda images: passes.append("compiled") or fast(images)

    monkeypatch.setattr(torch, "compile", quick)
    return passes


def test_what_is_decided_is_measured_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    passes = counted(monkeypatch)
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(12, 2))
    alone, images = copy.deepcopy(model), torch.randn(4, 3, 2, 2)
    forward = compiled_if_it_pays(model, 100, tmp_path / "tried.json", worth_trying=0.0)
    torch.testing.assert_close(forward(images), alone(images))
    assert all(map(torch.equal, model.buffers(), alone.buffers())), "measuring left the statistics alone"
    tried = remembered(tmp_path / "tried.json")
    assert tried is not None
    assert tried.plain
    assert tried.compiled
    assert tried.compiling
    assert tried == decide(100, tried.plain, tried.compiled, tried.compiling)
    assert capsys.readouterr().out == f"compile: auto does{'' if tried.used else ' not'} compile: {tried.why}\n"

    passes.clear()
    compiled_if_it_pays(model, 100, tmp_path / "short.json")(images)
    short = remembered(tmp_path / "short.json")
    assert short is not None
    assert "not tried, as all 100 steps take about 0 s" in short.why
    assert not passes
    torch._dynamo.reset()


@pytest.mark.parametrize("used", [True, False])
def test_a_resumed_training_keeps_to_what_was_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, used: bool
) -> None:
    passes = counted(monkeypatch)
    decided = decide(1000, plain=0.10, compiled=0.05 if used else 0.15, compiling=45.0)
    write_json(tmp_path / "kept.json", asdict(decided))
    compiled_if_it_pays(torch.nn.Linear(12, 2), 1, tmp_path / "kept.json")(torch.randn(4, 12))
    assert bool(passes) is used
    assert remembered(tmp_path / "kept.json") == decided
    torch._dynamo.reset()


def test_on_a_cpu_auto_trains_as_without(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, how in (("plain", False), ("auto", "auto")):
        place.trained(tmp_path / name, params("test_vit", epochs=1, warmup_epochs=0, compile=how))
    assert capsys.readouterr().out.count("compile: auto does not compile: not tried on a CPU") == 1
    files = [tmp_path / name / "model/model.safetensors" for name in ("plain", "auto")]
    assert files[0].read_bytes() == files[1].read_bytes()
    timings = [json.loads((tmp_path / name / "timing.json").read_text()) for name in ("plain", "auto")]
    assert timings[0]["compiling"] is None
    assert timings[1]["compiling"]["used"] is False


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
        feed = PixelFeed(photos, model, model)
    parts = place.parts(folder, model, model_params, feed)
    groups = parameter_groups(model, model_params)
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
