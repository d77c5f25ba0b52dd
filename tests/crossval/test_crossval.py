"""Cross-validation: every photo is scored once, by a model that saw neither it nor its group, nor its site."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.tiny import Place, params
from safetensors.torch import load_file

from florafauna.base.errors import UserError
from florafauna.crossval import _folds
from florafauna.crossval.crossval import CrossValidation, cross_validate
from florafauna.folds.out_of_fold import LOGITS, OutOfFold, read_out_of_fold
from florafauna.folds.settings import FoldParams
from florafauna.pixels.selection import write_selection
from florafauna.pixels.store import PixelStore
from florafauna.training.job import TrainingJob
from florafauna.training.loop import train as really_train

SOLVED = params(trainable="head", views=1, optimizer="lbfgs", seeds=2)


def job(place: Place, folder: Path, how: FoldParams, model: object = SOLVED) -> CrossValidation:
    return CrossValidation(
        "newts",
        model,
        how,
        initial=place.initial(model.architecture),
        stores=(place.root / "train", place.root / "val", place.root / "test"),
        manifest=place.root / "manifest.csv",
        scratch=folder / "scratch",
        out=folder / "out",
    )


def found_in(folder: Path) -> OutOfFold:
    found = read_out_of_fold(folder)
    assert found is not None
    return found


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[set[str], set[str]]]:
    """The photos that each training saw: to train on, and to choose the checkpoint by."""
    seen: list[tuple[set[str], set[str]]] = []

    def train(work: TrainingJob) -> None:
        seen.append((set(PixelStore(work.train).names), set(PixelStore(work.val).names)))
        really_train(work)

    monkeypatch.setattr(_folds, "train", train)
    return seen


def test_every_photo_is_scored_by_a_model_that_saw_neither_it_nor_its_group(
    place: Place, tmp_path: Path, trainings: list[tuple[set[str], set[str]]]
) -> None:
    cross_validate(job(place, tmp_path, FoldParams(folds=3)))
    found = found_in(tmp_path / "out")
    photos = found.photos
    manifest = pd.read_csv(place.root / "manifest.csv", keep_default_na=False)
    assert sorted(photos["path"]) == sorted(manifest.loc[manifest["held_out"] == "", "path"])
    assert found.logits.shape == (len(photos), 3)
    assert found.logits_by is None
    assert len(trainings) == 3
    for number, (train, val) in enumerate(trainings):
        scored = photos[photos["fold"] == number]
        assert not train & val
        assert train | val | set(scored["path"]) == set(photos["path"])
        for names in (train, val):
            groups = set(photos.loc[photos["path"].isin(names) & (photos["group"] != ""), "group"])
            assert not groups & set(scored["group"])
            assert not groups & set(photos.loc[photos["path"].isin((train | val) - names), "group"])
    assert [run["n"] for run in found.facts["runs"]] == photos["fold"].value_counts(sort=False).sort_index().tolist()


def test_whole_sites_are_left_out_besides(
    place: Place, tmp_path: Path, trainings: list[tuple[set[str], set[str]]]
) -> None:
    cross_validate(job(place, tmp_path, FoldParams(folds=3, by="location")))
    found = found_in(tmp_path / "out")
    assert found.by == "location"
    assert len(trainings) == 6
    photos = found.photos
    for number, (train, val) in enumerate(trainings[3:]):
        sites = set(photos.loc[photos["fold_by"] == number, "site"]) - {""}
        assert not sites & set(photos.loc[photos["path"].isin(train | val), "site"])
    assert found.logits_by is not None
    assert not np.array_equal(found.logits, found.logits_by)
    kept = [json.loads(file.read_text())["photos"] for file in (tmp_path / "scratch/features").glob("*/complete.json")]
    assert kept == [58, 58], "what is frozen runs once for all folds: one view to train on, one as evaluated"


def test_a_selection_of_photos_trains_the_model_that_a_store_of_these_alone_trains(
    place: Place, tmp_path: Path
) -> None:
    """Pixels and features of a selection are read from those of all photos; the result is the same."""
    stores = [PixelStore(place.root / split) for split in ("train", "val")]
    write_selection(stores, np.ones(42, dtype=bool), tmp_path / "whole")
    whole = PixelStore(tmp_path / "whole")
    assert [whole.photo(row).tobytes() for row in range(42)] == [
        store.photo(row).tobytes()
        for path in whole.names
        for store in stores
        if (row := store.row_of(path)) is not None
    ]
    of_train = np.isin(np.array(list(whole.names)), np.array(list(stores[0].names)))
    for name, chosen in (("t", of_train), ("v", ~of_train)):
        write_selection([whole], chosen, tmp_path / name)
    train, val = PixelStore(tmp_path / "t"), PixelStore(tmp_path / "v")
    assert train.contents == stores[0].contents
    for number, model in enumerate((params(trainable="head", views=2), params(trainable="head", head_init="probe"))):
        plain = place.job(tmp_path / f"plain{number}", model)
        selected = replace(place.job(tmp_path / f"selected{number}", model), train=train.folder, val=val.folder)
        really_train(plain)
        really_train(selected)
        one, other = (load_file(work.out / "model.safetensors") for work in (plain, selected))
        for name, tensor in one.items():
            assert torch.allclose(tensor, other[name], atol=1e-5), name


def test_only_folds_whose_training_photos_changed_are_trained_again(
    place: Place, tmp_path: Path, trainings: list[tuple[set[str], set[str]]]
) -> None:
    first = job(place, tmp_path, FoldParams(folds=2))
    cross_validate(first)
    before = found_in(first.out)
    cross_validate(first)
    assert len(trainings) == 2, "nothing changed"
    assert np.array_equal(found_in(first.out).logits, before.logits)
    cross_validate(replace(first, how=FoldParams(folds=2, by="location")))
    assert len(trainings) == 4, "the folds of the groups were known"
    kept = sorted((tmp_path / "scratch/folds/newts").glob("*.npz"))
    kept[0].write_bytes(kept[0].read_bytes()[:100])
    cross_validate(replace(first, how=FoldParams(folds=2, by="location")))
    assert len(trainings) == 5, "a damaged file is made again"
    cross_validate(replace(first, params=params(trainable="head", views=1, optimizer="lbfgs", label_smoothing=0.1)))
    assert len(trainings) == 7
    assert len(list((tmp_path / "scratch/folds/newts").glob("*.npz"))) == 2, "what is no longer of use is dropped"


def test_a_killed_run_goes_on_with_the_fold_that_was_under_way(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainings: list[tuple[set[str], set[str]]]
) -> None:
    work = job(place, tmp_path, FoldParams(folds=2))
    scored = []

    def stop(*given: object) -> None:
        scored.append(given)
        if len(scored) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_folds, "load_trained", lambda folder: stop(folder) or load(folder))
        with pytest.raises(KeyboardInterrupt):
            cross_validate(work)
    assert not work.out.exists()
    cross_validate(work)
    assert len(trainings) == 2 + 1
    assert len(found_in(work.out).photos) == 58


load = _folds.load_trained


def test_damaged_logits_are_not_taken_for_right(place: Place, tmp_path: Path) -> None:
    cross_validate(job(place, tmp_path, FoldParams(folds=2)))
    file = tmp_path / "out" / LOGITS
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"out cannot be read \(logits.npy was damaged on disk\)"):
        read_out_of_fold(tmp_path / "out")


def test_a_remembered_fold_that_is_damaged_is_trained_again(tmp_path: Path) -> None:
    file, names = tmp_path / "fold.npz", np.array(["a"])
    _folds._remember(file, names, _folds.Scored(np.zeros((1, 3), dtype=np.float32), {}))
    assert _folds._remembered(file, names) is not None
    whole = file.read_bytes()
    flipped = (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(600, 720))
    for damaged in (b"", whole[:50], *flipped):
        file.write_bytes(damaged)
        found = _folds._remembered(file, names)
        assert found is None or not found.logits.any()


def test_without_folds_the_stage_says_so_and_trains_nothing(place: Place, tmp_path: Path) -> None:
    cross_validate(job(place, tmp_path, FoldParams()))
    assert read_out_of_fold(tmp_path / "out") is None
    assert not (tmp_path / "scratch").exists()


def test_a_column_that_cannot_be_left_out_by_is_named(place: Place, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"evaluate.by: .*manifest.csv has no column 'camera'"):
        cross_validate(job(place, tmp_path, FoldParams(folds=3, by="camera")))
    with pytest.raises(UserError, match="the column 'cluster' needs two values at least"):
        cross_validate(job(place, tmp_path, FoldParams(folds=3, by="cluster")))
    with pytest.raises(UserError, match="cannot be divided into 50 folds"):
        cross_validate(job(place, tmp_path, FoldParams(folds=50)))
