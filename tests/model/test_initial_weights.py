"""Initial weights: from a file or a seed, never silently at random, and what they are is written down."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from helpers.tiny import ARCHITECTURES
from safetensors.torch import load_file, save_file

from florafauna.base.errors import UserError
from florafauna.base.files import sha256_file
from florafauna.model.settings import Architecture, Weights
from florafauna.model.weights import InitialWeights, load_initial_weights, make_initial_weights

NONE = Weights(source="none")

# The models of the presets under the same tags, only smaller.
SMALL: dict[str, dict[str, Any]] = {
    "tf_efficientnetv2_b0.in1k": {},
    "convnext_base.fb_in22k_ft_in1k": {"depths": (1, 1, 1, 1), "dims": (8, 8, 8, 8)},
    "vit_base_patch16_224.augreg2_in21k_ft_in1k": {"depth": 2, "embed_dim": 24, "num_heads": 2},
    "maxvit_tiny_tf_224.in1k": {"embed_dim": (32, 32, 32, 32), "depths": (1, 1, 1, 1)},
    "swin_base_patch4_window7_224.ms_in22k_ft_in1k": {"embed_dim": 32, "num_heads": (1, 2, 4, 8)},
    "vit_large_patch16_224.augreg_in21k_ft_in1k": {"depth": 2, "embed_dim": 24, "num_heads": 2},
}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder: files of weights are relative to it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/weights").mkdir(parents=True)
    return tmp_path


def seeded(name: str, classes: int = 7, seed: int = 5, **arguments: Any) -> Any:
    torch.manual_seed(seed)
    model: Any = timm.create_model(name, num_classes=classes, **arguments)
    return model


def from_file(name: str, file: str = "data/weights/w.safetensors", **arguments: Any) -> InitialWeights:
    architecture = Architecture.model_validate({"name": name, **arguments})
    return make_initial_weights(architecture, Weights(source="file", file=file), Path("initial.safetensors"))


def assert_backbone_of(model: Any, tensors: dict[str, torch.Tensor]) -> None:
    expected = model.state_dict()
    classifier = {name for name in expected if name.startswith(str(model.pretrained_cfg["classifier"]) + ".")}
    assert classifier
    assert set(tensors) == set(expected) - classifier
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors.items())


# from a file


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("with_classifier", [True, False])
def test_a_files_backbone_is_taken_with_or_without_a_classifier_beside_it(
    workplace: Path, architecture: str, with_classifier: bool
) -> None:
    model = seeded(architecture)
    classifier = f"{model.pretrained_cfg['classifier']}."
    state = {k: v for k, v in model.state_dict().items() if with_classifier or not k.startswith(classifier)}
    save_file(state, workplace / "data/weights/w.safetensors")
    assert_backbone_of(model, from_file(architecture).tensors)
    assert_backbone_of(model, load_initial_weights(Path("initial.safetensors")).tensors)


@pytest.mark.parametrize("architecture", SMALL)
def test_every_architecture_of_the_presets_takes_a_file(workplace: Path, architecture: str) -> None:
    """timm reads the files of some tags (those marked custom_load) as .npz unless it is told otherwise."""
    model = seeded(architecture, 1000, **SMALL[architecture])
    save_file(model.state_dict(), workplace / "data/weights/w.safetensors")
    assert_backbone_of(model, from_file(architecture, **SMALL[architecture]).tensors)


def test_positions_are_resampled_to_another_size(workplace: Path) -> None:
    save_file(seeded("test_vit", img_size=64).state_dict(), workplace / "data/weights/w.safetensors")
    tensors = from_file("test_vit", img_size=32).tensors
    assert tensors["pos_embed"].shape == seeded("test_vit", img_size=32).state_dict()["pos_embed"].shape


def test_origin_and_overlay_are_written_down(workplace: Path) -> None:
    save_file(seeded("test_convnext").state_dict(), workplace / "data/weights/w.safetensors")
    weights = Weights(
        source="file",
        file="data/weights/w.safetensors",
        mean=(0.1, 0.2, 0.3),
        crop_pct=0.8,
        licence="CC0-1.0",
        seen="ten newts",
    )
    out = workplace / "out" / "initial.safetensors"
    made = make_initial_weights(Architecture(name="test_convnext"), weights, out)
    read = load_initial_weights(out)
    assert read.origin == made.origin
    assert read.origin == {
        "source": "file",
        "name": "w.safetensors",
        "sha256": sha256_file(workplace / "data/weights/w.safetensors"),
        "licence": "CC0-1.0",
        "seen": "ten newts",
    }
    assert {name: tuple(v) if isinstance(v, list) else v for name, v in read.overlay.items()} == {
        "mean": (0.1, 0.2, 0.3),
        "crop_pct": 0.8,
    }
    assert read.architecture == Architecture(name="test_convnext")


def test_a_missing_file_is_refused(workplace: Path) -> None:
    with pytest.raises(UserError, match=r"data/weights/w.safetensors is missing"):
        from_file("test_vit")
    assert not Path("initial.safetensors").exists()


def test_weights_of_another_architecture_are_refused(workplace: Path) -> None:
    save_file(seeded("test_vit").state_dict(), workplace / "data/weights/w.safetensors")
    with pytest.raises(UserError, match="does not fit test_convnext") as refused:
        from_file("test_convnext")
    assert "\n" not in str(refused.value)
    assert not Path("initial.safetensors").exists()


@pytest.mark.parametrize("change", ["a tensor is missing", "a tensor is unknown", "a tensor has another shape"])
def test_a_file_that_would_leave_a_layer_at_random_is_refused(workplace: Path, change: str) -> None:
    state = dict(seeded("test_vit").state_dict())
    weight = state.pop("blocks.3.mlp.fc1.weight")
    if change == "a tensor is unknown":
        state |= {"blocks.3.mlp.fc1.weight": weight, "blocks.9.mlp.fc1.weight": weight.clone()}
    if change == "a tensor has another shape":
        state["blocks.3.mlp.fc1.weight"] = weight[:-1].clone()
    save_file(state, workplace / "data/weights/w.safetensors")
    with pytest.raises(UserError, match=r"does not fit test_vit: .*blocks\.[39]\.mlp\.fc1\.weight"):
        from_file("test_vit")


class _Touch:
    """What a malicious checkpoint is: unpickling it runs code."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (Path("touched"),)


@pytest.mark.parametrize("content", ["pickle", "torch", "text", "truncated", "empty"])
def test_what_is_no_safetensors_file_is_refused_and_never_unpickled(workplace: Path, content: str) -> None:
    file = workplace / "data/weights/w.safetensors"
    if content == "pickle":
        file.write_bytes(pickle.dumps(_Touch()))
    elif content == "torch":
        torch.save({"state_dict": seeded("test_vit").state_dict(), "epoch": _Touch()}, file)
    elif content == "truncated":
        save_file(seeded("test_vit").state_dict(), file)
        file.write_bytes(file.read_bytes()[:-100])
    else:
        file.write_text("not found" if content == "text" else "")
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        from_file("test_vit")
    assert not Path("touched").exists()


# from a seed


def test_random_weights_are_a_function_of_their_seed(tmp_path: Path) -> None:
    architecture = Architecture(name="test_efficientnet")
    files = [tmp_path / f"{number}.safetensors" for number in range(3)]
    for file, seed in zip(files, (3, 3, 4), strict=True):
        torch.rand(seed + len(file.name))  # whatever was drawn before
        initial = make_initial_weights(architecture, Weights(source="none", seed=seed), file)
        assert initial.origin["source"] == "none"
        assert initial.origin["seed"] == seed
    assert files[0].read_bytes() == files[1].read_bytes()
    first, other = load_file(files[0]), load_file(files[2])
    assert not torch.equal(first["conv_stem.weight"], other["conv_stem.weight"])
    assert not any(name.startswith("classifier") for name in first)


@pytest.mark.parametrize("place", [0.5, 0.999, 40])
def test_one_bit_that_the_disk_changed_is_noticed(tmp_path: Path, place: float) -> None:
    """In the tensors, or in the header, whose first 40 bytes name the architecture."""
    file = tmp_path / "initial.safetensors"
    make_initial_weights(Architecture(name="test_vit"), Weights(source="none"), file)
    content = bytearray(file.read_bytes())
    content[int(place * len(content)) if place < 1 else int(place)] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"initial\.safetensors \(.*\) does not hold initial weights .*delete it"):
        load_initial_weights(file)


@pytest.mark.parametrize("content", [None, b"", b"text"])
def test_what_holds_no_initial_weights_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "initial.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match="does not hold initial weights"):
        load_initial_weights(file)
    save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(UserError, match="does not hold initial weights"):
        load_initial_weights(file)


# from the hub


@pytest.mark.parametrize("name", ["test_vit", "test_vit.augreg", "no_such_model.in1k"])
def test_the_hub_is_asked_for_full_tags_only(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"needs a full timm tag, which '{name}' is not"):
        make_initial_weights(Architecture(name=name), Weights(source="hub"), tmp_path / "initial.safetensors")


# what timm refuses in its own ways


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("test_efficientnet", {"in_chans": 1}, "cannot be run on RGB photos"),
        ("test_vit", {"drop_rate": 2}, "does not take the given arguments (drop_rate: 2)"),
        ("test_vit", {"patch_size": 7}, ""),
        ("test_vit", {"img_size": 0}, ""),
        ("test_vit", {"img_size": "large"}, ""),
        ("test_vit", {"num_classes": 3}, "does not take the given arguments"),
        ("test_vit", {"pretrained_strict": False}, "'pretrained_strict' is not an argument of an architecture"),
        ("test_vit", {"checkpoint_path": "x.pth"}, "'checkpoint_path' is not an argument of an architecture"),
        ("test_vit", {"pretrained_filter_fn": "x"}, "'pretrained_filter_fn' is not an argument"),
        ("test_convnext", {"features_only": True}, "'features_only' is not an argument"),
        ("timm/x", {}, "'timm/x' is not one of timm's own names"),
        ("test_vit.x", {}, "its tags are test_vit.r160_in1k"),
        ("efficientnet_b8.x", {}, "timm has no weights of that architecture"),
    ],
)
def test_what_timm_refuses_is_one_sentence(tmp_path: Path, name: str, arguments: dict[str, Any], words: str) -> None:
    architecture = Architecture.model_validate({"name": name, **arguments})
    with pytest.raises(UserError) as refused:
        make_initial_weights(architecture, NONE, tmp_path / "initial.safetensors")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith((".", "?"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("nan"), [0.1, float("inf")], {"a": float("nan")}])
def test_arguments_that_are_no_numbers_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="drop_rate must be finite"):
        Architecture.model_validate({"name": "test_vit", "drop_rate": value})


@pytest.mark.parametrize(("name", "value"), [("depth", 100_000), ("depths", [3, 3, 5_000]), ("img_size", 10**9)])
def test_arguments_that_no_network_could_have_are_refused_at_once(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{name} is .* at most; no network is that large"):
        Architecture.model_validate({"name": "test_vit", name: value})


def test_a_file_of_another_family_cannot_be_let_pass(workplace: Path) -> None:
    save_file(seeded("test_convnext").state_dict(), workplace / "data/weights/w.safetensors")
    with pytest.raises(UserError, match="'pretrained_strict' is not an argument of an architecture"):
        from_file("test_vit", pretrained_strict=False)
    assert not Path("initial.safetensors").exists()


def test_a_file_of_nan_is_refused(workplace: Path) -> None:
    state = dict(seeded("test_vit").state_dict())
    state["blocks.3.mlp.fc1.weight"] = state["blocks.3.mlp.fc1.weight"] * float("nan")
    save_file(state, workplace / "data/weights/w.safetensors")
    with pytest.raises(UserError, match="test_vit answers NaN or infinite numbers"):
        from_file("test_vit")


def test_a_deviation_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        Weights(source="none", std=(0.2, 0.0, 0.2))
