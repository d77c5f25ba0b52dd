"""Draws the folds, trains one model for each, and gathers what each says of the photos left out."""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import timm
import torch

from florafauna.base.code import code_hash
from florafauna.base.components import components
from florafauna.base.errors import UserError
from florafauna.base.files import atomic_path, fingerprint, sha256_file
from florafauna.base.metrics import weighted_f1
from florafauna.base.split_names import SPLITS
from florafauna.bundle.bundle import Bundle, load_trained, predict_together
from florafauna.crossval.crossval import CrossValidation
from florafauna.folds.draw import grouped_folds, one_part
from florafauna.folds.out_of_fold import COLUMNS, FINAL, FINAL_LOGITS, OutOfFold
from florafauna.model.compute import for_inference
from florafauna.model.ranks import by_first
from florafauna.model.settings import ModelParams
from florafauna.photos.crops import split_name
from florafauna.pixels.selection import write_selection
from florafauna.pixels.store import PixelStore
from florafauna.training.job import Settled, TrainingJob
from florafauna.training.loop import train

MAKERS = tuple(f"florafauna.{room}" for room in ("base", "bundle", "crossval", "folds", "model", "pixels", "training"))
SEED = 0  # of the draw: another one would only be another draw


@dataclass(frozen=True)
class Fold:
    """What one model is trained on, chosen by and scored on."""

    train: PixelStore
    val: PixelStore
    test: PixelStore


@dataclass(frozen=True)
class Scored:
    """What one fold gave: logits of its photos, float32 (photos, classes), and how its training went."""

    logits: np.ndarray
    facts: dict[str, Any]


def out_of_fold(job: CrossValidation) -> OutOfFold:
    """The logits of every photo that is not held out, each by a model that saw neither it nor its group."""
    if job.how.final == "all" and job.params.schedule == "plateau":
        raise UserError(
            f"evaluate.final: all also trains on the photos whose score models.{job.name}.schedule: plateau waits for; "
            "use cosine or constant, or final: split."
        )
    scratch = job.scratch / "folds" / job.name
    stores = [PixelStore(folder) for folder in job.stores]
    inside = np.concatenate([(store.table("held_out")["held_out"] == "").to_numpy() for store in stores])
    whole = _select(stores, inside, scratch / "whole")
    photos = _photos(job, stores, whole)
    used = set[Path]()
    keys = photos["group"].where(photos["group"] != "", "sha256=" + whole.table("sha256")["sha256"])
    photos["fold"] = _draw(whole, keys, job.how.folds)
    logits, facts = _all_folds(job, whole, photos["fold"].to_numpy(), keys, "", used)
    logits_by, facts_by = None, list[dict[str, Any]]()
    if job.how.by is not None:
        site = (job.how.by + "=" + photos["site"]).where(photos["site"] != "", "")
        joined = keys.groupby(components([keys, site])).transform("min")
        photos["fold_by"] = _draw(whole, joined, job.how.folds)
        logits_by, facts_by = _all_folds(job, whole, photos["fold_by"].to_numpy(), keys, job.how.by, used)
    by_first(lambda: _drop(set(scratch.glob("*.npz")) - used))  # of other photos, params or code
    if job.how.final == "all":
        _train_on_all(job, whole, photos, facts)
    asked = job.how.model_dump(mode="json")
    return OutOfFold(photos, whole.labels, logits, logits_by, asked | {"runs": facts, "runs_by": facts_by})


def _photos(job: CrossValidation, stores: list[PixelStore], whole: PixelStore) -> pd.DataFrame:
    """COLUMNS of the photos of `whole`, in its order; `site` is the manifest's."""
    names = [name for name in COLUMNS if name not in ("split", "site")]
    split = {path: split for split, store in zip(SPLITS, stores, strict=True) for path in store.names}
    photos = whole.table(*names)
    site = pd.Series("", index=photos.index)
    if job.how.by is not None:
        manifest = _manifest(job.manifest)
        if job.how.by not in manifest.columns:
            raise UserError(f"evaluate.by: {job.manifest} has no column '{job.how.by}'; run `dvc repro split`.")
        of_file = manifest.drop_duplicates("path").set_index("path")[job.how.by]  # several rows where boxes are shown
        site = photos["path"].map(lambda name: split_name(name)[0]).map(of_file).fillna("")
        if site[site != ""].nunique() < 2:
            raise UserError(f"evaluate.by: the column '{job.how.by}' needs two values at least; name another one.")
    return photos.assign(split=photos["path"].map(split), site=site)[COLUMNS]


def _manifest(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run `dvc repro split`.") from None


def _draw(whole: PixelStore, keys: pd.Series, folds: int) -> np.ndarray:
    return grouped_folds(whole.targets, keys.tolist(), folds, SEED)


def _all_folds(
    job: CrossValidation, whole: PixelStore, fold_of: np.ndarray, keys: pd.Series, by: str, used: set[Path]
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Logits of all photos, and a line of facts a fold. Adds the files that finished folds lie in to `used`."""
    logits = np.empty((len(whole), len(whole.labels)), dtype=np.float32)
    facts = []
    for number in range(job.how.folds):
        fold = _fold(job, whole, fold_of == number, keys)
        scored, file, known = _scored(job, fold)
        used.add(file)
        logits[fold_of == number] = scored.logits
        facts.append(scored.facts)
        f1 = weighted_f1(fold.test.targets, scored.logits.argmax(axis=1))
        which = f"{f'{by}, ' if by else ''}fold {number + 1} of {job.how.folds}{', as before' if known else ''}"
        sizes = f"{len(fold.train)} photos train, {len(fold.val)} choose the checkpoint"
        print(f"{job.name}: {which}, {sizes}: weighted F1 {f1:.4f} on {len(fold.test)} photos", flush=True)
    return logits, facts


def _fold(job: CrossValidation, whole: PixelStore, out: np.ndarray, keys: pd.Series) -> Fold:
    """The photos left `out`, and of the others as large a share as in the split to choose the checkpoint by."""
    share = len(PixelStore(job.stores[SPLITS.index("val")])) / len(whole)
    groups = keys[~out].nunique()
    if groups < 2:
        raise UserError("a fold leaves one group of photos to train on; raise evaluate.folds, or join fewer photos.")
    parts = min(max(2, round((~out).sum() / len(whole) / share)), groups)
    chosen_by = np.zeros(len(whole), dtype=bool)
    chosen_by[~out] = one_part(whole.targets[~out], keys[~out].tolist(), parts, SEED + 1)
    folder = job.scratch / "folds" / job.name
    return Fold(
        _select([whole], ~out & ~chosen_by, folder / "train"),
        _select([whole], chosen_by, folder / "val"),
        _select([whole], out, folder / "test"),
    )


def _scored(job: CrossValidation, fold: Fold) -> tuple[Scored, Path, bool]:
    """What a fold gave, the file that remembers it, and whether it was known."""
    folder = job.scratch / "folds" / job.name
    file = folder / f"{_key(job, fold)}.npz"
    names = fold.test.table("path", "sha256")
    wanted = (names["sha256"] + " " + names["path"]).to_numpy(dtype=str)  # of a photo, or of one of its boxes
    known = by_first(lambda: _remembered(file, wanted))
    if known is not None:
        return known, file, True
    found = _train(job, fold, folder)
    by_first(lambda: _remember(file, wanted, found))
    return found, file, False


def _drop(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink()


def _params(job: CrossValidation) -> ModelParams:
    return job.params.model_copy(update={"seeds": 1})


def _key(job: CrossValidation, fold: Fold) -> str:
    """Names a training: photos that it does not see, such as those it is scored on, do not count."""
    seen = [
        [store.contents, store.targets.tolist(), store.labels, store.store_size] for store in (fold.train, fold.val)
    ]
    made_by = [code_hash(*MAKERS), torch.__version__, timm.__version__]
    return fingerprint([_params(job).model_dump(mode="json"), sha256_file(job.initial), seen, made_by])[:24]


def _remember(file: Path, names: np.ndarray, found: Scored) -> None:
    with atomic_path(file) as temporary, temporary.open("wb") as opened:
        np.savez(opened, names=names, logits=found.logits, facts=np.array(json.dumps(found.facts)))


def _remembered(file: Path, wanted: np.ndarray) -> Scored | None:
    """What `file` holds of all `wanted` photos; None where one is missing, or the file is damaged."""
    try:
        with np.load(file) as saved:
            rows = {name: row for row, name in enumerate(saved["names"].tolist())}
            logits, facts = saved["logits"], json.loads(str(saved["facts"]))
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, BadZipFile):  # as numpy and zipfile take damage
        return None
    chosen = [rows.get(name) for name in wanted.tolist()]
    return None if None in chosen else Scored(logits[chosen], facts)


def _train(job: CrossValidation, fold: Fold, folder: Path) -> Scored:
    """Train on a fold as the model is trained, but with one seed, and score the photos left out."""
    out = folder / "trained"
    train(_training(job, fold.train, fold.val, out))
    trained = load_trained(out)
    facts = {
        "train": len(fold.train),
        "val": len(fold.val),
        "n": len(fold.test),
        "best_epoch": trained.info["best_epoch"],
        "l2": trained.info["l2"],
        "wise": trained.info["wise"] and trained.info["wise"]["share"],
        "val_weighted_f1": round(trained.info["val"]["weighted_f1"], 6),
    }
    logits = _logits(trained, fold.test)
    by_first(lambda: shutil.rmtree(out))
    return Scored(logits, facts)


def _train_on_all(job: CrossValidation, whole: PixelStore, photos: pd.DataFrame, runs: list[dict[str, Any]]) -> None:
    """Train the model that is handed on, on every photo, for as long as the folds found best on average.

    Its logits for the test photos, which it has seen, are kept as well: by them CI knows it again.
    """
    epochs = round(float(np.mean([run["best_epoch"] for run in runs])))
    l2s = [run["l2"] for run in runs]
    l2 = None if None in l2s else float(10 ** np.mean(np.log10(l2s)))
    shares = [run["wise"] for run in runs]  # of the fine-tuned weights
    params = _params(job) if None in shares else _params(job).model_copy(update={"wise": float(np.mean(shares))})
    folder, out = job.scratch / "folds" / job.name, job.out / FINAL
    everything = _select([whole], np.ones(len(whole), dtype=bool), folder / "all")
    val = _select([whole], (photos["split"] == "val").to_numpy(), folder / "val")  # for the log alone
    test = PixelStore(job.stores[SPLITS.index("test")])
    print(f"{job.name}: all {len(whole)} photos train", flush=True)
    train(replace(_training(job, everything, val, out), params=params, settled=Settled(epochs, l2)))
    logits = _logits(load_trained(out), test)
    by_first(lambda: _save(job.out / FINAL_LOGITS, logits))


def _save(path: Path, logits: np.ndarray) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, logits)


def _select(stores: Sequence[PixelStore], chosen: np.ndarray, folder: Path) -> PixelStore:
    by_first(lambda: write_selection(stores, chosen, folder))
    return PixelStore(folder)


def _training(job: CrossValidation, train_store: PixelStore, val: PixelStore, out: Path) -> TrainingJob:
    timing = job.scratch / "folds" / job.name / "timing.json"
    return TrainingJob(job.name, _params(job), job.initial, train_store.folder, val.folder, job.scratch, out, timing)


def _logits(trained: Bundle, store: PixelStore) -> np.ndarray:
    return predict_together(trained, store, for_inference(trained.info["precision"]))
