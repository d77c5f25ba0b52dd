"""A bundle is complete and unchanged, or it is refused with the reason; wherever it lies, it predicts the same."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.forks import quick
from helpers.tiny import ARCHITECTURES, CPU, LABELS, TRAIN, VAL, Place, params
from safetensors.torch import load_file, save_file

from florafauna.base.errors import UserError
from florafauna.base.files import sha256_file
from florafauna.bundle.bundle import load_bundle, load_trained, predict_logits
from florafauna.bundle.info import read_info, read_training, write_info
from florafauna.model.compute import Compute
from florafauna.photos.sources import open_source
from florafauna.pixels.store import PixelStore
from florafauna.preprocess._write import build_store
from florafauna.scores.predictions import read_predictions

Info = dict[str, Any]
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a model was trained and evaluated; `model` is what training left, `bundle` the bundle."""
    folder = tmp_path_factory.mktemp("bundle")
    place.bundle(folder, params("test_vit"))
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A bundle to be spoilt."""
    return Path(shutil.copytree(made / "bundle", tmp_path / "elsewhere"))


def change(bundle: Path, edit: Callable[[Info], Any], sealed: bool = True) -> None:
    """Edit bundle.json; `sealed` renews its fingerprint, as one would who wants to deceive."""
    info = json.loads((bundle / "bundle.json").read_text())
    edit(info)
    if sealed:
        write_info(bundle, info)
    else:
        (bundle / "bundle.json").write_text(json.dumps(info))


# what it holds


def test_the_bundle_holds_what_training_and_evaluation_found(place: Place, made: Path) -> None:
    bundle, trained = made / "bundle", made / "model"
    assert sorted(path.name for path in bundle.iterdir()) == [
        "MODEL_CARD.md", "bundle.json", "history.csv", "model.safetensors",
    ]  # fmt: skip
    for name in ("model.safetensors", "history.csv"):
        assert (bundle / name).read_bytes() == (trained / name).read_bytes()
    info, details = read_info(bundle), json.loads((made / "details.json").read_text())
    classes = json.loads((made / "predictions/per_class.json").read_text())
    for key, value in read_training(trained).items():
        assert key == "photos" or info[key] == value
    assert info["labels"] == LABELS
    assert info["sha256"] == sha256_file(bundle / "model.safetensors")
    index = sha256_file(place.val / "index.parquet")
    assert info["photos"] == {
        "train": {"n": TRAIN, "sha256": sha256_file(place.train / "index.parquet")},
        "val": {"n": VAL, "sha256": index},
        "test": {"n": VAL, "sha256": index},
    }
    for part in ("test", "val"):
        assert info["scores"][part] == details[part]
        assert {"weighted_f1_low", "weighted_f1_high", "n"} < info["scores"][part].keys()
        assert info["scores"]["per_class"][part] == classes[part]
    calibration = info["calibration"]
    assert calibration["temperature"] == pytest.approx(details["calibration"]["temperature"], abs=1e-6)
    assert calibration["thresholds"]["precision"] == info["evaluate"]["precision"] == 0.95
    assert info["weights"]["source"] == "none"
    assert {"torch", "timm", "florafauna"} <= info["versions"].keys()


def test_evaluating_again_gives_the_same_bytes(place: Place, made: Path, tmp_path: Path) -> None:
    again = place.evaluated(made / "model", tmp_path)
    for file in (made / "bundle").iterdir():
        assert file.read_bytes() == (again / file.name).read_bytes(), file.name


# wherever it lies


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_moved_it_gives_the_logits_that_evaluation_saved(place: Place, tmp_path: Path, architecture: str) -> None:
    bundle = place.bundle(tmp_path / "here", params(architecture))
    evaluated = read_predictions(tmp_path / "here/predictions/logits.parquet").part("test")
    there = Path(shutil.move(bundle, tmp_path / "there"))
    found = predict_logits(load_bundle(there), PixelStore(place.val), CPU)
    assert np.array_equal(found, evaluated.logits)
    assert list(evaluated.photos["path"]) == list(PixelStore(place.val).names)
    assert len(np.unique(found, axis=0)) > 1


def test_a_bundle_works_alone(place: Place, made: Path, tmp_path: Path) -> None:
    """In a folder of its own and a process that knows of nothing else: no project, no training, no DVC."""
    shutil.copytree(made / "bundle", tmp_path / "handed on")
    code = (
        "from pathlib import Path; import numpy as np, torch; torch.set_num_threads(1);"
        "from florafauna.bundle.bundle import load_bundle, predict_logits;"
        "from florafauna.model.compute import for_inference;"
        "from florafauna.pixels.store import PixelStore; bundle = load_bundle(Path('handed on'));"
        f"store = PixelStore(Path({str(place.val)!r})); compute = for_inference(bundle.info['precision']);"
        "np.save('logits.npy', predict_logits(bundle, store, compute))"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    subprocess.run([quick(), "-c", code], cwd=tmp_path, env=environment, check=True)
    evaluated = read_predictions(made / "predictions/logits.parquet").part("test")
    assert np.array_equal(np.load(tmp_path / "logits.npy"), evaluated.logits)
    assert evaluated.logits.dtype == np.float32


def test_logits_do_not_depend_on_the_number_of_workers(place: Place, made: Path) -> None:
    bundle, val = load_bundle(made / "bundle"), PixelStore(place.val)
    assert np.array_equal(predict_logits(bundle, val, CPU), predict_logits(bundle, val, CPU, workers=2))


def test_bf16_is_close_to_fp32(place: Place, made: Path) -> None:
    bundle, val = load_bundle(made / "bundle"), PixelStore(place.val)
    exact = predict_logits(bundle, val, CPU)
    rough = predict_logits(bundle, val, Compute(torch.device("cpu"), "bf16"))
    assert not np.array_equal(rough, exact)
    assert np.abs(rough - exact).max() < 0.05 * np.abs(exact).max() + 0.02


# what is refused


@pytest.mark.parametrize("missing", ["bundle.json", "model.safetensors"])
def test_an_incomplete_bundle_is_refused(copy: Path, missing: str) -> None:
    (copy / missing).unlink()
    with pytest.raises(UserError, match=missing):
        load_bundle(copy)


def test_what_training_left_is_no_bundle(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no complete bundle"):
        load_bundle(made / "model")
    trained = Path(shutil.copytree(made / "model", tmp_path / "model"))
    (trained / "training.json").unlink()
    with pytest.raises(UserError, match=r"no complete training; run `dvc pull .*` or `dvc repro`"):
        load_trained(trained)


@pytest.mark.parametrize("how", ["one bit", "cut short"])
def test_changed_weights_are_refused(copy: Path, how: str) -> None:
    file = copy / "model.safetensors"
    data = bytearray(file.read_bytes())
    if how == "one bit":
        data[-1] ^= 1
    else:
        del data[-4:]
    file.write_bytes(data)
    with pytest.raises(UserError, match="sha256 differs"):
        load_bundle(copy)


def test_weights_that_are_no_safetensors_file_are_refused(copy: Path) -> None:
    """Also where bundle.json says that they belong to it."""
    file = copy / "model.safetensors"
    file.write_bytes(b"\x80\x04.")  # a pickle
    change(copy, lambda info: info.update(sha256=sha256_file(file)))
    with pytest.raises(UserError, match="does not fit the architecture"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
        ('{"format": 99}', "format 99, this version reads 2; update florafauna"),
        ('{"format": 1}', "format 1, this version reads 2; make it again"),
        ("{}", "format"),
        ('{"format": 2}', "'name' is missing"),
    ],
)
def test_a_bundle_json_that_cannot_be_read_is_refused(copy: Path, content: str, words: str) -> None:
    (copy / "bundle.json").write_text(content)
    with pytest.raises(UserError, match=words):
        load_bundle(copy)


NEEDED = (
    "name", "architecture", "overlay", "labels", "data", "store_size", "precision", "weights", "photos", "params",
    "versions", "sha256", "taxonomy", "calibration", "scores",
)  # fmt: skip
WITHIN = (
    "architecture.name", "data.mean", "data.std", "data.interpolation", "data.crop_pct", "data.test_size",
    "calibration.temperature", "calibration.thresholds", "calibration.thresholds.global",
    "calibration.thresholds.per_class", "calibration.thresholds.precision", "calibration.thresholds.sentence",
)  # fmt: skip


@pytest.mark.parametrize("key", NEEDED + WITHIN)
def test_a_key_that_is_missing_is_named(copy: Path, key: str) -> None:
    def edit(info: Info) -> None:
        *parents, last = key.split(".")
        for parent in parents:
            info = info[parent]
        del info[last]

    change(copy, edit)
    with pytest.raises(UserError, match=re.escape(f"'{key}' is missing; fetch {copy} again.")):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (lambda info: info.update(labels="fern"), "labels"),
        (lambda info: info.update(labels=[1, 2, 3]), "labels.0"),
        (lambda info: info.update(labels=[]), "labels"),
        (lambda info: info.update(store_size="40"), "store_size"),
        (lambda info: info.update(store_size=0), "store_size"),
        (lambda info: info.update(precision="fp8"), "precision"),
        (lambda info: info.update(sha256="abc"), "sha256"),
        (lambda info: info.update(overlay=None), "overlay"),
        (lambda info: info.update(taxonomy={"fern": "Plantae"}), "taxonomy.fern"),
        (lambda info: info["data"].update(mean=[0.5, 0.5]), "data.mean"),
        (lambda info: info["data"].update(crop_pct=1.5), "data.crop_pct"),
        (lambda info: info["calibration"].update(temperature=0), "calibration.temperature"),
        (lambda info: info["calibration"].update(temperature="1"), "calibration.temperature"),
        (lambda info: info["calibration"]["thresholds"].update(per_class={"fern": "high"}), "per_class.fern"),
    ],
)
def test_a_key_of_another_type_is_named(copy: Path, edit: Callable[[Info], Any], key: str) -> None:
    change(copy, edit)
    with pytest.raises(UserError, match=f"bundle.json is incomplete or was changed: '[a-z_.]*{key}'"):
        load_bundle(copy)


@pytest.mark.parametrize(
    "edit",
    [
        lambda info: info["labels"].reverse(),
        lambda info: info["calibration"].update(temperature=3.0),
        lambda info: info["scores"]["test"].update(weighted_f1=0.99),
        lambda info: info.pop("fingerprint"),
    ],
)
def test_a_bundle_json_that_was_edited_is_refused(copy: Path, edit: Callable[[Info], Any]) -> None:
    """The classes turned round would be wrong names for right numbers."""
    change(copy, edit, sealed=False)
    with pytest.raises(UserError, match="was changed after it was written"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        ({"name": "test_vitt"}, "timm has no architecture 'test_vitt'; did you mean"),
        ({"name": "test_vit"}, "does not fit the architecture"),  # one for 160 pixels: its positions do not fit
        ({"name": "test_vit", "img_size": 32, "legs": 4}, "does not take the given arguments"),
        ({"name": "test_vit", "img_size": 32, "checkpoint_path": "x.pth"}, "'checkpoint_path' is not an argument"),
        ({"name": "test_vit", "img_size": 32, "drop_rate": 2}, "does not take the given arguments"),
        ({"name": "test_vit", "img_size": 32, "pretrained_strict": False}, "'pretrained_strict' is not an argument"),
        ({"name": "hf-hub:somebody/something"}, "'hf-hub:somebody/something' is not one of timm's own names"),
    ],
)
def test_an_architecture_that_is_unknown_or_does_not_fit_is_refused(
    copy: Path, architecture: dict[str, Any], words: str
) -> None:
    """Nor can one make timm fetch or unpickle files."""
    assert load_bundle(copy).info["architecture"] == {"name": "test_vit", "img_size": 32}
    change(copy, lambda info: info.update(architecture=architecture))
    with pytest.raises(UserError, match=re.escape(words)):
        load_bundle(copy)


def test_a_deviation_of_zero_is_refused(copy: Path) -> None:
    change(copy, lambda info: info["data"].update(std=[0.2, 0.0, 0.2]))
    with pytest.raises(UserError, match=r"'data\.std\.1': input should be greater than 0"):
        load_bundle(copy)


def test_nan_in_bundle_json_is_refused(copy: Path) -> None:
    file = copy / "bundle.json"
    file.write_text(re.sub(r'"crop_pct": [0-9.]+', '"crop_pct": NaN', file.read_text()))
    with pytest.raises(UserError, match=r"is not valid JSON .*NaN"):
        load_bundle(copy)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_though_they_are_sealed(copy: Path, broken: float) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["blocks.3.mlp.fc1.weight"][0, 0] = broken
    save_file(tensors, copy / "model.safetensors")
    change(copy, lambda info: info.update(sha256=sha256_file(copy / "model.safetensors")))
    with pytest.raises(UserError, match=r"holds NaN or infinite numbers \(in blocks\.3\.mlp\.fc1\.weight\)"):
        load_bundle(copy)


def test_photos_of_other_classes_are_refused(place: Place, made: Path, tmp_path: Path) -> None:
    rows = PixelStore(place.val).table().assign(width=48, height=40).drop(columns="offset")
    build_store(rows, ["fern", "moss", "toad"], open_source(place.root / "photos" / "val"), tmp_path / "store", 40)
    with pytest.raises(UserError, match="other classes than the model"):
        predict_logits(load_bundle(made / "bundle"), PixelStore(tmp_path / "store"), CPU)
