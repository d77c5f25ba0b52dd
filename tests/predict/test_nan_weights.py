"""A bundle whose weights are NaN, though its seals are right, labels nothing."""

import http.client
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from predict.conftest import served
from safetensors.numpy import load_file, save_file

from florafauna.base.files import sha256_file
from florafauna.bundle.info import read_info, write_info
from florafauna.commands.cli import main


@pytest.fixture
def spoiled(bundle: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(bundle, tmp_path / "spoiled"))
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"] = weights["classifier.weight"] * np.float32(np.nan)
    save_file(weights, folder / "model.safetensors")
    write_info(folder, read_info(bundle) | {"sha256": sha256_file(folder / "model.safetensors")})
    return folder


def test_predict_ends_with_one_sentence(
    spoiled: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(photos), "--bundle", str(spoiled), "--out", str(tmp_path / "o.csv")])
    assert ended.value.code == 1
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("florafauna: ")] == said[-1:]
    assert "NaN or infinite" in said[-1]
    assert not (tmp_path / "o.csv").exists()


def test_the_page_says_so(spoiled: Path, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
    for port in served(spoiled, tmp_path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/photo?name=a.jpg", sorted(photos.iterdir())[0].read_bytes())
        answer = connection.getresponse()
        assert answer.status == 500
        assert "NaN" in json.loads(answer.read())["error"]
