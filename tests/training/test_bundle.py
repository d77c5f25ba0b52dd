"""A bundle is complete and unchanged, or it is refused with the reason; wherever it lies, it predicts the same."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURES, CPU, Place, params

from florafauna.bundle import load_bundle, predict_logits
from florafauna.compute import Compute
from florafauna.errors import UserError
from florafauna.sources import open_source
from florafauna.store import PixelStore
from florafauna.store_writer import build_store


@pytest.fixture(scope="module")
def trained(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return place.trained(tmp_path_factory.mktemp("bundle"), params("test_vit"))


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "elsewhere"))


def change(bundle: Path, **values: Any) -> None:
    info = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps(info | values))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_copied_elsewhere_it_predicts_the_same(place: Place, tmp_path: Path, architecture: str) -> None:
    out = place.trained(tmp_path / "here", params(architecture))
    val = PixelStore(place.val)
    here = predict_logits(load_bundle(out), val, CPU)
    there = Path(shutil.move(out, tmp_path / "there"))
    assert not out.exists()
    found = predict_logits(load_bundle(there), val, CPU)
    assert found.dtype == np.float32
    assert np.array_equal(here, found)
    assert len(np.unique(here, axis=0)) > 1


def test_logits_do_not_depend_on_the_number_of_workers(place: Place, trained: Path) -> None:
    bundle, val = load_bundle(trained), PixelStore(place.val)
    assert np.array_equal(predict_logits(bundle, val, CPU), predict_logits(bundle, val, CPU, workers=2))


@pytest.mark.parametrize("missing", ["bundle.json", "model.safetensors"])
def test_an_incomplete_bundle_is_refused(copy: Path, missing: str) -> None:
    (copy / missing).unlink()
    with pytest.raises(UserError, match=missing):
        load_bundle(copy)


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


@pytest.mark.parametrize(
    ("content", "words"), [("{", "no valid JSON"), ("[]", "format"), ('{"format": 99}', "format 99"), ("{}", "format")]
)
def test_a_bundle_json_that_cannot_be_read_is_refused(copy: Path, content: str, words: str) -> None:
    (copy / "bundle.json").write_text(content)
    with pytest.raises(UserError, match=words):
        load_bundle(copy)


def test_creation_arguments_are_kept(copy: Path) -> None:
    """Without them the model is another one: here a ViT for 160 pixels, whose positions do not fit."""
    assert load_bundle(copy).info["architecture"] == {"name": "test_vit", "img_size": 32}
    change(copy, architecture={"name": "test_vit"})
    with pytest.raises(UserError, match="does not fit the architecture"):
        load_bundle(copy)


def test_photos_of_other_classes_are_refused(place: Place, trained: Path, tmp_path: Path) -> None:
    rows = PixelStore(place.val).index.assign(width=48, height=40).drop(columns="offset")
    build_store(rows, ["fern", "moss", "toad"], open_source(place.root / "photos" / "val"), tmp_path / "store", 40)
    with pytest.raises(UserError, match="other classes than the model"):
        predict_logits(load_bundle(trained), PixelStore(tmp_path / "store"), CPU)


def test_bf16_is_close_to_fp32(place: Place, trained: Path) -> None:
    bundle, val = load_bundle(trained), PixelStore(place.val)
    exact = predict_logits(bundle, val, CPU)
    rough = predict_logits(bundle, val, Compute(torch.device("cpu"), "bf16"))
    assert not np.array_equal(rough, exact)
    assert np.abs(rough - exact).max() < 0.05 * np.abs(exact).max() + 0.02
