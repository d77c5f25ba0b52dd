"""Every family of backbones goes the whole way, on photos of a size that it was not pretrained for."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from helpers.tiny import LABELS, Place, params
from safetensors.torch import load_file

from florafauna.base.errors import UserError
from florafauna.bundle.bundle import load_bundle
from florafauna.model.settings import Architecture
from florafauna.predict.export import export_onnx
from florafauna.training._trainable import build

pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")

VIT = {"depth": 2, "embed_dim": 24, "num_heads": 2}
CONVNEXT = {"depths": [1, 1, 1, 1], "dims": [8, 8, 8, 8]}
# Two blocks of each (of convolutions: as few as the stages need), the size of photos, and what is trained beside the head
FAMILIES: dict[str, tuple[dict[str, Any], int, str]] = {
    "vit_pe_core_tiny_patch16_384.fb": (VIT, 48, "blocks.1"),
    "vit_base_patch16_clip_224.openai_ft_in1k": (VIT, 48, "blocks.1"),
    "vit_base_patch16_siglip_224.v2_webli": (VIT, 48, "blocks.1"),
    "vit_small_patch16_dinov3.lvd1689m": (VIT, 48, "blocks.1"),
    "vit_small_patch14_reg4_dinov2.lvd142m": (VIT, 42, "blocks.1"),
    "eva02_tiny_patch14_336.mim_in22k_ft_in1k": (VIT, 42, "blocks.1"),
    "convnext_tiny.in12k_ft_in1k": (CONVNEXT, 48, "stages.3"),
    "convnext_large_mlp.clip_laion2b_augreg": (CONVNEXT | {"head_hidden_size": 16}, 48, "stages.3"),
    "tf_efficientnetv2_b0.in1k": ({"depth_multiplier": 0.1, "channel_multiplier": 0.2}, 48, "blocks.5"),
    "mobilenetv2_050.lamb_in1k": ({"depth_multiplier": 0.1}, 48, "blocks.6"),
    "vit_base_patch16_224.augreg2_in21k_ft_in1k": (VIT, 48, "blocks.1"),
    "swin_tiny_patch4_window7_224.ms_in1k": (
        {"depths": [1, 1], "embed_dim": 16, "num_heads": [1, 2]},
        48,
        "layers.1",
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_trained_in_three_ways_evaluated_and_exported(place: Place, tmp_path: Path, name: str) -> None:
    arguments, size, last = FAMILIES[name]
    assert timm.get_pretrained_cfg(name).input_size[-1] > size
    for trainable in ("all", "head", [last, "head"]):
        short = params(epochs=1, warmup_epochs=0, batch_size=15, views=int(trainable != "all"), train_size=size)
        architecture = Architecture.model_validate({"name": name, **arguments})
        how = short.model_copy(update={"architecture": architecture, "trainable": trainable})
        folder = tmp_path / str(trainable)
        trained = place.trained(folder, how)
    bundle = place.evaluated(trained, folder)
    assert load_bundle(bundle).data.test_size == size
    assert export_onnx(bundle, tmp_path / "model.onnx") < 1e-3
