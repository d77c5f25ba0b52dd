"""The embedded backbones know something: a linear probe on them beats one on random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from florafauna.commands.params import load_params
from florafauna.model.network import create, load
from florafauna.pixels.loading import EvalView, batches, normalise
from florafauna.pixels.store import PixelStore
from florafauna.preprocess.preprocess import preprocess
from florafauna.split.dataset import prepare
from florafauna.training.trainable import data_config

REPOSITORY = Path(__file__).resolve().parents[2]
MODELS = ("efficientnet", "convnext", "vit")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[PixelStore, PixelStore]:
    """Train and test photos of the sample."""
    out, params = tmp_path_factory.mktemp("sample"), load_params(REPOSITORY / "params.yaml")
    corrections = out / "corrections.csv"
    corrections.write_text("path,label\n")
    root = REPOSITORY / params.data.root
    data = params.data.model_copy(update={"root": str(root), "labels": str(REPOSITORY / params.data.labels)})
    dataset = prepare(data, params.split, corrections)
    dataset.write(out / "m.csv", out / "q.csv", out / "e.parquet", out / "d.json", out / "p.csv")
    preprocess(out / "m.csv", root, out, params.image.store_size, out / "kept")
    return PixelStore(out / "train"), PixelStore(out / "test")


@torch.inference_mode()
def features(name: str, store: PixelStore, pretrained: bool) -> np.ndarray:
    """Pooled features, float32 (photos, channels)."""
    params = load_params(REPOSITORY / "params.yaml").models[name]
    torch.manual_seed(0)
    file = REPOSITORY / params.weights.file if pretrained and params.weights.file else None
    assert pretrained == (file is not None)
    overlay = params.weights.overlay
    model = load(params.architecture, 0, overlay, file) if file else create(params.architecture, 0, overlay)
    model.eval()
    data = data_config(model, params)
    view = EvalView(data.test_size, data.crop_pct, data.interpolation)
    found = [
        model(normalise(batch.images, data.mean, data.std)) for batch in batches(store, view, range(len(store)), 64)
    ]
    return torch.cat(found).numpy()


@pytest.mark.parametrize("name", MODELS)
def test_a_linear_probe_beats_one_on_random_weights(name: str, stores: tuple[PixelStore, PixelStore]) -> None:
    train, test = stores

    def score(pretrained: bool) -> float:
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        probe.fit(features(name, train, pretrained), train.targets)
        return float(probe.score(features(name, test, pretrained), test.targets))

    known, random = score(True), score(False)
    assert known > random + 0.1, (known, random)
    assert known > 0.4
