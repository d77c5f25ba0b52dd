"""An exported bundle says what the bundle says, where there is no torch; one that would not is not written."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.fixtures import PHOTOS
from helpers.project import REPOSITORY
from helpers.tiny import Place
from PIL import Image
from safetensors.numpy import load_file, save_file

from florafauna.audit.examine import examine
from florafauna.base.files import sha256_file
from florafauna.bundle.info import read_info, write_info
from florafauna.commands.cli import main
from florafauna.pixels.resize import resize as by_torch
from florafauna.predict._resample import resize as by_numpy
from florafauna.predict.decoding import Preprocessor, decode_bytes

onnx = pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
runtime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")

TORCH = "torch,timm,torchvision"


def without(modules: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `florafauna` where these modules cannot be imported."""
    command = [sys.executable, str(Path(__file__).parent / "without.py"), modules, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def project(hundred: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose validation photos lie where the pipeline puts them."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(hundred.val, root / "data/processed/val")
    return root


@pytest.fixture(scope="session")
def exported(bundle: Path, project: Path) -> Path:
    """The bundle as a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        assert main(["export", "--onnx", "--bundle", str(bundle), "--out", "exported"]) == 0
    return project / "exported"


@pytest.fixture(scope="session")
def alone(exported: Path, bundle: Path) -> Path:
    """The bundle as one file, in a folder without photos."""
    file = exported.parent / "alone" / "newts.onnx"
    assert main(["export", "--onnx", "--bundle", str(bundle), "--out", str(file)]) == 0
    return file


def test_folder_and_file_hold_what_they_should(exported: Path, alone: Path, bundle: Path) -> None:
    assert {path.name for path in exported.iterdir()} == {"model.onnx", "bundle.json", "MODEL_CARD.md"}
    assert [path.name for path in alone.parent.iterdir()] == ["newts.onnx"]
    info, model = read_info(bundle), onnx.load(exported / "model.onnx")
    properties = {each.key: each.value for each in model.metadata_props}
    for key in ("labels", "data", "store_size", "calibration", "taxonomy"):
        assert json.loads(properties[key]) == info[key]
    assert json.loads(properties["florafauna"]) == info
    written = read_info(exported)
    assert written["sha256"] == sha256_file(exported / "model.onnx")
    assert written["exported_from"] == info["sha256"]
    assert written["calibration"] == info["calibration"]
    assert str(Path(sys.prefix)).encode() not in (exported / "model.onnx").read_bytes()


def test_another_program_needs_no_more_than_the_file(alone: Path, photos: Path) -> None:
    """Plain onnxruntime on plain RGB pixels, in batches of any size."""
    session = runtime.InferenceSession(alone)
    side = session.get_inputs()[0].shape[1]
    pictures = [Image.open(path).convert("RGB").resize((side, side)) for path in sorted(photos.iterdir())[:5]]
    whole = session.run(["logits"], {"pixels": np.stack(pictures)})[0]
    single = [session.run(None, {"pixels": np.array(each)[None]})[0][0] for each in pictures]
    assert whole.shape == (5, 3)
    assert np.allclose(whole, single, atol=1e-5)


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_predicts_without_torch_what_torch_predicts(
    exported: Path, alone: Path, bundle: Path, photos: Path, tmp_path: Path, kind: str
) -> None:
    chosen, out = exported if kind == "folder" else alone, tmp_path / "o.csv"
    done = without(
        TORCH, "predict", photos, "--bundle", chosen, "--out", out, "--workers", 2 if kind == "folder" else 1
    )
    assert done.returncode == 0, done.stderr
    assert main(["predict", str(photos), "--bundle", str(bundle), "--out", str(tmp_path / "torch.csv")]) == 0
    ours, torchs = pd.read_csv(out), pd.read_csv(tmp_path / "torch.csv")
    assert len(ours) == PHOTOS
    numbers = [column for column in ours if column.startswith("confidence")]
    assert np.allclose(ours[numbers], torchs[numbers], atol=1e-5)
    clear = ours["confidence_1"] - ours["confidence_2"] > 2e-5
    assert clear.any()
    for column in ("path", "label_1"):
        assert ours[column][clear].equals(torchs[column][clear])


def test_a_torch_bundle_without_torch_is_told_apart(bundle: Path, photos: Path, tmp_path: Path) -> None:
    done = without(TORCH, "predict", photos, "--bundle", bundle, "--out", tmp_path / "o.csv")
    assert done.returncode == 1
    assert "torch is not installed" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_views_without_torch_are_the_same_to_the_last_bit(tmp_path: Path, form: str) -> None:
    for number, size in enumerate([(640, 480), (97, 260), (1500, 1100), (33, 31), (801, 599)]):
        rng = np.random.default_rng(number)
        small = rng.integers(0, 256, (size[1] // 9 + 2, size[0] // 9 + 2, 3), dtype=np.uint8)
        file = tmp_path / f"{number}.{form.lower()}"
        Image.fromarray(small).resize(size).save(file)
        data = file.read_bytes()
        assert examine(data).reason == ""
        ours, torchs = (
            decode_bytes(data, Preprocessor(144, 128, 0.95, "bicubic", each)) for each in (by_numpy, by_torch)
        )
        assert ours.pixels is not None
        assert np.array_equal(ours.pixels, torchs.pixels)


def test_a_model_that_onnxruntime_computes_otherwise_is_not_exported(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two classes all but equal, and logits in the millions: the last bits of fp32 decide between them."""
    spoiled, out = tmp_path / "spoiled", tmp_path / "new" / "exported"
    shutil.copytree(bundle, spoiled)
    weights = load_file(spoiled / "model.safetensors")
    head = weights["classifier.weight"]
    head[1] = np.nextafter(head[0], head[2])
    weights["classifier.weight"] = head * np.float32(1e7)
    save_file(weights, spoiled / "model.safetensors")
    write_info(spoiled, read_info(bundle) | {"sha256": sha256_file(spoiled / "model.safetensors")})
    with pytest.raises(SystemExit) as ended:
        main(["export", "--onnx", "--bundle", str(spoiled), "--out", str(out)])
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert "cannot be exported" in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def changed(exported: Path, alone: Path, what: str, folder: Path) -> Path:
    """An exported bundle with something wrong."""
    copy: Any = shutil.copytree(exported, folder)
    data = alone.read_bytes()
    if what == "swapped":
        (copy / "model.onnx").write_bytes(data[:-1] + b"\0")
    elif what == "edited":
        info = json.loads((copy / "bundle.json").read_text())
        (copy / "bundle.json").write_text(json.dumps(info | {"labels": info["labels"][::-1]}))
    elif what == "half":
        (copy / "half.onnx").write_bytes(data[: len(data) // 2])
        return copy / "half.onnx"
    elif what == "foreign":
        model = onnx.load_from_string(data)
        del model.metadata_props[:]
        onnx.save(model, copy / "foreign.onnx")
        return copy / "foreign.onnx"
    elif what == "relabelled":
        model = onnx.load_from_string(data)
        for each in model.metadata_props:
            each.value = each.value.replace("newt", "toad")
        onnx.save(model, copy / "relabelled.onnx")
        return copy / "relabelled.onnx"
    else:
        return folder / "absent.onnx"
    return Path(copy)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("swapped", "sha256 differs"),
        ("edited", "was changed"),
        ("half", "or is incomplete"),
        ("foreign", "was not written by `florafauna export`"),
        ("relabelled", "was changed"),
        ("absent", "cannot be read"),
    ],
)
def test_what_was_changed_is_refused(
    exported: Path,
    alone: Path,
    photos: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    what: str,
    words: str,
) -> None:
    chosen = changed(exported, alone, what, tmp_path / "copy")
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(photos), "--bundle", str(chosen), "--out", str(tmp_path / "o.csv")])
    assert ended.value.code == 1
    error = capfd.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        ("onnxscript", ["export", "--onnx", "--bundle", "BUNDLE"], "pip install onnx onnxruntime onnxscript"),
        ("onnxruntime", ["predict", "PHOTOS", "--bundle", "ONNX"], "pip install onnxruntime"),
        ("uvicorn", ["serve", "--bundle", "BUNDLE"], "pip install fastapi uvicorn"),
    ],
)
def test_a_missing_extra_is_one_sentence(
    exported: Path, bundle: Path, photos: Path, tmp_path: Path, module: str, arguments: list[str], words: str
) -> None:
    places = {"BUNDLE": str(bundle), "PHOTOS": str(photos), "ONNX": str(exported)}
    out = [] if arguments[0] == "serve" else ["--out", tmp_path / "o.csv"]
    done = without(module, *(places.get(each, each) for each in arguments), *out)
    assert done.returncode == 1, done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("chosen", "out", "words"),
    [
        ("BUNDLE", "BUNDLE", "contains a bundle"),
        ("absent", "o", "holds no bundle.json"),
        ("BUNDLE", "f", "is a file"),
        ("a.onnx", "o", "was exported already"),
    ],
)
def test_bad_input_of_an_export_is_one_sentence(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], chosen: str, out: str, words: str
) -> None:
    (tmp_path / "f").write_text("precious")
    before = set(bundle.iterdir())
    places = {"BUNDLE": str(bundle)}
    with pytest.raises(SystemExit) as ended:
        main(
            ["export", "--onnx", "--bundle", places.get(chosen, chosen), "--out", places.get(out, str(tmp_path / out))]
        )
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]
    assert set(bundle.iterdir()) == before
