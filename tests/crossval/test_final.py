"""`final: all`: the bundle is the model that was trained on all photos, and says so."""

from pathlib import Path

import numpy as np
import pytest
from crossval.test_crossval import found_in, job
from helpers.machines import needs_posix
from helpers.ranks import train_by
from helpers.tiny import Place, params
from safetensors.torch import load_file

from florafauna.base.errors import UserError
from florafauna.bundle.bundle import load_bundle, predict_logits
from florafauna.bundle.info import read_info, read_training
from florafauna.crossval.crossval import cross_validate
from florafauna.evaluate.evaluate import EvaluationJob, evaluate
from florafauna.folds.out_of_fold import FINAL, FINAL_LOGITS
from florafauna.folds.settings import FoldParams
from florafauna.model.compute import for_inference
from florafauna.pixels.store import PixelStore
from florafauna.scores.calibration import fit_temperature
from florafauna.scores.settings import EvaluateParams

ALL = FoldParams(folds=2, final="all")
HEAD = params(trainable="head", views=1, epochs=4, rate=0.05)


@pytest.fixture(scope="module")
def folder(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was cross-validated, trained on all photos, and evaluated."""
    root = tmp_path_factory.mktemp("final")
    trained = place.trained(root / "split", HEAD)
    cross_validate(job(place, root, ALL, HEAD))
    files = {name: root / name for name in ("predictions", "metrics", "details", "bundle")}
    how = EvaluateParams(folds=2, final="all", resamples=100)
    test = place.root / "test"
    evaluate(EvaluationJob("newts", how, trained, place.val, test, root / "out", **files))
    return root


def test_the_last_epoch_of_a_training_on_all_photos_is_handed_on(place: Place, folder: Path) -> None:
    facts = found_in(folder / "out").facts
    info = read_training(folder / "out" / FINAL)
    assert info["photos"]["train"]["n"] == 58
    assert info["best_epoch"] == round(np.mean([run["best_epoch"] for run in facts["runs"]]))
    epochs = (folder / "out" / FINAL / "history.csv").read_text().splitlines()[1:]
    assert len(epochs) == info["best_epoch"], "none is trained after it"
    bundle, final = (load_file(path / "model.safetensors") for path in (folder / "bundle", folder / "out" / FINAL))
    assert all((bundle[name] == tensor).all() for name, tensor in final.items())


def test_its_logits_are_kept_for_ci(place: Place, folder: Path) -> None:
    bundle = load_bundle(folder / "bundle")
    again = predict_logits(bundle, PixelStore(place.root / "test"), for_inference(bundle.info["precision"]))
    assert np.allclose(np.load(folder / "out" / FINAL_LOGITS), again, atol=1e-4)


def test_it_is_calibrated_on_what_folds_said_of_photos_that_they_had_not_seen(folder: Path) -> None:
    found, info = found_in(folder / "out"), read_info(folder / "bundle")
    expected = fit_temperature(found.logits, found.photos["target"].to_numpy())
    assert info["calibration"]["temperature"] == pytest.approx(expected)
    card = (folder / "bundle/MODEL_CARD.md").read_text()
    assert "**This model was trained on all photos, also on those for validation and testing**" in card
    assert "which nothing was tuned on" not in card


@needs_posix
def test_two_processes_find_what_one_does(place: Place, folder: Path, tmp_path: Path) -> None:
    assert train_by(2, [job(place, tmp_path, ALL, HEAD)], tmp_path / "logs") == [0, 0]
    one, two = (found_in(root / "out").logits for root in (folder, tmp_path))
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)
    one, two = (np.load(root / "out" / FINAL_LOGITS) for root in (folder, tmp_path))
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)


def test_a_head_that_is_solved_for_keeps_the_l2_that_the_folds_chose(place: Place, tmp_path: Path) -> None:
    solved = params(trainable="head", views=1, optimizer="lbfgs")
    cross_validate(job(place, tmp_path, ALL, solved))
    chosen = [run["l2"] for run in found_in(tmp_path / "out").facts["runs"]]
    assert read_training(tmp_path / "out" / FINAL)["l2"] == pytest.approx(10 ** np.mean(np.log10(chosen)))


def test_a_rate_that_falls_by_the_score_of_photos_that_are_trained_on_is_refused(place: Place, tmp_path: Path) -> None:
    """Their score goes on rising, and so the rate would stay where the folds' fell."""
    with pytest.raises(UserError, match=r"newts\.schedule: plateau waits for; use cosine or constant"):
        cross_validate(job(place, tmp_path, ALL, params(schedule="plateau")))
