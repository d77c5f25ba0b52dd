"""timm models by name and creation arguments; timm never fetches a file by itself."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from florafauna.base.errors import UserError
from florafauna.model.settings import Architecture

OF_FILES = {"checkpoint_path", "cache_dir", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"}


@dataclass(frozen=True)
class DataConfig:
    """What the weights expect of a photo: always from timm's data config, never a constant of ours."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    crop_pct: float
    train_size: int
    test_size: int


def create(
    architecture: Architecture,
    num_classes: int,
    overlay: dict[str, Any],
    drop_path: float = 0.0,
    weights: Path | None = None,
) -> nn.Module:
    """Build a timm model; `weights` is a safetensors file that must hold exactly its tensors."""
    arguments = architecture.arguments
    _refuse_files(architecture)
    if drop_path:
        arguments["drop_path_rate"] = drop_path
    if weights is not None:
        # Equal numbers of classes make timm load strictly; custom_load is for .npz files, which this is not.
        overlay = overlay | {"file": str(weights), "hf_hub_id": None, "url": "", "custom_load": False}
        overlay = overlay | {"num_classes": num_classes, "label_offset": 0}
    try:
        return timm.create_model(
            architecture.name,
            pretrained=weights is not None,
            num_classes=num_classes,
            pretrained_cfg_overlay=overlay,
            **arguments,
        )
    except TypeError as error:
        raise UserError(f"{architecture.name} does not take the given arguments: {error}.") from None
    except RuntimeError as error:
        if "Unknown model" not in str(error) and "Invalid pretrained tag" not in str(error):
            raise
        bare = architecture.name.partition(".")[0]
        near = difflib.get_close_matches(bare, timm.list_models(), n=3) if bare not in timm.list_models() else []
        tags = timm.list_pretrained(f"{bare}.*")
        hint = f"did you mean {' or '.join(near)}?" if near else f"its tags are {', '.join(tags)}."
        raise UserError(f"timm has no architecture '{architecture.name}'; {hint}") from None


def _refuse_files(architecture: Architecture) -> None:
    """With these, timm would download configurations or unpickle weights, and bundles can come from anybody."""
    if ":" in architecture.name:
        raise UserError(f"'{architecture.name}' is not one of timm's own names; choose one from timm.list_models().")
    for name in OF_FILES & architecture.arguments.keys():
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
