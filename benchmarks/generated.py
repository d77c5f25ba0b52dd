"""Projects of many small generated photos, whose stages are run one by one, as DVC runs them."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from florafauna.base.cores import usable_cores

REPOSITORY = Path(__file__).resolve().parent.parent
SIDE = 48  # pixels of a photo; it is stored at STORE_SIZE
STORE_SIZE = 32
CLASSES = 20
LONG_AGO = 1_600_000_000  # seconds since the epoch: photos are rarely as new as these would be
GRID = 12  # random colours a side, which is enough for no two photos to look alike
MODELS: dict[str, dict[str, Any]] = {
    "efficientnet": {"trainable": "all"},
    "convnext": {"trainable": "head", "views": 1},
}


def write_photos(root: Path, count: int) -> None:
    """`count` different JPEGs in CLASSES folders."""
    workers = usable_cores()
    with ProcessPoolExecutor(workers, get_context("forkserver")) as pool:
        list(pool.map(_write_some, [root] * workers, [range(start, count, workers) for start in range(workers)]))


def _write_some(root: Path, numbers: range) -> None:
    for number in range(CLASSES):
        (root / f"class{number:02d}").mkdir(parents=True, exist_ok=True)
    for number in numbers:
        colours = np.random.default_rng(number).integers(0, 255, (GRID, GRID, 3), dtype=np.uint8)
        file = root / f"class{number % CLASSES:02d}/IMG_{number:06d}.jpg"
        Image.fromarray(colours).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, quality=85)
        os.utime(file, (LONG_AGO, LONG_AGO))


def params(photos: Path) -> dict[str, Any]:
    """params.yaml of such a project: the smallest models, one epoch."""
    return {
        "data": {"root": str(photos), "labels": str(photos), "format": "folder"},
        "split": {"val": 0.15, "test": 0.15, "seed": 0},
        "boxes": {"use": "whole"},
        "image": {"store_size": STORE_SIZE},
        "evaluate": {"folds": 0, "by": None, "final": "split", "resamples": 10_000},
        "training": {
            "epochs": 1,
            "warmup_epochs": 0,
            "batch_size": 128,
            "patience": 5,
            "train_size": STORE_SIZE,
            "optimizer": "adamw",
            "rate": 1.0e-3,
            "precision": "fp32",
        },
        "models": {
            name: {"architecture": f"test_{name}", "weights": {"source": "none"}, **others}
            for name, others in MODELS.items()
        },
    }


def set_up(root: Path, photos: Path) -> None:
    """A project with this checkout's code on the photos in `photos`."""
    for name in ("florafauna", "stages"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "data").mkdir()
    (root / "data/corrections.csv").write_text("path,label\n", encoding="utf-8")
    (root / "params.yaml").write_text(yaml.safe_dump(params(photos), sort_keys=False), encoding="utf-8")


def start(root: Path, stage: str, *names: str) -> subprocess.Popen[str]:
    """Start a stage; what it prints goes to a file."""
    with (root / f"{stage}.log").open("a", encoding="utf-8") as log:
        command = [sys.executable, "-m", f"stages.{stage}", *names]
        return subprocess.Popen(command, cwd=root, stdout=log, stderr=subprocess.STDOUT, text=True)


def finish(root: Path, stage: str, process: "subprocess.Popen[str]") -> None:
    """Wait for a stage; its last lines are the error where it failed."""
    if process.wait():
        lines = (root / f"{stage}.log").read_text(encoding="utf-8").splitlines()
        raise RuntimeError(f"{stage} failed: " + " | ".join(lines[-5:]))
