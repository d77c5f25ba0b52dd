"""The machine shared with other processes: what OpenMP's settings cost alone, and what neighbours cost florafauna."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import timm
import torch

from benchmarks.head_only import stores
from benchmarks.photos import draw_folder
from benchmarks.predict import make_bundle
from benchmarks.results import Section
from benchmarks.timing import Pairs, median_seconds
from benchmarks.training_parts import job, parts_of
from florafauna.base.cores import SPINS, usable_cores
from florafauna.model.settings import ModelParams
from florafauna.model.weights import make_initial_weights
from florafauna.predict.request import PredictionRequest
from florafauna.predict.run import predict
from florafauna.training._feeds import PixelFeed
from florafauna.training._resume import State
from florafauna.training.loop import train_epoch

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT, OURS = "libgomp's default", f"GOMP_SPINCOUNT={SPINS} (florafauna)"
SETTINGS = {
    DEFAULT: {},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    OURS: {"GOMP_SPINCOUNT": SPINS},
    "GOMP_SPINCOUNT=100000": {"GOMP_SPINCOUNT": "100000"},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
}
MODEL, PHOTOS, RUNS = "mobilenetv2_100", 256, 3
COUNTING = "while True: pass"
ABOUT = f"""{MODEL} at 224 px on {PHOTOS} drawn photos, each run in a process of its own, in turn {RUNS} times. Above,
forward passes in batches of 32: alone, compared with the default in the same round, and next to another process
that does the same with the same setting. Below, with florafauna's setting, an epoch of training in all layers and
`florafauna predict`, alone and next to as many processes as there are cores that do nothing but count; wanted: at most
3 times as long."""


def run() -> Section:
    """The settings, then training and prediction."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder)
        rounds = [{name: _both(folder, setting) for name, setting in SETTINGS.items()} for _ in range(RUNS)]
        rows = [
            (
                f"forward, {name}",
                f"{PHOTOS / statistics.median(each[name][0] for each in rounds):.0f}/s",
                f"{statistics.median(each[DEFAULT][0] / each[name][0] for each in rounds):.0%} of the default",
                f"{PHOTOS / statistics.median(each[name][1] for each in rounds):.0f}/s",
            )
            for name in SETTINGS
        ]
        for name in ("train", "score"):
            timed = _next_to_counting(name, folder)
            rows.append(
                (name, median_seconds(timed.ours), "", f"{median_seconds(timed.theirs)}, {timed.ratio} as long")
            )
    return Section("Beside other processes", ABOUT, ("", "alone", "", "beside others"), rows)


def _both(folder: Path, setting: Mapping[str, str]) -> tuple[float, float]:
    """Seconds of the forward passes alone, and of two processes at once."""
    alone = _seconds(_start("forward", folder, setting))
    two = [_start("forward", folder, setting) for _ in range(2)]
    return alone, max(map(_seconds, two))


def _next_to_counting(work: str, folder: Path) -> Pairs:
    """Seconds next to busy processes, and alone."""
    timed = Pairs([], [])
    for _ in range(RUNS):
        timed.ours.append(_seconds(_start(work, folder, SETTINGS[OURS])))
        busy = [subprocess.Popen([sys.executable, "-c", COUNTING]) for _ in range(usable_cores())]
        try:
            timed.theirs.append(_seconds(_start(work, folder, SETTINGS[OURS])))
        finally:
            for each in busy:
                each.kill()
                each.wait()
    return timed


def _start(work: str, folder: Path, setting: Mapping[str, str]) -> "subprocess.Popen[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-m", "benchmarks.beside", work, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=inherited | dict(setting))


def _seconds(process: "subprocess.Popen[str]") -> float:
    """What the process printed last: its own time, without that of imports."""
    out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"benchmarks.beside ended with {process.returncode}")
    return float(out.split()[-1])


# --- in a process of its own ---


def _prepare(folder: Path) -> None:
    manifest = draw_folder(folder / "photos", 320, 240, 16, PHOTOS)
    stores(
        manifest.assign(split=["val" if at % 8 == 0 else "train" for at in range(PHOTOS)]), folder / "photos", folder
    )
    make_initial_weights(_params().architecture, _params().weights, folder / "initial.safetensors")
    make_bundle(folder / "bundle", "fp32")


def _params() -> ModelParams:
    given = {"architecture": {"name": MODEL}, "weights": {"source": "none"}, "trainable": "all", "precision": "fp32"}
    return ModelParams.model_validate({**given, "batch_size": 32, "train_size": 224, "test_size": 224})


def forward(folder: Path) -> float:
    """Seconds of forward passes."""
    model = timm.create_model(MODEL).eval().to(memory_format=torch.channels_last)
    pixels = torch.randn(32, 3, 224, 224).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        model(pixels)
        start = time.monotonic()
        for _ in range(PHOTOS // len(pixels)):
            model(pixels)
    return time.monotonic() - start


def train(folder: Path) -> float:
    """Seconds of an epoch."""
    parts = parts_of(
        job(_params(), folder, folder / "initial.safetensors", folder / "scratch"),
        lambda photos, model: PixelFeed(photos, model, model),
    )
    start = time.monotonic()
    train_epoch(parts, State())
    return time.monotonic() - start


def score(folder: Path) -> float:
    """Seconds of `florafauna predict`."""
    out = folder / f"{os.getpid()}.csv"
    start = time.monotonic()
    predict(PredictionRequest((str(folder / "photos"),), out, "csv", 5, None, True), folder / "bundle")
    return time.monotonic() - start


if __name__ == "__main__":
    print({"forward": forward, "train": train, "score": score}[sys.argv[1]](Path(sys.argv[2])))
