"""What is made of a model for scoring gives the model's logits, or the model is left as it is, and that is said."""

from collections.abc import Iterator

import pytest
import timm
import torch
from helpers.tiny import CPU
from torch import nn

from florafauna.base.errors import UserError
from florafauna.bundle.inference import PIXELS, Ready, for_cpu, forward
from florafauna.model.network import DataConfig, classifier_paths

DATA = DataConfig((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bicubic", 0.9, 64, 64)


class Twice(nn.Module):
    """Uses what its convolution gave behind the batch norm's back."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        found = self.conv(images)
        return (self.bn(found) + found).mean((2, 3))


def norms(model: nn.Module) -> Iterator[nn.BatchNorm2d]:
    return (module for module in model.modules() if isinstance(module, nn.BatchNorm2d))


def with_statistics(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for norm in norms(model):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.normal_(0, 0.1, generator=generator)
        norm.running_var.uniform_(0.8, 1.2, generator=generator)
    return model.eval()


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")
@pytest.mark.parametrize("name", ["edgenext_xx_small", "eva02_tiny_patch14_224", "test_convnext", "test_vit"])
def test_packed_weights_give_the_same_logits(name: str) -> None:
    """Of the attention of EVA02 the weight is read past its layer, of EdgeNeXt's encoding where it lies."""
    model = timm.create_model(name, num_classes=5, img_size=56) if "patch" in name else timm.create_model(name)
    size = 56 if "patch" in name else model.pretrained_cfg["input_size"][-1]
    given = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    packed = for_cpu(model.eval(), size)
    assert packed is not model
    assert any("Packed" in type(module).__name__ for module in packed.modules())
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(images)
        torch.testing.assert_close(packed(images), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    assert all(torch.equal(tensor, given[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["resnet10t", "test_efficientnet", "test_byobnet"])
def test_folded_batch_norms_give_the_same_logits(name: str) -> None:
    model = with_statistics(timm.create_model(name, num_classes=5))
    before = sum(1 for _ in norms(model))
    folded = for_cpu(model, 64)
    assert before > 0 == sum(1 for _ in norms(folded))
    assert sum(1 for _ in norms(model)) == before, "the model itself stays"
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(images)
        torch.testing.assert_close(folded(images), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_where_folding_would_change_the_logits_the_model_stays(capsys: pytest.CaptureFixture[str]) -> None:
    model = with_statistics(Twice())
    assert for_cpu(model, 16) is model
    assert "the model is run as it was trained" in capsys.readouterr().err


def test_where_there_is_nothing_to_change_the_model_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)  # as on macOS
    model, runs = nn.Conv2d(3, 4, 3), list[object]()
    model.register_forward_hook(lambda *given: runs.append(given))
    assert for_cpu(model, 16) is model
    assert not runs
    folded = for_cpu(with_statistics(nn.Sequential(model, nn.BatchNorm2d(4))), 16)
    assert not any(norms(folded))


def test_logits_do_not_depend_on_the_number_of_cores() -> None:
    model = with_statistics(timm.create_model("test_efficientnet", num_classes=5))
    photos = 2 * PIXELS // 64**2 + 3  # three parts
    pixels = torch.randint(0, 256, (photos, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(Ready(model, DATA, CPU).logits(pixels))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)
    with torch.inference_mode():
        torch.testing.assert_close(found[0], forward(model, pixels, DATA, CPU), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "test_byobnet", "test_convnext", "test_vit"])
def test_features_are_what_the_classifier_is_given(name: str) -> None:
    size = {"img_size": 64} if name == "test_vit" else {}
    model = with_statistics(timm.create_model(name, num_classes=5, **size))
    pixels = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    given: list[torch.Tensor] = []
    (classifier,) = classifier_paths(model)
    hook = model.get_submodule(classifier).register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    with torch.inference_mode():
        forward(model, pixels, DATA, CPU)
    hook.remove()
    expected = given[0].flatten(1)
    found = Ready(model, DATA, CPU).features(pixels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_a_model_whose_features_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(UserError, match="features cannot be told from its classifier"):
        Ready(with_statistics(Twice()), DATA, CPU).features(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
