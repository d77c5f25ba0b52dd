"""What the models of the presets need: parameters, arithmetic and memory, computed without a GPU."""

import copy
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu import BF16_PEAKS
from benchmarks.results import Section
from florafauna.commands.params import load_params
from florafauna.model.network import at_size, create
from florafauna.model.settings import Architecture, ModelParams
from florafauna.pixels.centre import PREDICTION_BATCH
from florafauna.training.trainable import count_parameters, data_config, freeze, set_training_modes


class Measured(NamedTuple):
    """A row of the section of `gpu`: all layers, 224 px, batches of 128, on an H200 that reaches `PEAK`."""

    model: str
    photos_per_second: float
    gibibytes: float


PRESETS = Path(__file__).resolve().parent.parent / "presets"
MEASURED = {  # by what the architecture's name contains; all others are ViTs
    "efficientnet": Measured("tf_efficientnetv2_s", 2079, 9.8),
    "convnext": Measured("convnext_base", 1382, 16.9),
    "": Measured("vit_base_patch16_224", 2629, 9.6),
}
PEAK = 801e12  # flops a second
CLASSES, PHOTOS, CARD = 100, 10_000, "L4"
ADAM = 8  # bytes a trained parameter: two moments in float32
ABOUT = """Memory is that of one training step in bf16 with the preset's batch (of a head that is solved for: of a
forward pass of {batch} photos), {classes} classes: every tensor of the step, as torch's MemTracker counts it on tensors
without content, and AdamW's two moments. What CUDA itself and its libraries take comes on top. For the three models
of `gpu` the same way computes, with what was measured in brackets, {check}. Minutes are an estimate, not measured:
{photos:,} training photos, all epochs or views, three forward passes' arithmetic for what is trained and one for what
is frozen, at the share of the peak that the nearest of those three models reached there ({shares}), of the {peak}
Tflop/s in bf16 that the data sheet of an NVIDIA {card} promises; less bandwidth of memory makes it longer. CPU:
measured, seconds of one thread for a forward pass of one photo at {cpu_px} px in fp32, random weights."""
CPU_PX, CPU_PHOTOS = 224, 8


def run() -> Section:
    """All presets, and the check of the way that memory is computed."""
    warnings.filterwarnings("ignore")
    presets = {name: load_params(PRESETS / f"{name}.yaml").models for name in ("laptop", "gpu", "best")}
    shares, checks = {}, []
    for family, (name, speed, measured) in MEASURED.items():
        model = create(at_size(Architecture(name=name), {}, 224, 224), 10, {})
        shares[family] = speed * 3 * _flops(model, 224) / PEAK
        checks.append(f"{_memory(model, 224, 128, trains=True) / 2**30:.1f} GiB ({measured})")
        print(name, shares[family], checks[-1], flush=True)
    rows = []
    for preset, models in presets.items():
        for name, params in models.items():
            share = shares[next(family for family in MEASURED if family in params.architecture.name)]
            rows.append((f"{preset}, {name}", *_row(params, share, on_cpu=preset == "laptop")))
            print(rows[-1], flush=True)
    about = ABOUT.format(
        batch=PREDICTION_BATCH, classes=CLASSES, check=", ".join(checks), photos=PHOTOS, card=CARD,
        shares=", ".join(f"{share:.0%}" for share in shares.values()), peak=BF16_PEAKS[CARD], cpu_px=CPU_PX,
    )  # fmt: skip
    columns = ("model", "architecture", "px", "parameters", "trained", "Gflop a photo", "memory", "est. minutes", "CPU")
    return Section("What the presets need", about, columns, rows)


def _row(params: ModelParams, share: float, on_cpu: bool) -> tuple[str, ...]:
    sized = at_size(params.architecture, {}, params.train_size, params.test_size)
    model = create(sized, CLASSES, {}, params.drop_path)
    size = data_config(model, params).train_size
    freeze(model, params.trainable, params.norms)
    parameters, trained = count_parameters(model)
    solved = params.optimizer == "lbfgs"
    memory = _memory(model, size, PREDICTION_BATCH if solved else params.batch_size, trains=not solved)
    flops = _flops(model, size)
    epochs = params.epochs * (1 + 2 * trained / parameters) + (params.head_init == "probe")
    minutes = PHOTOS * flops * (params.views + 1 if solved else epochs) / (share * BF16_PEAKS[CARD] * 1e12) / 60
    return (
        params.architecture.name,
        str(size),
        f"{parameters / 1e6:.1f} M",
        f"{trained / 1e6:.2f} M",
        f"{flops / 1e9:.1f}",
        f"{memory / 2**30:.1f} GiB",
        f"{minutes:.1f}",
        f"{_cpu_seconds(model):.2f} s" if on_cpu else "",
    )


def _memory(model: nn.Module, size: int, batch: int, trains: bool) -> float:
    """Bytes at the highest of one step."""
    if trains:
        set_training_modes(model)
    else:
        model.eval()
    fake, mode = _fake(model, trains)
    with mode:
        photos, targets = torch.empty(batch, 3, size, size), torch.zeros(batch, dtype=torch.long)
        tracker = MemTracker()
        tracker.track_external(fake, photos, targets)
        with tracker, torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(trains):
            logits = fake(photos)
            if trains:
                cross_entropy(logits.float(), targets).backward()
        peak: dict[Any, dict[str, int]] = tracker.get_tracker_snapshot("peak")
    return max(each["Total"] for each in peak.values()) + ADAM * count_parameters(model)[1] * trains


def _flops(model: nn.Module, size: int) -> int:
    """Of one photo, forward."""
    fake, mode = _fake(model.eval(), trains=False)
    with mode, torch.no_grad(), FlopCounterMode(display=False) as counter:
        fake(torch.empty(1, 3, size, size))
    return counter.get_total_flops()


def _fake(model: nn.Module, trains: bool) -> tuple[nn.Module, FakeTensorMode]:
    """A copy without content, its frozen parameters as buffers: MemTracker takes every parameter for a trained one."""
    mode = FakeTensorMode()
    with FakeCopyMode(mode):
        fake = copy.deepcopy(model)
    for module in fake.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if not (trains and parameter.requires_grad):
                delattr(module, name)
                module.register_buffer(name, parameter.detach())
    return fake, mode


@torch.inference_mode()
def _cpu_seconds(model: nn.Module) -> float:
    """Of one photo in a small batch, forward, on one thread: the thread's own time, whatever else runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    photos = torch.randn(CPU_PHOTOS, 3, CPU_PX, CPU_PX)
    model.eval()(photos)
    start = time.thread_time()
    model(photos)
    torch.set_num_threads(threads)
    return (time.thread_time() - start) / CPU_PHOTOS
