"""timm models by name and creation arguments; timm never fetches a file by itself."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from florafauna.base.errors import UserError
from florafauna.model.compute import out_of_memory
from florafauna.model.settings import Architecture

# With these timm would fetch or unpickle files, or let tensors that a file lacks stay random.
LOADING = re.compile("pretrained.*|checkpoint.*|cache_dir|kwargs_filter|feature_cfg|features_only|.*strict")


@dataclass(frozen=True)
class DataConfig:
    """What the weights expect of a photo: always from timm's data config, never a constant of ours."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    crop_pct: float
    train_size: int
    test_size: int


def create(architecture: Architecture, num_classes: int, overlay: dict[str, Any], drop_path: float = 0.0) -> nn.Module:
    """Build a timm model with random weights; `UserError` where timm knows none such, whatever timm raises."""
    _refuse_files(architecture)
    try:
        return _create(architecture, num_classes, overlay, drop_path)
    except UserError:
        raise
    except Exception as error:  # each architecture refuses arguments in its own way
        if out_of_memory(error):
            raise
        raise UserError(
            f"{architecture.name} does not take the given arguments ({_listed(architecture)}): {_reason(error)}."
        ) from None


def load(
    architecture: Architecture, num_classes: int, overlay: dict[str, Any], weights: Path | dict[str, torch.Tensor]
) -> nn.Module:
    """The same with the tensors of a safetensors file, or with given ones, which must be exactly those of the model.

    timm resamples positions that were learned for photos of another size.
    """
    _refuse_files(architecture)
    where = str(weights) if isinstance(weights, Path) else "what was read of the weights"
    source = {"file": where} if isinstance(weights, Path) else {"state_dict": dict(weights)}
    # Equal numbers of classes make timm load strictly; custom_load is for .npz files, which this is not.
    overlay = overlay | source | {"hf_hub_id": None, "url": "", "custom_load": False}
    overlay = overlay | {"num_classes": num_classes, "label_offset": 0}
    try:
        return _create(architecture, num_classes, overlay, pretrained=True)
    except UserError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise UserError(f"{where} does not fit {architecture.name}: {_reason(error)}.") from None


def at_size(architecture: Architecture, overlay: dict[str, Any], train: int | None, test: int | None) -> Architecture:
    """The architecture for training and test photos of these sizes (None: its own), if it is made for one size.

    Positions are then resampled once, when the weights are loaded, or for each photo where the two sizes differ.
    `UserError` where the architecture cannot do the latter.
    """
    config, own = timm.get_pretrained_cfg(architecture.name), architecture.arguments
    if config is None or not config.fixed_input_size or {"dynamic_img_size", "strict_img_size"} & own.keys():
        return architecture
    native = own.get("img_size") or (overlay.get("input_size") or config.input_size)[-1]
    train = train or native
    test = test or train
    if native == train == test:
        return architecture
    if train == test:
        return Architecture(name=architecture.name, **own | {"img_size": train})
    dynamic = Architecture(name=architecture.name, **own | {"dynamic_img_size": True})
    try:
        takes_any = getattr(create(dynamic, 0, overlay), "dynamic_img_size", False)
    except UserError:
        takes_any = False
    if not takes_any:
        raise UserError(
            f"{architecture.name} is made for photos of one size; set test_size ({test}) to train_size ({train})."
        )
    return dynamic


def _create(
    architecture: Architecture,
    num_classes: int,
    overlay: dict[str, Any],
    drop_path: float = 0.0,
    pretrained: bool = False,
) -> nn.Module:
    arguments = architecture.arguments
    if drop_path:
        arguments["drop_path_rate"] = drop_path
    try:
        return timm.create_model(
            architecture.name,
            pretrained=pretrained,
            num_classes=num_classes,
            pretrained_cfg_overlay=overlay,
            **arguments,
        )
    except RuntimeError as error:
        if "Unknown model" not in str(error) and "Invalid pretrained tag" not in str(error):
            raise
        bare = architecture.name.partition(".")[0]
        near = difflib.get_close_matches(bare, timm.list_models(), n=3) if bare not in timm.list_models() else []
        hint = f"did you mean {' or '.join(near)}?" if near else f"{known_tags(architecture.name)}."
        raise UserError(f"timm has no architecture '{architecture.name}'; {hint}") from None


def try_out(model: nn.Module, size: int, name: str) -> None:
    """Show the model a photo of noise, `size` pixels a side; `UserError` where it does not take it or answers NaN.

    What timm accepts when a model is made may fail only here: one channel, a patch larger than the photo, another size.
    """
    noise = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            answer = model(noise.to(next(model.parameters()).device))
    except Exception as error:
        if out_of_memory(error):
            raise
        raise UserError(
            f"{name} cannot be run on RGB photos of {size} × {size} pixels: {_reason(error)}; change its arguments, or "
            "train_size and test_size."
        ) from None
    finally:
        model.train(was_training)
    has_classes = getattr(model, "num_classes", 0) > 0  # without, features may have any shape
    if not isinstance(answer, torch.Tensor) or len(answer) != 1 or (has_classes and answer.ndim != 2):
        raise UserError(f"{name} does not answer with one row of numbers a photo; change its arguments.")
    if not answer.isfinite().all():
        raise UserError(f"{name} answers NaN or infinite numbers: its weights or arguments hold such; change them.")


def known_tags(name: str) -> str:
    """Half a sentence on what weights timm knows of the architecture with this name."""
    tags = timm.list_pretrained(f"{name.partition('.')[0]}.*")
    return f"its tags are {', '.join(tags)}" if tags else "timm has no weights of that architecture"


def _reason(error: Exception) -> str:
    """The gist of an error on one line: torch lists what does not fit behind a heading."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[-1].split())[:300].rstrip(".")


def _listed(architecture: Architecture) -> str:
    return ", ".join(f"{name}: {value}" for name, value in architecture.arguments.items()) or "none"


def _refuse_files(architecture: Architecture) -> None:
    """With these, timm would download configurations or unpickle weights, and bundles can come from anybody."""
    if ":" in architecture.name or "/" in architecture.name:
        raise UserError(f"'{architecture.name}' is not one of timm's own names; choose one from timm.list_models().")
    for name in filter(LOADING.fullmatch, architecture.arguments):
        raise UserError(f"'{name}' is not an argument of an architecture; give weights as `weights`.")


def backbone_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state of everything but the classifier."""
    classifier = tuple(f"{path}." for path in classifier_paths(model))
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(classifier)}


def classifier_paths(model: nn.Module) -> tuple[str, ...]:
    """Module paths of the classifier, as timm's config names them (`head.fc`, `classifier`, ...)."""
    config: dict[str, Any] = getattr(model, "pretrained_cfg", {})
    paths = config.get("classifier")
    if not paths:
        raise UserError("timm names no classifier for this architecture, so it cannot be given a new one; use another.")
    return (paths,) if isinstance(paths, str) else tuple(paths)
