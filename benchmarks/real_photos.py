"""The whole pipeline on real photographs, through DVC: MobileNetV2 in the three strategies, on this machine."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import yaml

from benchmarks.results import Section
from benchmarks.shared import CONFIG, PHOTOS, TENSORFLOW, require_shared, weights

REPOSITORY = Path(__file__).resolve().parent.parent
CODE = ["florafauna", "stages", "dvc.yaml", "data/corrections.csv", ".dvcignore"]
STRATEGIES = {
    "efficientnet": "mobilenetv2_035, all layers",
    "convnext": "mobilenetv2_100, head only (solved)",
    "vit": "mobilenetv2_100, last stage and head",
}
ABOUT = """`dvc repro` of all stages on the shared set of real photos (15 species, near-duplicates kept on one side
of the split), weights pretrained on ImageNet. The test photos were used for nothing but these figures; the intervals
are over photos, resampled by cluster of duplicates. Seconds are those of training, the prefix included."""


def model(name: str, trainable: Any, **others: Any) -> dict[str, Any]:
    """One model's section of params.yaml."""
    start = {"file": f"data/weights/{name}.safetensors", **CONFIG}
    return {"architecture": {"name": name, **TENSORFLOW}, "weights": start, "trainable": trainable, **others}


def params() -> dict[str, Any]:
    """params.yaml of this benchmark."""
    photos = str(PHOTOS)
    tail = ["blocks.6", "conv_head", "bn2", "head"]
    return {
        "data": {"root": photos, "labels": photos},
        "split": {"val": 0.15, "test": 0.2, "seed": 0},
        "boxes": {"use": "whole"},
        "image": {"store_size": 256},
        "evaluate": {"folds": 0, "by": None, "final": "split", "resamples": 10_000},
        "training": {
            "epochs": 12,
            "batch_size": 64,
            "patience": 12,
            "train_size": 224,
            "optimizer": "adamw",
            "precision": "fp32",
            "augment": {"scale": [0.4, 1.0]},
        },
        "models": {
            "efficientnet": model("mobilenetv2_035", "all", rate=1.0e-3, epochs=5, patience=5, train_size=160),
            "convnext": model("mobilenetv2_100", "head", optimizer="lbfgs", views=3),
            "vit": model("mobilenetv2_100", tail, rate=1.0e-3, views=2, epochs=8, patience=8),
        },
    }


def run() -> Section:
    """Set a project up in a temporary folder, run it, read its metrics."""
    require_shared()
    with TemporaryDirectory() as folder:
        root = Path(folder) / "repository"
        set_up(root, params())
        start = time.monotonic()
        command(root, "dvc", "repro")
        seconds = time.monotonic() - start
        comparison = json.loads((root / "metrics/details/comparison.json").read_text())
        training = pd.read_csv(root / "plots/costs.csv", index_col="model")["training_seconds"].to_dict()
        rows = []
        for name, scores in comparison["models"].items():
            interval = f"{scores['weighted_f1_low']:.3f} to {scores['weighted_f1_high']:.3f}"
            rows.append(
                (
                    STRATEGIES.get(name, f"{name} of the three"),
                    f"**{scores['weighted_f1']:.3f}** ({interval})",
                    f"{scores['accuracy']:.3f}",
                    f"{scores['trainable_parameters']:,} of {scores['parameters']:,}",
                    f"{training[name]:.0f} s",
                )
            )
    verdict = comparison["verdict"]
    for slot, name in STRATEGIES.items():
        verdict = verdict.replace(slot, f"'{name}'")
    groups = f"{comparison['n']} test photos in {comparison['groups']} groups, {seconds:.0f} s in all. {verdict}."
    columns = ("model and strategy", "test weighted F1 (95 %)", "accuracy", "trained parameters", "training")
    return Section("Real photos", f"{ABOUT}\n\n{groups}", columns, rows)


def set_up(root: Path, tree: dict[str, Any]) -> None:
    """A repository with this checkout's code, `tree` as its params and the shared weights; nothing is committed."""
    for name in CODE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / name, root / name)
    (root / "data/weights").mkdir(parents=True)
    for name in ("mobilenetv2_035", "mobilenetv2_100") if PHOTOS.is_dir() else ():
        shutil.copy(weights(name), root / f"data/weights/{name}.safetensors")
    (root / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    command(root, "git", "init", "-q")
    command(root, "dvc", "init", "-q")


def command(root: Path, *words: str) -> None:
    """Run a command there."""
    subprocess.run(words, cwd=root, env=programs(), check=True)


def programs() -> dict[str, str]:
    """The environment with this Python's programs first on the path, and without DVC's report of each command."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1"}
