"""A project folder as the stages leave it, with drawn photos and made-up logits, written by the real writers."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from florafauna.base.files import sha256_file, write_atomic, write_json
from florafauna.compare.compare import compare
from florafauna.folds.out_of_fold import OutOfFold, read_out_of_fold, write_nothing, write_out_of_fold
from florafauna.photos.settings import BoxParams
from florafauna.photos.sources import open_source
from florafauna.preprocess._write import build_store
from florafauna.scores.predictions import Predictions, write_predictions
from florafauna.scores.score import score
from florafauna.scores.settings import EvaluateParams
from florafauna.split._examples import write_examples

MARKUP = "<img src=x onerror=alert(1)>"
NAMES = [MARKUP, 'Bubo "bubo", juv.', "Bellis perennis", "Lynx lynx", "Parus major", "Vulpes vulpes"]
TAXA = {  # the class that is markup is no animal and no plant
    'Bubo "bubo", juv.': {"kingdom": "Animalia", "class": "Aves", "genus": "Bubo"},
    "Bellis perennis": {"kingdom": "Plantae", "class": "Magnoliopsida", "genus": "Bellis"},
    "Lynx lynx": {"kingdom": "Animalia", "class": "Mammalia", "genus": "Lynx"},
    "Parus major": {"kingdom": "Animalia", "class": "Aves", "genus": "Parus"},
    "Vulpes vulpes": {"kingdom": "Animalia", "class": "Mammalia", "genus": "Vulpes"},
}
EVALUATE = EvaluateParams(resamples=200, precision=0.35)  # what so few photos can show
MD5 = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Project:
    """Where it lies, the classes, the trained models, and the test photos whose labels were planted wrong."""

    root: Path
    labels: list[str]
    models: list[str]  # without the ensemble
    planted: list[str]

    @property
    def page(self) -> Path:
        return self.root / "reports/index.html"

    @property
    def rows(self) -> list[str]:
        """The models, and their ensemble where there are several."""
        return [*self.models, *(["ensemble"] if len(self.models) > 1 else [])]

    def write(self) -> str:
        """Write the report (again); its text."""
        compare(self.models, EVALUATE, self.root)
        return self.page.read_text(encoding="utf-8")


def make_project(
    root: Path,
    labels: list[str],
    models: tuple[str, ...] = ("oak", "elm"),
    each: int = 8,
    git: bool = False,
    taxa: dict[str, dict[str, str]] | None = None,
    folds: bool = False,
    cameras: bool = False,
) -> Project:
    """`each` test photos and half as many validation photos of each class; `taxa` names those of classes by rank.

    With `folds` all photos are cross-validated, by group and by site, and one test label was corrected on advice.
    Photos of `cameras` have boxes, sequences of two, and two sites, one of which has a name that is markup.
    """
    labels = sorted(labels)
    generator = np.random.default_rng(7)
    photos = _draw(root / "photos", labels, each, generator)
    test = photos[photos["split"] == "test"].reset_index(drop=True)
    facts = {}
    if cameras:
        photos, facts = _of_cameras(photos), {"boxes": BoxParams().model_dump_json()}
        test = _of_cameras(test).assign(boxes=["3,4,10,12 15,2,8,8" if row else "" for row in range(len(test))])
    build_store(test, labels, open_source(root / "photos"), root / "data/processed/test", 32, workers=1, facts=facts)
    order = pd.concat([test, photos[photos["split"] == "val"]], ignore_index=True)
    targets = order["target"].to_numpy()
    planted = [3, len(test) // 2]
    common = generator.normal(size=(len(order), len(labels)))
    for number, name in enumerate(models):
        logits = 1.2 * common + generator.normal(size=common.shape)
        logits[np.arange(len(order)), targets] += 3.5 - number
        logits[planted, targets[planted]] -= 9
        logits[planted, (targets[planted] + 1) % len(labels)] += 12
        ancestors = tuple((taxa or {}).get(label, {}) for label in labels)
        covered = np.where(order["split"].to_numpy()[:, None] == "test", common, np.nan) if cameras else None
        covered = None if covered is None else covered.astype(np.float32)
        predictions = Predictions(name, labels, order, logits.astype(np.float32), ancestors, covered=covered)
        _write_folds(root / f"predictions/folds/{name}", predictions if folds else None)
        _write_model(root, predictions, number)
    _write_data(root, labels, each, [str(test["path"].iat[5])] if folds else [])
    if git:
        for command in (["init", "--quiet"], ["-c", "user.name=a", "-c", "user.email=a@b.c", *COMMIT]):
            subprocess.run(["git", "-C", str(root), *command], check=True, capture_output=True)
    project = Project(root, labels, list(models), [str(order["path"][row]) for row in planted])
    project.write()
    return project


COMMIT = ["commit", "--quiet", "--allow-empty", "-m", "first"]


def _of_cameras(photos: pd.DataFrame) -> pd.DataFrame:
    sites = [MARKUP if number % 3 else "creek" for number in range(len(photos))]
    return photos.assign(sequence=photos["group"], location=sites)


def _draw(folder: Path, labels: list[str], each: int, generator: np.random.Generator) -> pd.DataFrame:
    folder.mkdir(parents=True)
    rows = []
    for split, count in (("test", each), ("val", max(2, each // 2))):
        for target, label in enumerate(labels):
            for number in range(count):
                path = f'{split} {target:03d}, "{number}".png'  # what a CSV has to quote
                width, height = (44, 33) if number % 2 else (33, 40)
                pixels = generator.integers(0, 255, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels).resize((width, height)).save(folder / path)
                rows.append(
                    [
                        path,
                        label,
                        target,
                        split,
                        "",
                        f"g{target}-{number // 2}",
                        "",
                        sha256_file(folder / path),
                        width,
                        height,
                    ]
                )
    columns = ["path", "label", "target", "split", "held_out", "group", "cluster", "sha256", "width", "height"]
    return pd.DataFrame(rows, columns=columns).sort_values(["split", "path"], ignore_index=True)


def _write_folds(folder: Path, predictions: Predictions | None) -> None:
    """The model's own logits for out-of-fold ones; a third of the answers at a new site are another's."""
    if predictions is None:
        write_nothing(folder)
        return
    photos = predictions.photos.drop(columns=["sha256", "width", "height"])
    count = len(photos)
    photos = photos.assign(site=[("brook", "moor", "<b>wood</b>")[row % 3] for row in range(count)], fold=0, fold_by=0)
    elsewhere = np.where(np.arange(count)[:, None] % 3 == 0, np.roll(predictions.logits, 1, axis=1), predictions.logits)
    facts = {"folds": 5, "by": "site", "final": "split", "runs": [], "runs_by": []}
    write_out_of_fold(folder, OutOfFold(photos, predictions.labels, predictions.logits, elsewhere, facts))


def _write_model(root: Path, predictions: Predictions, number: int) -> None:
    name = predictions.model
    write_predictions(root / f"predictions/{name}/logits.parquet", predictions)
    model = {"parameters": 10 ** (5 + number), "trainable_parameters": 6_930, "best_epoch": 2, "megabytes": 1.437}
    scores = score(predictions, EVALUATE, read_out_of_fold(root / f"predictions/folds/{name}"))
    write_json(root / f"metrics/details/{name}.json", scores.details | {"model": model})
    write_json(root / f"predictions/{name}/per_class.json", scores.per_class)
    history = pd.DataFrame({"epoch": [1, 2, 3], "step": [9, 18, 27], "lr": [1e-3, 5e-4, 1e-5]}).assign(
        train_loss=[2.0, 1.1, 0.9],
        val_loss=[1.9, 1.2, 1.3],
        val_accuracy=[0.4, 0.8, 0.7],
        val_weighted_f1=[0.4, 0.8, 0.7],
    )
    write_atomic(root / f"models/{name}/history.csv", history.to_csv(index=False))
    write_json(
        root / f"models/{name}/bundle.json",
        {
            "format": 2,
            "architecture": {"name": f"timm_{name}", "img_size": 128},
            "weights": {"source": "file", "name": f"{name}.safetensors", "sha256": "ab" * 32, "licence": None},
            "licence_demands": None if number else "keep <this> copy",
            "best_epoch": 2,
            "params": {"rate": 0.125 / (1 + number), "trainable": "all"},
            "versions": {"torch": "2.9.9", "timm": "1.0.99"},
            "sha256": f"{number}c" * 32,
        },
    )
    machine = {"device": "cpu", "hardware": f"<cpu {number}>, 2 threads"}
    spent = {"seconds": 12.25 * (1 + number), "photos_per_second": 310.1, "peak_memory_mb": 900, "precision": "fp32"}
    write_json(root / f"metrics/timing/{name}.json", spent | machine)
    write_json(root / f"predictions/{name}/timing.json", {"photos_per_second": 400.5 + number} | machine)


def _write_data(root: Path, labels: list[str], each: int, advised: list[str]) -> None:
    count = {
        "input": 2 * each + 1,
        "used": 2 * each,
        "quarantined": 1,
        "train": 3,
        "val": max(2, each // 2),
        "test": each,
    }
    facts = {
        "photos": {"input": 1205, "used": 1200, "quarantined": 5},
        "classes": len(labels),
        "imbalance": 1.75,
        "splits": {"train": 700, "val": 240, "test": 260},
        "shares": {"train": 0.6, "val": 0.2, "test": 0.2},
        "groups": {"named": 44, "photos": 200},
        "bursts": {"joined": 3, "photos": 8},
        "boxes": {"use": "crop", "boxes": 180, "photos_without": 20},
        "duplicates": {"clusters": 4, "photos": 9, "exact": 2},
        "quarantine": {"label_conflict": 4, "truncated": 1},
        "suspects": {
            "seen_once": ["Parus mayor"],
            "look_like_none": [],
            "spelling": [["Bubo bubo", "bubo bubo"]],
            "near_duplicates_with_other_labels": [
                {"paths": ["twin0.jpg", "twin1.jpg"], "labels": ["Lynx", "<b>Vulpes</b>"]}
            ],
            "extension_is_not_the_format": ["really_a_png.jpg"],
        },
        "corrected": {"by_a_person": 2, "on_a_models_advice": advised},
        "waivers": {labels[1]: ["train"]},
        "leaks": [],
        "crossing": {"groups": 0, "duplicates": 0, "contents": 0},
        "format": "folders",
        "per_class": dict.fromkeys(labels, count),
    }
    write_json(root / "metrics/data.json", facts)
    rows = [["cut.jpg", labels[0], "truncated", "the file ends early"]]
    rows += [[f"twin{number}.jpg", labels[2], "label_conflict", "the same file"] for number in range(4)]
    quarantine = pd.DataFrame(rows, columns=["path", "label", "reason", "detail"])
    write_atomic(root / "data/quarantine.csv", quarantine.to_csv(index=False))
    (root / "twins").mkdir()
    twins = [f"twin{number}.jpg" for number in range(4)]
    for name in twins:
        Image.new("RGB", (40, 30), "olive").save(root / "twins" / name)
    copies = {"path": twins, "split": "train", "label": "<b>Vulpes</b>", "cluster": "c1"}
    mixed = facts["suspects"]["near_duplicates_with_other_labels"]
    write_examples(root / "data/examples.parquet", open_source(root / "twins"), pd.DataFrame(copies), quarantine, mixed)
    out = {"path": "data/manifest.csv", "hash": "md5", "md5": MD5, "size": 43210}
    lock = yaml.safe_dump(
        {"schema": "2.0", "stages": {"split": {"cmd": "a", "deps": [{"path": "photos"}], "outs": [out]}}}
    )
    write_atomic(root / "dvc.lock", lock)
