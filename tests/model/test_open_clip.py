"""Files of OpenCLIP give OpenCLIP's embeddings, and files that are published beside weights are believed."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from florafauna.base.errors import UserError
from florafauna.model.network import create
from florafauna.model.settings import Architecture, Weights
from florafauna.model.weights import InitialWeights, make_initial_weights

open_clip = pytest.importorskip("open_clip", reason="open_clip_torch is not installed")

OWN = Path("data/weights/moths")  # a folder of one file of weights and what is published beside it
TEXT = {"context_length": 4, "vocab_size": 8, "width": 16, "heads": 1, "layers": 1}
VIT = {"depth": 2, "embed_dim": 64, "num_heads": 2, "img_size": 56}
CLIP = {"image_size": 56, "layers": 2, "width": 64, "head_width": 32, "patch_size": 14}
GELU = {"name": "vit_large_patch14_clip_224", **VIT}
QUICK = {"name": "vit_large_patch14_clip_quickgelu_224", **VIT}


def of_timm(name: str, size: int, proj: str | None, pool: str = "") -> dict[str, Any]:
    return {"image_size": size, "timm_model_name": name, "timm_pool": pool, "timm_proj": proj}


# timm's architecture, OpenCLIP's tower, whether it computes QuickGELU, and the layer that makes the embedding
FORMS: dict[str, tuple[dict[str, Any], dict[str, Any], bool, str | None]] = {
    "OpenCLIP's own ViT": (GELU, CLIP, False, "visual.proj"),
    "its own ViT with QuickGELU": (QUICK, CLIP, True, "visual.proj"),
    "ConvNeXt": ({"name": "test_convnext"}, of_timm("test_convnext", 64, "linear"), False, "visual.head.proj"),
    "ConvNeXt with two layers": (
        {"name": "test_convnext", "head_hidden_size": 96},
        of_timm("test_convnext", 64, "mlp"),
        False,
        "visual.head.mlp.fc2",
    ),
    "EVA02": (
        {"name": "eva02_tiny_patch14_224", "global_pool": "token"},
        of_timm("eva02_tiny_patch14_224", 224, None, "token"),
        False,
        "visual.trunk.head",
    ),
    "Perception Encoder": (
        {"name": "vit_pe_core_tiny_patch16_384"},
        of_timm("vit_pe_core_tiny_patch16_384", 384, None, "map"),
        False,
        "visual.trunk.head",
    ),
    "a ViT without projection, as SigLIP": (
        {"name": "test_vit", "global_pool": "avg"},
        of_timm("test_vit", 160, "none", "avg"),
        False,
        None,
    ),
}


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder: files of weights are relative to it."""
    monkeypatch.chdir(tmp_path)
    OWN.mkdir(parents=True)


def made(architecture: dict[str, Any], file: Path = OWN / "w.safetensors", **weights: Any) -> InitialWeights:
    how = Weights(source="file", file=file.as_posix(), **weights)
    return make_initial_weights(Architecture.model_validate(architecture), how, Path("initial.safetensors"))


def clip(tower: dict[str, Any], quick: bool, width: int = 48) -> Any:
    """A model of OpenCLIP with every parameter drawn at random: norms and biases would else do nothing."""
    torch.manual_seed(0)
    model = open_clip.CLIP(width, tower, TEXT, quick_gelu=quick).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, OWN / "w.safetensors")
    return model


@torch.inference_mode()
@pytest.mark.parametrize("form", FORMS)
def test_features_times_the_projection_are_the_embeddings_of_open_clip(form: str) -> None:
    architecture, tower, quick, layer = FORMS[form]
    model = clip(tower, quick, 64 if layer is None else 48)
    tensors = made(architecture).tensors
    backbone = create(Architecture.model_validate(architecture), 0, {}).eval()
    assert set(backbone.load_state_dict(tensors, strict=False).missing_keys) <= {"head.weight", "head.bias"}
    photos = torch.randn(3, 3, tower["image_size"], tower["image_size"])
    found = backbone(photos)
    state = model.state_dict()
    if layer is not None:
        weight = state[layer].T if layer in state else state[f"{layer}.weight"]
        found = torch.nn.functional.linear(found, weight, state.get(f"{layer}.bias"))
    expected = model.encode_image(photos)
    assert expected.std() > 0.1
    assert (found - expected).abs().max() < 1e-5


# what is published beside the weights


def open_clip_says(quick: bool, **preprocess: Any) -> None:
    told = {"model_cfg": {"vision_cfg": CLIP, "quick_gelu": quick}, "preprocess_cfg": preprocess}
    (OWN / "open_clip_config.json").write_text(json.dumps(told))


def timm_says(**told: Any) -> None:
    (OWN / "config.json").write_text(json.dumps({"architecture": "test_vit", "pretrained_cfg": {}, **told}))


@pytest.mark.parametrize(("architecture", "quick"), [(GELU, True), (QUICK, False)])
def test_a_network_that_computes_another_activation_is_refused(architecture: dict[str, Any], quick: bool) -> None:
    clip(CLIP, quick)
    open_clip_says(quick)
    other = QUICK if quick else GELU
    with pytest.raises(UserError, match=rf"open_clip_config\.json.* use architecture: {other['name']}\."):
        made(architecture)
    assert made(other).tensors
    assert made({**architecture, "act_layer": "quick_gelu" if quick else "gelu"}).tensors


def test_a_tag_of_timm_whose_weights_know_another_activation_is_refused_before_a_download(tmp_path: Path) -> None:
    name = "vit_base_patch32_clip_224.openai"
    with pytest.raises(UserError, match=r"use architecture: vit_base_patch32_clip_quickgelu_224\.openai\."):
        make_initial_weights(Architecture(name=name), Weights(source="hub"), tmp_path / "initial.safetensors")


def test_a_repository_of_timm_says_which_arguments_its_weights_need() -> None:
    save_file(timm.create_model("test_vit", num_classes=0, drop_rate=0.1).state_dict(), OWN / "w.safetensors")
    timm_says(model_args={"global_pool": "avg"})
    with pytest.raises(UserError, match=r"give architecture: \{name: test_vit, global_pool: avg\}\."):
        made({"name": "test_vit"})
    timm_says(model_args={"act_layer": "quick_gelu"})
    with pytest.raises(UserError, match=r"trained with QuickGELU .* set act_layer: quick_gelu in architecture"):
        made({"name": "test_vit"})


def test_normalisation_and_licence_are_those_published_unless_params_say_otherwise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clip(CLIP, quick=False)
    (OWN / "README.md").write_text("---\nlicense: other\nlicense_name: dinov3-license\n---\n")
    open_clip_says(False, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6], interpolation="random")
    initial = made(GELU)
    assert initial.overlay == {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    assert initial.origin["licence"] == "dinov3-license"
    assert "[0.1, 0.2, 0.3] and std [0.4, 0.5, 0.6], as open_clip_config.json" in capsys.readouterr().out
    given = made(GELU, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), licence="mine")
    assert given.overlay == {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    assert given.origin["licence"] == "mine"
    assert capsys.readouterr().out == ""
    open_clip_says(False)
    assert made(GELU).overlay["mean"] == (0.48145466, 0.4578275, 0.40821073)  # OpenCLIP's own default


def test_where_an_untagged_name_decides_on_the_normalisation_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    clip(CLIP, quick=False)
    made(GELU)
    said = capsys.readouterr().out
    assert "vit_large_patch14_clip_224 has no tag, so photos are normalised with mean [0.5, 0.5, 0.5]" in said
    assert "set `mean` and `std` under `weights`" in said
    made({**GELU, "name": "vit_large_patch14_clip_224.datacompxl"})
    made(GELU, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert capsys.readouterr().out == ""


def test_files_that_lie_side_by_side_do_not_speak_for_each_other() -> None:
    clip(CLIP, quick=True)
    open_clip_says(True)
    for file in OWN.iterdir():
        file.rename(OWN.parent / file.name)
    assert made(GELU, OWN.parent / "w.safetensors").overlay == {}


@pytest.mark.parametrize(
    "text", ["", "[]", '{"model_cfg": 1}', '{"model_cfg": {"vision_cfg": {}}, "preprocess_cfg": {"mean": 1}}']
)
def test_what_is_published_but_broken_is_one_sentence(text: str) -> None:
    clip(CLIP, quick=False)
    (OWN / "open_clip_config.json").write_text(text)
    with pytest.raises(UserError, match=r"open_clip_config\.json .*fetch it again\.") as refused:
        made(GELU)
    assert "\n" not in str(refused.value)
