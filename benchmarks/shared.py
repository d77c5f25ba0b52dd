"""The real photos and weights that lie beside a checkout, if they do."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from florafauna.base.errors import UserError
from florafauna.base.files import sha256_file
from florafauna.model.settings import ModelParams
from florafauna.model.weights import make_initial_weights
from florafauna.photos.settings import DataParams
from florafauna.preprocess.preprocess import preprocess
from florafauna.split.dataset import prepare
from florafauna.split.settings import SplitParams

SHARED = Path(__file__).resolve().parents[2] / "shared"
PHOTOS = SHARED / "photos"
DATA = DataParams(root=str(PHOTOS), labels=str(PHOTOS))
FEW = {folder.name: 20 for folder in PHOTOS.glob("*/")}  # training photos of each class, for what has to be quick
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


def initial_weights(name: str, out: Path) -> None:
    """What the stage weights makes of a model's real weights."""
    model = mobilenet(name, trainable="all")
    make_initial_weights(model.architecture, model.weights.model_copy(update={"file": str(weights(name))}), out)


def mobilenet(name: str, **values: Any) -> ModelParams:
    """The params of a model with these weights, in fp32; `values` on top."""
    given = {"source": "file", "file": f"data/weights/{name}.safetensors", **CONFIG}
    model = {"architecture": {"name": name, **TENSORFLOW}, "weights": given, "precision": "fp32", "workers": 0}
    return ModelParams.model_validate(model | values)


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


def split_and_store(
    data: DataParams,
    split: SplitParams,
    work: Path,
    store_size: int,
    most: Mapping[str, int] | None = None,
    seed: int = 0,
) -> None:
    """The stages split and preprocess: pixel stores `work`/store/train, val and test, duplicates on one side.

    `most` limits the training photos of each class, which are then drawn by `seed`.
    """
    dataset = prepare(data, split, SHIPPED_CORRECTIONS, cache=work.parent / "audit")
    files = [work / name for name in ("manifest.csv", "quarantine.csv", "examples.parquet", "data.json", "places.csv")]
    dataset.write(*files)
    if most is not None:
        rows = pd.read_csv(files[0], keep_default_na=False)
        places = rows[rows["split"] == "train"].sample(frac=1, random_state=seed).groupby("label").cumcount()
        rows.drop(places.index[places >= rows.loc[places.index, "label"].map(most)]).to_csv(files[0], index=False)
    preprocess(files[0], Path(data.root), work / "store", store_size, work.parent / "pixels")
