"""WiSE-FT: the mean of the weights before and after fine-tuning."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from helpers.tiny import CPU, Place, params
from safetensors.torch import load_file

from florafauna.base.metrics import weighted_f1
from florafauna.bundle.bundle import load_trained, predict_logits
from florafauna.pixels.store import PixelStore
from florafauna.training._averaging import moving_tensors
from florafauna.training._wise import average_with_start
from florafauna.training.trainable import start_head

Tensors = dict[str, torch.Tensor]
FINE_TUNING: dict[str, Any] = {"epochs": 3, "rate": 3e-3, "head_init": "normal"}


def weights(trained: Path) -> Tensors:
    return load_file(trained / "model.safetensors")


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_ends_are_exactly_the_start_and_the_fine_tuned_model(place: Place, tmp_path: Path, ema: float) -> None:
    """Batch norms and their counters included."""
    model_params = params(**FINE_TUNING, ema=ema)
    start, _ = place.built(model_params)
    start_head(start, "normal", model_params.seed)
    end = weights(place.trained(tmp_path / "plain", model_params))
    means = {
        share: weights(place.trained(tmp_path / f"{share}", params(**FINE_TUNING, ema=ema, wise=share)))
        for share in (0, 0.25, 1)
    }
    for name, first in start.state_dict().items():
        assert torch.equal(means[0][name], first), name
        assert torch.equal(means[1][name], end[name]), name
        if first.is_floating_point():
            torch.testing.assert_close(means[0.25][name], 0.75 * first + 0.25 * end[name], rtol=1e-5, atol=1e-7)


def test_auto_is_the_best_share_on_the_validation_photos_and_is_recorded(place: Place, tmp_path: Path) -> None:
    out = place.trained(tmp_path / "auto", params(**FINE_TUNING, wise="auto"))
    info = json.loads((out / "training.json").read_text())
    tried = {float(share): score for share, score in info["wise"]["val_weighted_f1"].items()}
    assert list(tried) == [tenths / 10 for tenths in range(11)]
    assert len(set(tried.values())) > 2, "else nothing is chosen"
    best = max(tried.values())
    assert info["wise"]["share"] == max(share for share, score in tried.items() if score == best)
    assert tried[1.0] == pd.read_csv(out / "history.csv")["val_weighted_f1"].max()
    val = PixelStore(place.val)
    logits = predict_logits(load_trained(out), val, CPU)
    assert weighted_f1(val.targets, logits.argmax(1)) == info["val"]["weighted_f1"] == best
    fixed = place.trained(tmp_path / "fixed", params(**FINE_TUNING, wise=info["wise"]["share"]))
    assert (fixed / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def test_of_equal_shares_the_highest_is_kept(place: Place) -> None:
    """The model stays nearest to what training has made of it."""
    model, _ = place.built(params("test_vit"))
    start = {name: torch.zeros_like(tensor) for name, tensor in moving_tensors(model).items()}
    scores = iter([0.2, 0.9, 0.4, 0.9, *[0.1] * 7])

    def validate() -> tuple[Any, Any]:
        right = round(10 * next(scores))
        targets = torch.arange(10) % 2
        return torch.nn.functional.one_hot(torch.where(torch.arange(10) < right, targets, 2)).numpy(), targets.numpy()

    assert average_with_start(model, start, "auto", validate).share == 0.3


def test_the_card_says_it(place: Place, tmp_path: Path) -> None:
    bundle = place.bundle(tmp_path, params("test_vit", epochs=1, warmup_epochs=0, wise=0.5))
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "mean with those that training started from, in which they have a share of 0.5 (WiSE-FT)" in card
