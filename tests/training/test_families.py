"""Every family of backbones goes the whole way, on photos of a size that it was not pretrained for."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from helpers.tiny import LABELS, Place, params
from safetensors.torch import load_file, save_file

from florafauna.base.errors import UserError
from florafauna.bundle.bundle import load_bundle
from florafauna.model.network import at_size
from florafauna.model.settings import Architecture
from florafauna.predict.export import export_onnx
from florafauna.training.trainable import build

VIT = {"depth": 2, "embed_dim": 24, "num_heads": 2}
CONVNEXT = {"depths": [1, 1, 1, 1], "dims": [8, 8, 8, 8]}
# Two blocks, or one a stage; the size of photos; what is trained beside the head
FAMILIES: dict[str, tuple[dict[str, Any], int, str]] = {
    "vit_pe_core_tiny_patch16_384.fb": (VIT, 48, "blocks.1"),
    "vit_base_patch16_clip_224.openai_ft_in1k": (VIT, 48, "blocks.1"),
    "vit_base_patch16_siglip_224.v2_webli": (VIT, 48, "blocks.1"),
    "vit_small_patch16_dinov3.lvd1689m": (VIT, 48, "blocks.1"),
    "vit_small_patch14_reg4_dinov2.lvd142m": (VIT, 42, "blocks.1"),
    "eva02_tiny_patch14_336.mim_in22k_ft_in1k": (VIT, 42, "blocks.1"),
    "vit_base_patch16_224.augreg2_in21k_ft_in1k": (VIT, 48, "blocks.1"),
    "convnext_tiny.in12k_ft_in1k": (CONVNEXT, 48, "stages.3"),
    "convnext_large_mlp.clip_laion2b_augreg": (CONVNEXT | {"head_hidden_size": 16}, 48, "stages.3"),
    "tf_efficientnetv2_b0.in1k": ({"depth_multiplier": 0.1, "channel_multiplier": 0.2}, 48, "blocks.5"),
    "mobilenetv2_050.lamb_in1k": ({"depth_multiplier": 0.1}, 48, "blocks.6"),
    "swin_tiny_patch4_window7_224.ms_in1k": ({"depths": [1, 1], "embed_dim": 16, "num_heads": [1, 2]}, 48, "layers.1"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_trained_in_three_ways_evaluated_and_exported(place: Place, tmp_path: Path, name: str) -> None:
    pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    arguments, size, last = FAMILIES[name]
    assert timm.get_pretrained_cfg(name).input_size[-1] > size
    architecture = Architecture.model_validate({"name": name, **arguments})
    ways: tuple[dict[str, Any], ...] = (
        {"trainable": "all"},
        {"trainable": "head", "optimizer": "lbfgs", "views": 1},
        {"trainable": [last, "head"], "head_init": "probe", "views": 1},
    )
    for number, way in enumerate(ways):
        how = params(epochs=1, warmup_epochs=0, batch_size=15, train_size=size, **way)
        folder = tmp_path / str(number)
        trained = place.trained(folder, how.model_copy(update={"architecture": architecture}))
    bundle = place.evaluated(trained, folder)
    assert load_bundle(bundle).data.test_size == size
    assert export_onnx(bundle, tmp_path / "model.onnx") < 1e-3


# positions


@pytest.fixture
def backbone(place: Place) -> dict[str, torch.Tensor]:
    """Weights for photos of 160 pixels, in patches of 16."""
    return load_file(place.initial(Architecture(name="test_vit.r160_in1k")))


@pytest.mark.parametrize(("sizes", "native"), [({}, 160), ({"train_size": 64}, 64), ({"test_size": 96}, 160)])
def test_positions_are_resampled_as_timm_resamples_them(
    backbone: dict[str, torch.Tensor], tmp_path: Path, sizes: dict[str, int], native: int
) -> None:
    architecture = at_size(Architecture(name="test_vit"), {}, sizes.get("train_size"), sizes.get("test_size"))
    how = params("test_vit").model_copy(update={"architecture": architecture})
    model = build(how, backbone, {}, len(LABELS)).eval()
    side = max(sizes.values(), default=160)
    save_file(backbone, tmp_path / "w.safetensors")
    overlay = {"file": str(tmp_path / "w.safetensors"), "num_classes": 0}
    expected = timm.create_model(
        "test_vit", pretrained=True, num_classes=0, img_size=side, pretrained_cfg_overlay=overlay
    ).eval()
    photos = torch.randn(2, 3, side, side)
    assert model.state_dict()["pos_embed"].shape[1] == (native // 16) ** 2 + 1
    with torch.inference_mode():
        assert torch.allclose(model.forward_head(model.forward_features(photos), True), expected(photos), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "train", "test", "arguments"),
    [
        ("test_vit", 160, 160, {}),
        ("test_vit", None, None, {}),
        ("test_vit", 64, None, {"img_size": 64}),
        ("test_vit", None, 64, {"dynamic_img_size": True}),
        ("test_vit", 64, 96, {"dynamic_img_size": True}),
        ("test_convnext", 64, 96, {}),
        ("swin_tiny_patch4_window7_224", 64, 64, {"img_size": 64}),
    ],
)
def test_a_size_is_passed_on_to_what_is_made_for_one(
    name: str, train: int | None, test: int | None, arguments: dict[str, Any]
) -> None:
    assert at_size(Architecture(name=name), {}, train, test).arguments == arguments


def test_what_cannot_take_two_sizes_says_so() -> None:
    mixer = Architecture.model_validate({"name": "mixer_s16_224", "num_blocks": 2, "embed_dim": 16})
    with pytest.raises(UserError, match=r"made for photos of one size; set test_size \(96\) to train_size \(64\)"):
        at_size(mixer, {}, 64, 96)


def test_a_size_that_is_no_multiple_of_the_patches_says_so(place: Place, tmp_path: Path) -> None:
    """Where positions are resampled for each photo; else timm leaves out the pixels beyond the last patch."""
    name, arguments = "vit_small_patch14_reg4_dinov2", VIT
    architecture = Architecture.model_validate({"name": name, **arguments})
    how = params(train_size=42, test_size=50).model_copy(update={"architecture": architecture})
    with pytest.raises(UserError, match=r"50 × 50 pixels: .*50.* divisible by patch size \(14\)") as refused:
        place.trained(tmp_path, how)
    assert "\n" not in str(refused.value)
