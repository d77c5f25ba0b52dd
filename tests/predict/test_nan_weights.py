"""A bundle whose weights are NaN, though its seals are right, labels nothing."""

import shutil
from pathlib import Path

import numpy as np
import pytest
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


def test_the_page_does_not_start(spoiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--bundle", str(spoiled), "--port", "0"])
    assert ended.value.code == 1
    assert "NaN or infinite" in capsys.readouterr().err.splitlines()[-1]
