"""Training on a GPU: steps a second fed by the pipeline, against the same steps on data that is already there."""

import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pandas as pd
import torch
from torch import nn
from torch.autograd import DeviceType
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.photos import draw_folder
from benchmarks.processes import epochs_of
from benchmarks.results import Section
from benchmarks.timing import Pairs, in_turn
from benchmarks.training_parts import job, parts_of
from florafauna.base.files import sha256_file
from florafauna.model.compute import DTYPES, choose, hardware
from florafauna.model.settings import ModelParams
from florafauna.model.weights import make_initial_weights
from florafauna.photos.sources import open_source
from florafauna.preprocess._write import build_store
from florafauna.training._feeds import Batch, Feed, Photos, choose_feed
from florafauna.training._parts import Parts
from florafauna.training._resume import State
from florafauna.training.job import TrainingJob
from florafauna.training.loop import train_epoch

MODELS = ("tf_efficientnetv2_s", "convnext_base", "vit_base_patch16_224")
POLICY = "rand-m9-mstd0.5-inc1"
RUNS = 5
BF16_PEAKS = {"A100": 312, "H100": 989, "H200": 989, "L4": 121, "L40S": 362, "B200": 2250}  # dense Tflop/s, data sheets
ABOUT = """Fine-tuning of all layers in bf16 at {size} px, batches of {batch}, AdamW, RandAugment (`{policy}`);
{photos} drawn photos of 800×600 in a pixel store with a shorter side of {store} px; random weights. Both are
florafauna's training loop (`train_epoch`), an epoch of {steps} steps a run, in turn. florafauna's feed draws with
{workers} processes, which begin the next epoch ahead as in training; the clock waits {pause:.0f} s for that, so that it
does not slow the synthetic steps. Synthetic: one batch, normalised and on the GPU before the clock starts. Kernels:
what the GPU computes in a synthetic step, by torch.profiler; where that is much less than a step takes, the program
cannot launch them faster, whoever feeds it. Flops: those of one step, counted by torch.utils.flop_counter. Peak: of
the largest of a few bf16 matrix products in the same run ({measured:.0f} Tflop/s); {named}. All GPUs: how many times
the photos a second of one GPU they train on, in one process each (`DistributedDataParallel`), each fed as many photos
in batches as large as the one, and the share of the ideal that this is."""
PAUSE = 1.0  # seconds


@dataclass(frozen=True)
class Sizes:
    """How much is done."""

    size: int = 224
    store_size: int = 256
    batch: int = 128
    photos: int = 8960  # an epoch of the nature_12K set: what starting workers costs must not look larger than it is
    drawn: int = 48
    classes: int = 10
    matrix: int = 16384


@dataclass(frozen=True)
class Synthetic:
    """A feed of one batch that is on the device already."""

    own: Feed
    batch: Batch

    @property
    def batches_per_epoch(self) -> int:
        """As many as the photos would give."""
        return self.own.batches_per_epoch

    @property
    def prefix_seconds(self) -> float:
        """None."""
        return 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)

    def training(self, epoch: int, first: int) -> Iterator[Batch]:
        """The batch again and again."""
        for _ in range(first, self.batches_per_epoch):
            yield self.batch

    def logits(self, batch: Batch, training: bool) -> torch.Tensor:
        """As the pipeline's feed."""
        return self.own.logits(batch, training)


def run() -> Section:
    """On the GPU of this machine, or else a section that says that none was there."""
    columns = (
        "model",
        "synthetic",
        "florafauna",
        "share of it",
        "photos/s",
        "kernels a step",
        "memory",
        "of bf16 peak",
        "all GPUs",
    )
    if not torch.cuda.is_available():
        rows = [(name, *("not measured",) * (len(columns) - 1)) for name in MODELS]
        about = "No GPU was there: not measured. On a machine with one: `python -m benchmarks gpu`."
        return Section("Training on a GPU", about, columns, rows)
    sizes, gpus = Sizes(), torch.cuda.device_count()
    speeds = scaling(MODELS, sizes, gpus)  # first, while this process holds none of their memory
    peak = measured_peak(torch.device("cuda"), sizes.matrix)
    named = {name: figure for name, figure in BF16_PEAKS.items() if name in hardware().replace("-", " ").split()}
    rows = [(*row, speed) for row, speed in zip(measure(MODELS, sizes, peak), speeds, strict=True)]
    about = ABOUT.format(
        **{"size": sizes.size, "batch": sizes.batch, "policy": POLICY, "photos": sizes.photos},
        **{"store": sizes.store_size, "steps": sizes.photos // sizes.batch, "measured": peak / 1e12, "pause": PAUSE},
        workers=choose("auto").default_workers,
        named="; ".join(f"{name}'s data sheet says {figure}" for name, figure in named.items())
        or "the card is not among those whose data sheet is known here",
    )
    return Section("Training on a GPU", f"{about}\n\nThe GPU: {hardware()}.", columns, rows)


def measure(
    models: tuple[str, ...], sizes: Sizes, peak: float, runs: int = RUNS, precision: str = "auto", **others: Any
) -> list[tuple[str, ...]]:
    """A row a model. `others` are further params; `peak` is in flop/s."""
    with TemporaryDirectory() as name:
        root = Path(name)
        stores(root, sizes)
        return [_row(model, root, sizes, peak, runs, precision, others) for model in models]


def scaling(models: tuple[str, ...], sizes: Sizes, gpus: int, epochs: int = RUNS, precision: str = "auto") -> list[str]:
    """How many times as many photos a second each model is trained on by all `gpus` as by one."""
    if gpus < 2:
        return ["not measured, one was there"] * len(models)
    with TemporaryDirectory() as name:
        timed = []
        for count in (1, gpus):
            root = Path(name) / str(count)
            grown = replace(sizes, photos=sizes.photos * count, batch=sizes.batch * count)
            stores(root, grown)
            jobs = [_job(model, root, grown, precision, {}) for model in models]
            timed.append(epochs_of(jobs, [epochs] * len(models), count, root / "epochs"))
    speeds = [
        gpus * statistics.median(one.seconds) / statistics.median(every.seconds)
        for one, every in zip(*timed, strict=True)
    ]
    return [f"{gpus}: **{speed:.2f}×** ({speed / gpus:.0%})" for speed in speeds]


def stores(root: Path, sizes: Sizes) -> None:
    """Pixel stores of drawn photos; those for validation are not used, but a training has them."""
    manifest = draw_folder(root / "photos", 800, 600, sizes.drawn, sizes.photos, sizes.classes)
    labels = sorted(manifest["label"].unique())
    for split, rows in (("train", manifest), ("val", manifest[: sizes.classes])):
        build_store(pd.DataFrame(rows), labels, open_source(root / "photos"), root / "store" / split, sizes.store_size)


def _row(
    model: str, root: Path, sizes: Sizes, peak: float, runs: int, precision: str, others: dict[str, Any]
) -> tuple[str, ...]:
    work = _job(model, root, sizes, precision, others)

    def feed(photos: Photos, model: nn.Module) -> Feed:
        return choose_feed(photos, model, sha256_file(work.initial), work.scratch / "features")[0]

    fed = parts_of(work, feed)
    synthetic = replace(fed, feed=cast(Feed, Synthetic(fed.feed, next(iter(fed.feed.training(0, 0))))))
    flops = step_flops(synthetic)
    if fed.compute.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    states = {"synthetic": State(), "fed": State()}

    def epoch(parts: Parts, state: State) -> None:
        train_epoch(parts, state)  # reads the loss at its end, and so waits for the GPU
        state.epoch, state.batch, state.loss_sum = state.epoch + 1, 0, 0.0

    ways = (
        lambda: epoch(synthetic, states["synthetic"]),
        lambda: epoch(fed, states["fed"]),
        lambda: time.sleep(PAUSE),
    )
    in_turn(ways, 1)  # cuDNN's choices, the allocator
    timed = Pairs(*in_turn(ways, runs)[:2])
    memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if fed.compute.on_gpu else ""
    shutil.rmtree(root / "scratch", ignore_errors=True)
    steps = fed.feed.batches_per_epoch
    seconds = statistics.median(timed.ours)
    return (
        f"{model}, {fed.compute.precision}",
        f"{steps / statistics.median(timed.theirs):.2f} steps/s",
        f"{steps / seconds:.2f} steps/s",
        timed.ratio,
        f"{steps * sizes.batch / seconds:,.0f}",
        f"{1e3 * kernel_seconds(synthetic):.0f} of {1e3 * statistics.median(timed.theirs) / steps:.0f} ms",
        memory,
        f"{flops * steps / seconds / peak:.0%}",
    )


def _job(model: str, root: Path, sizes: Sizes, precision: str, others: dict[str, Any]) -> TrainingJob:
    params = ModelParams.model_validate(
        {
            "architecture": {"name": model},
            "weights": {"source": "none"},
            "trainable": "all",
            "optimizer": "adamw",
            "rate": 1e-5,
            "epochs": 1000,  # of which a few are run
            "batch_size": sizes.batch,
            "train_size": sizes.size,
            "test_size": sizes.size,
            "precision": precision,
            "augment": {"rand_augment": POLICY},
            **others,
        }
    )
    initial = root / f"{model}.safetensors"
    make_initial_weights(params.architecture, params.weights, initial)
    return job(params, root / "store", initial, root / "scratch")


def step_flops(parts: Parts) -> int:
    """Floating-point operations of the forward and backward pass of one batch."""
    batch = next(iter(parts.feed.training(0, 0)))
    parts.model.train()
    with FlopCounterMode(display=False) as counter:
        with parts.compute.autocast():
            logits = parts.feed.logits(batch, training=True)
        cross_entropy(logits.float(), batch.targets).backward()
    parts.optimizer.zero_grad(set_to_none=True)
    return int(counter.get_total_flops())


def kernel_seconds(parts: Parts, steps: int = 3) -> float:
    """What the GPU computes in one training step, whoever waits for whom."""
    batches = list(islice(parts.feed.training(0, 0), steps))
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        for batch in batches:
            with parts.compute.autocast():
                logits = parts.feed.logits(batch, training=True)
            cross_entropy(logits.float(), batch.targets).backward()
            parts.optimizer.step()
            parts.optimizer.zero_grad(set_to_none=True)
        _wait(parts.compute.device)
    kernels = [event for event in profiled.events() or () if event.device_type == DeviceType.CUDA]
    return sum(event.time_range.elapsed_us() for event in kernels) / 1e6 / steps


def measured_peak(device: torch.device, matrix: int, precision: str = "bf16", tries: int = 20) -> float:
    """Flop/s of square matrix products in a precision: the best of a few sizes, each timed over several products."""
    best = 0.0
    for side in (matrix // 4, matrix // 2, matrix):
        left = torch.randn(side, side, device=device).to(DTYPES[precision])
        right = torch.randn(side, side, device=device).to(DTYPES[precision])
        left @ right
        _wait(device)
        start = time.perf_counter()
        for _ in range(tries):
            left @ right
        _wait(device)
        best = max(best, 2 * side**3 * tries / (time.perf_counter() - start))
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
