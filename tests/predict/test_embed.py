"""`florafauna embed` writes what the classifier is given: with the classifier's weights it gives the model's logits."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers.tiny import CPU, Place

from florafauna.bundle.bundle import load_bundle, predict_logits
from florafauna.commands.cli import main
from florafauna.model.network import classifier_paths
from florafauna.pixels.store import PixelStore


def test_the_classifier_makes_the_logits_of_them(bundle: Path, hundred: Place, photos: Path, tmp_path: Path) -> None:
    assert main(["embed", str(photos), "--bundle", str(bundle), "--out", str(tmp_path / "o.parquet")]) == 0
    table = pd.read_parquet(tmp_path / "o.parquet")
    assert list(table) == ["path", "embedding", "error"]
    assert table["path"].tolist() == [str(path) for path in sorted(photos.iterdir())]
    assert table["error"].isna().all()
    loaded = load_bundle(bundle)
    classifier = loaded.model.get_submodule(classifier_paths(loaded.model)[0])
    with torch.inference_mode():
        logits = classifier(torch.from_numpy(np.stack(table["embedding"]))).numpy()
    np.testing.assert_allclose(logits, predict_logits(loaded, PixelStore(hundred.val), CPU), rtol=0, atol=1e-4)
    assert pq.read_schema(tmp_path / "o.parquet").metadata[b"sha256"].decode() == loaded.info["sha256"]


def test_a_photo_that_cannot_be_read_has_a_reason_and_no_features(bundle: Path, photos: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    shutil.copy(sorted(photos.iterdir())[0], given / "b.jpg")
    (given / "a.jpg").write_bytes(b"")
    out = tmp_path / "o.parquet"
    assert main(["embed", str(given), "--bundle", str(bundle), "--out", str(out)]) == 0
    table = pq.read_table(out)
    assert pa.types.is_fixed_size_list(table.schema.field("embedding").type)
    assert table["embedding"].is_null().to_pylist() == [True, False]
    assert table["error"].to_pylist()[0].startswith("empty")
    (given / "b.jpg").unlink()
    assert main(["embed", str(given), "--bundle", str(bundle), "--out", str(out)]) == 1
    assert pq.read_table(out)["embedding"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("out", "exported", "says"),
    [
        ("o.csv", False, "o.csv: features are written as Parquet; name a file that ends in .parquet."),
        ("o.parquet", True, "was exported and gives labels alone; embed with the bundle it was exported from."),
    ],
)
def test_what_cannot_be_embedded_is_one_sentence(
    bundle: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, exported: bool, says: str
) -> None:
    if exported:
        bundle = tmp_path / "exported"
        bundle.mkdir()
        (bundle / "model.onnx").touch()
    with pytest.raises(SystemExit) as ended:
        main(["embed", str(photos), "--bundle", str(bundle), "--out", str(tmp_path / out)])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1
