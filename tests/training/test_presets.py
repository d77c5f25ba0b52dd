"""Every model of every preset is built as large as it is and takes one training step, from random weights.

The largest (ViT-L, 304 million parameters) needs 5 GB: weights, gradients and AdamW's two moments.
"""

from pathlib import Path

import pytest
import torch
from helpers.tiny import CPU, LABELS, SIDE, Place

from florafauna.commands.params import load_params
from florafauna.model.network import at_size, create
from florafauna.model.settings import Architecture, ModelParams
from florafauna.photos.sources import open_source
from florafauna.pixels.store import PixelStore
from florafauna.preprocess._write import build_store
from florafauna.training._feeds import Photos, PixelFeed
from florafauna.training._loss import Loss
from florafauna.training._parts import Parts
from florafauna.training._resume import State
from florafauna.training.job import TrainingJob
from florafauna.training.loop import OPTIMIZERS, train_epoch
from florafauna.training.trainable import count_parameters, data_config, freeze, parameter_groups

PRESETS = Path(__file__).resolve().parents[2] / "presets"
MODELS = [
    pytest.param(model, id=f"{path.stem}, {name}")
    for path in sorted(PRESETS.glob("*.yaml"))
    for name, model in load_params(path).models.items()
]


@pytest.fixture(scope="module")
def two(place: Place, tmp_path_factory: pytest.TempPathFactory) -> PixelStore:
    """A store of two photos of two classes."""
    folder = tmp_path_factory.mktemp("two")
    rows = PixelStore(place.train).table().drop_duplicates("label").head(2)
    rows = rows.assign(width=SIDE + 8, height=SIDE).drop(columns="offset")
    build_store(rows, LABELS, open_source(place.root / "photos" / "train"), folder, SIDE, workers=1)
    return PixelStore(folder)


def with_small_photos(model_params: ModelParams) -> ModelParams:
    """64 pixels where the architecture takes them without another window or another stage; it saves a minute."""
    architecture = model_params.architecture
    if architecture.name.startswith(("swin", "maxvit")):
        return model_params
    if model_params.optimizer == "lbfgs":  # test_logistic.py solves; the frozen blocks need not be 24 here
        model_params = model_params.model_copy(update={"optimizer": "adamw"})
        if "_large_" in architecture.name:
            architecture = Architecture.model_validate(architecture.model_dump() | {"depth": 2})
    small = at_size(architecture, {}, 64, 64)
    return model_params.model_copy(update={"train_size": 64, "test_size": 64, "architecture": small})


@pytest.mark.parametrize("model_params", MODELS)
def test_it_is_built_and_takes_a_step(two: PixelStore, tmp_path: Path, model_params: ModelParams) -> None:
    once = {"batch_size": 2, "accumulate": 1, "precision": "fp32"}
    short = with_small_photos(model_params).model_copy(update=once)
    torch.manual_seed(0)
    model = create(short.architecture, len(LABELS), {}, short.drop_path)
    freeze(model, short.trainable, short.norms)
    groups = parameter_groups(model, short)
    total, open_ = count_parameters(model)
    assert 0 < open_ <= total
    CPU.place(model)
    photos = Photos(two, two, short, data_config(model, short), CPU)
    name, parameter = [(n, p) for n, p in model.named_parameters() if p.requires_grad and p.ndim > 1][-1]
    before = parameter.detach().clone()
    parts = Parts(
        job=TrainingJob(
            "newts",
            short,
            initial=tmp_path,
            train=tmp_path,
            val=tmp_path,
            scratch=tmp_path,
            out=tmp_path,
            timing=tmp_path,
        ),
        model=model,
        feed=PixelFeed(photos, model, model),
        compute=CPU,
        optimizer=OPTIMIZERS[short.optimizer](groups, lr=short.rate),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        average={},
        loss=Loss(),
        folder=tmp_path,
    )
    state = State()
    assert 0 < train_epoch(parts, state) < 10
    assert state.step == 1
    assert not torch.equal(parameter, before), name
