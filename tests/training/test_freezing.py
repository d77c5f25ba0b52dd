"""What is trained is exactly what params say; what is frozen stays as it was, its batch norms included."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from helpers.tiny import ARCHITECTURES, Place, params
from safetensors.torch import load_file
from torch import nn

from florafauna.base.errors import UserError
from florafauna.model.network import create
from florafauna.model.settings import Architecture
from florafauna.training.trainable import (
    build,
    count_parameters,
    data_config,
    format_policy,
    freeze,
    parameter_groups,
    policy_table,
    set_training_modes,
)


def open_names(architecture: str, trainable: str | Sequence[str], norms: str = "tail") -> set[str]:
    model = timm.create_model(architecture, num_classes=3)
    freeze(model, trainable, norms)
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def names_under(architecture: str, *prefixes: str) -> set[str]:
    model = timm.create_model(architecture, num_classes=3)
    return {name for name, _ in model.named_parameters() if name.startswith(prefixes)}


# which parameters


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_opens_everything(architecture: str) -> None:
    assert open_names(architecture, "all") == names_under(architecture, "")


@pytest.mark.parametrize(
    ("architecture", "classifier"),
    [("test_efficientnet", "classifier."), ("test_convnext", "head.fc."), ("test_vit", "head.")],
)
@pytest.mark.parametrize("trainable", ["head", ("head",)])
def test_head_opens_the_classifier_and_nothing_else(
    architecture: str, classifier: str, trainable: str | tuple[str, ...]
) -> None:
    expected = "head." if architecture == "test_convnext" and trainable != "head" else classifier  # a module named head
    assert open_names(architecture, trainable) == names_under(architecture, expected)


def test_paths_open_exactly_what_they_name() -> None:
    """`norm` is the norm after the last block; matched as part of a name it would open the norms of all blocks."""
    opened = open_names("test_vit", ("blocks.4", "blocks.5", "norm", "head"))
    assert opened == names_under("test_vit", "blocks.4.", "blocks.5.", "norm.", "head.")


def test_a_number_is_a_whole_number() -> None:
    """blocks.1 is not blocks.10 nor blocks.11."""
    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=32, embed_dim=12, num_heads=1)
    freeze(model, ("blocks.1",), "tail")
    opened = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    after = {name for name in names_under("vit_tiny_patch16_224", "blocks.", "norm.") if "norm" in name}
    assert {name for name in opened if name.startswith("blocks.10.")} <= after
    assert "blocks.1.attn.qkv.weight" in opened
    assert "blocks.10.attn.qkv.weight" not in opened


def test_a_single_parameter_can_be_opened() -> None:
    opened = open_names("test_vit", ("cls_token",))
    assert "cls_token" in opened
    assert "pos_embed" not in opened


def test_norms_tail_opens_the_norms_behind_the_first_open_module_and_all_opens_every_norm() -> None:
    every_norm = {name for name in names_under("test_efficientnet", "") if "bn" in name}
    behind = names_under("test_efficientnet", "bn2.")
    opened = names_under("test_efficientnet", "conv_head.", "classifier.")
    assert every_norm > behind
    assert open_names("test_efficientnet", ("conv_head", "classifier"), "tail") == opened | behind
    assert open_names("test_efficientnet", ("conv_head", "classifier"), "all") == opened | every_norm


@pytest.mark.parametrize(("path", "nearest"), [("block.5", "blocks.5"), ("blocks.55", "blocks.5"), ("haed", "head")])
def test_a_path_that_matches_nothing_is_refused_with_the_nearest(path: str, nearest: str) -> None:
    with pytest.raises(UserError, match=rf"'{path}' matches no module.*\b{nearest}\b"):
        open_names("test_vit", ("head", path))


def test_a_path_without_parameters_is_refused() -> None:
    with pytest.raises(UserError, match="'head_drop' has no parameters"):
        open_names("test_vit", ("head", "head_drop"))


# what a training leaves alone


def test_under_a_frozen_backbone_nothing_of_it_moves(place: Place, tmp_path: Path) -> None:
    """Batch-norm statistics are no parameters: they move in every forward pass unless the module is in eval()."""
    model = params(trainable="head", rate=0.1)
    before = load_file(place.initial(model.architecture))
    after = load_file(place.trained(tmp_path, model) / "model.safetensors")
    assert set(after) - set(before) == {"classifier.weight", "classifier.bias"}
    assert any(name.endswith("running_mean") for name in before)
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name


def test_what_is_open_moves_its_batch_norms_included(place: Place, tmp_path: Path) -> None:
    model = params(trainable=("conv_head", "bn2", "classifier"), schedule="constant", rate=0.01)
    before = load_file(place.initial(model.architecture))
    after = load_file(place.trained(tmp_path, model) / "model.safetensors")
    moved = {name for name, tensor in before.items() if not torch.equal(after[name], tensor)}
    assert moved == {name for name in before if name.startswith(("conv_head.", "bn2."))}


def test_frozen_modules_are_in_eval_and_open_ones_in_train() -> None:
    model = timm.create_model("test_vit", num_classes=3, img_size=32, drop_path_rate=0.3, proj_drop_rate=0.2)
    freeze(model, ("blocks.4", "blocks.5", "norm", "head"), "tail")
    model.eval()
    set_training_modes(model)
    training = {name for name, module in model.named_modules() if module.training}
    assert {"blocks.4", "blocks.5", "norm", "head", "blocks.4.drop_path1", "blocks.5.mlp.drop1"} <= training
    assert not {name for name in training if name.startswith(("patch_embed", "blocks.0", "blocks.3"))}


def test_dropout_is_on_where_it_feeds_what_is_trained() -> None:
    model = timm.create_model("test_vit", num_classes=3, img_size=32, drop_rate=0.5, pos_drop_rate=0.5)
    freeze(model, "head", "tail")
    set_training_modes(model)
    assert model.get_submodule("head_drop").training
    assert not model.get_submodule("pos_drop").training
    freeze(model, "all", "tail")
    set_training_modes(model)
    assert all(module.training for module in model.modules())


# rates and weight decay


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_norms_biases_and_positions_do_not_decay(architecture: str) -> None:
    model = timm.create_model(architecture, num_classes=3)
    decays = {
        name: group["weight_decay"]
        for group in parameter_groups(model, params(architecture, weight_decay=0.05))
        for name in group["names"]
    }
    assert decays.keys() == names_under(architecture, "")
    vectors = {name for name, parameter in model.named_parameters() if parameter.ndim == 1}
    positional = {"pos_embed", "cls_token"} & decays.keys()
    assert positional or architecture != "test_vit"
    assert {name for name, decay in decays.items() if decay == 0} == vectors | positional
    assert {decay for name, decay in decays.items() if name not in vectors | positional} == {0.05}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layer_decay_gives_lower_rates_the_closer_to_the_photo(architecture: str) -> None:
    model: Any = timm.create_model(architecture, num_classes=3)
    scales = {
        name: group["lr_scale"]
        for group in parameter_groups(model, params(architecture, layer_decay=0.5))
        for name in group["names"]
    }
    stages = {"test_efficientnet": "blocks.{}.", "test_convnext": "stages.{}.blocks.0.", "test_vit": "blocks.{}."}
    first, *_ = scales.values()
    deep = [
        {scale for name, scale in scales.items() if name.startswith(stages[architecture].format(number))}
        for number in range(3)
    ]
    assert max(deep[0]) < max(deep[1]) < max(deep[2]) < 1
    assert first <= min(deep[0])
    classifier = model.get_classifier()
    assert {scales[name] for name, parameter in model.named_parameters() if parameter is classifier.weight} == {1.0}


def test_without_layer_decay_all_rates_are_equal_and_frozen_parameters_are_in_no_group() -> None:
    model = timm.create_model("test_vit", num_classes=3)
    freeze(model, ("blocks.5", "head"), "tail")
    groups = parameter_groups(model, params("test_vit"))
    assert {group["lr_scale"] for group in groups} == {1.0}
    names = {name for group in groups for name in group["names"]}
    assert names == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert sum(p.numel() for group in groups for p in group["params"]) == count_parameters(model)[1]


def test_the_printed_policy_accounts_for_every_parameter() -> None:
    model = timm.create_model("test_vit", num_classes=3)
    freeze(model, ("blocks.4", "blocks.5", "norm", "head"), "tail")
    rows = policy_table(model, parameter_groups(model, params("test_vit")), 1e-3)
    total, open_ = count_parameters(model)
    assert sum(row.parameters for row in rows) == total
    assert sum(row.trainable for row in rows) == open_
    frozen, opened = rows[0], rows[-1]
    assert frozen.path.startswith("cls_token")
    assert frozen.path.endswith("blocks.3")
    assert (frozen.trainable, frozen.rate) == (0, (0.0, 0.0))
    assert (opened.trainable, opened.rate) == (opened.parameters, (1e-3, 1e-3))
    text = format_policy(rows)
    assert f"{total:,}" in text
    assert f"{open_:,}" in text
    assert "frozen" in text


# creation


def test_the_model_is_the_initial_weights_under_a_new_seeded_classifier(place: Place) -> None:
    model_params = params("test_convnext")
    backbone = load_file(place.initial(model_params.architecture))
    model, again = (build(model_params, backbone, {}, 3).state_dict() for _ in range(2))
    other = build(params("test_convnext", seed=1), backbone, {}, 3).state_dict()
    assert all(torch.equal(model[name], tensor) for name, tensor in backbone.items())
    assert set(model) - set(backbone) == {"head.fc.weight", "head.fc.bias"}
    assert torch.equal(model["head.fc.weight"], again["head.fc.weight"])
    assert not torch.equal(model["head.fc.weight"], other["head.fc.weight"])


def test_initial_weights_that_lack_a_tensor_are_refused(place: Place) -> None:
    """Silently, the missing layer would start at random."""
    model_params = params("test_convnext")
    backbone = load_file(place.initial(model_params.architecture))
    del backbone["stages.1.downsample.1.weight"]
    with pytest.raises(UserError, match=r"do not fit test_convnext.*stages.1.downsample.1.weight"):
        build(model_params, backbone, {}, 3)


@pytest.mark.parametrize(
    ("name", "words"),
    [("test_vitt", "did you mean .*test_vit"), ("test_vit.laion", "its tags are test_vit.r160_in1k")],
)
def test_an_unknown_architecture_is_refused_with_the_nearest(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        create(Architecture(name=name), 3, {})


def test_an_unknown_creation_argument_is_refused() -> None:
    with pytest.raises(UserError, match="test_vit does not take"):
        create(Architecture.model_validate({"name": "test_vit", "image_sise": 32}), 3, {})


def test_drop_path_is_handed_to_the_model() -> None:
    model = create(Architecture(name="test_vit"), 3, {}, drop_path=0.3)
    rates: list[Any] = [module.drop_prob for module in model.modules() if type(module).__name__ == "DropPath"]
    assert max(rates) == pytest.approx(0.3)


# what the weights want to see


@pytest.mark.parametrize(
    ("architecture", "mean"),
    [("test_vit", (0.5, 0.5, 0.5)), ("test_efficientnet", (0.485, 0.456, 0.406))],
)
def test_normalisation_comes_from_the_weights(place: Place, architecture: str, mean: tuple[float, ...]) -> None:
    """ImageNet's mean fed to a ViT that was trained with 0.5 is a wrong colour cast in every photo."""
    model_params = params(architecture)
    model, _ = place.built(model_params)
    photos = place.photos(model, model_params)
    assert photos.data.mean == mean
    images, batch = next(photos.validation_images())
    pixel = photos.eval_view(photos.val.photo(4))[:, 5, 7] / 255
    found = images[4, :, 5, 7]
    torch.testing.assert_close(found, (pixel - torch.tensor(mean)) / torch.tensor(photos.data.std))
    assert batch.names[4] == photos.val.names[4]


def test_params_and_the_weights_overlay_win_over_timms_data_config() -> None:
    overlay = {"mean": (0.1, 0.2, 0.3), "crop_pct": 0.8}
    model: nn.Module = create(Architecture(name="test_efficientnet"), 3, overlay)
    data = data_config(model, params(train_size=48, test_size=64, interpolation="bilinear"))
    assert (data.mean, data.crop_pct, data.interpolation) == ((0.1, 0.2, 0.3), 0.8, "bilinear")
    assert (data.train_size, data.test_size) == (48, 64)
    default = data_config(model, params(train_size=None))
    assert (default.train_size, default.test_size, default.interpolation) == (160, 160, "bicubic")
    made_for = params("test_vit", train_size=None)
    assert data_config(create(made_for.architecture, 3, {}), made_for).train_size == 32, "its img_size"
