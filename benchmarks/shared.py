"""The real photos and weights that lie beside a checkout, if they do."""

import shutil
from pathlib import Path

import pandas as pd
from PIL import Image

from florafauna.base.errors import UserError
from florafauna.base.files import sha256_file
from florafauna.photos.settings import DataParams
from florafauna.preprocess.preprocess import preprocess
from florafauna.split.dataset import prepare
from florafauna.split.settings import SplitParams

SHARED = Path(__file__).resolve().parents[2] / "shared"
PHOTOS = SHARED / "photos"
SHIPPED_CORRECTIONS = Path(__file__).resolve().parents[1] / "data/corrections.csv"  # none
# TensorFlow's padding and epsilon, and its normalisation, which belong to these weights
TENSORFLOW = {"pad_type": "same", "bn_eps": 0.001}
CONFIG = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "crop_pct": 0.875}


def require_shared() -> None:
    """`UserError` where the folder is not there."""
    if not PHOTOS.is_dir():
        raise UserError(f"{SHARED} is not on this machine; it holds the photos and weights of this benchmark.")


def weights(name: str) -> Path:
    """The file with a model's real weights."""
    return SHARED / "weights" / f"{name}.tf_in1k.safetensors"


def copy_photos(target: Path, of_a_class: int | None, source: Path = PHOTOS) -> int:
    """Copy so many photos of every class (None: all), evenly spaced in the order of their names; returns how many."""
    count = 0
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        files = sorted(path for path in folder.iterdir() if path.is_file())
        wanted = len(files) if of_a_class is None else min(of_a_class, len(files))
        chosen = [files[number * len(files) // wanted] for number in range(wanted)]
        (target / folder.name).mkdir(parents=True)
        for file in chosen:
            shutil.copy(file, target / folder.name / file.name)
        count += wanted
    return count


def manifest_of(photos: Path, one_in: int = 5) -> pd.DataFrame:
    """A manifest of a folder a class, one photo in so many for validation, sorted by path; duplicates are let be."""
    rows = []
    labels = sorted(folder.name for folder in photos.iterdir())
    for target, label in enumerate(labels):
        for number, file in enumerate(sorted((photos / label).iterdir())):
            with Image.open(file) as image:
                width, height = image.size
            split = "val" if number % one_in == one_in - 1 else "train"
            rows.append((f"{label}/{file.name}", label, target, split, sha256_file(file), width, height))
    columns = ["path", "label", "target", "split", "sha256", "width", "height"]
    manifest = pd.DataFrame(rows, columns=columns).sort_values("path", ignore_index=True)
    return manifest.assign(held_out="", group="", cluster="")


def split_and_store(data: DataParams, split: SplitParams, work: Path, store_size: int) -> None:
    """The stages split and preprocess: pixel stores `work`/store/train, val and test, duplicates on one side."""
    dataset = prepare(data, split, SHIPPED_CORRECTIONS, cache=work / "audit")
    files = ("manifest.csv", "quarantine.csv", "examples.parquet", "data.json", "places.csv")
    dataset.write(*(work / name for name in files))
    preprocess(work / "manifest.csv", Path(data.root), work / "store", store_size, work / "pixels")
