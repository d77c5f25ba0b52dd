"""`screen` of params.yaml: the backbones that are tried, and how often."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from florafauna.base.errors import UserError
from florafauna.base.settings import PARAMS, Strict, checked, mapping, read_tree
from florafauna.model.settings import Architecture, ModelParams, Weights, refuse_name, spell_out


class Backbone(Strict):
    """One frozen backbone: what it is, and how large it is shown a photo."""

    synonyms: ClassVar[dict[str, str]] = {
        "train_size": "size",
        "test_size": "size",
        "input_size": "size",
        "img_size": "size",
        "model": "architecture",
        "pretrained": "weights",
        "amp": "precision",
    }

    architecture: Architecture
    weights: Weights
    size: Annotated[int, Field(ge=16)] | None = None  # pixels a side; null: what the weights were trained on
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"

    @property
    def as_model(self) -> ModelParams:
        """The params of the training that the screening stands for: the head alone, solved."""
        return ModelParams(
            architecture=self.architecture,
            weights=self.weights,
            trainable="head",
            optimizer="lbfgs",
            train_size=self.size,
            precision=self.precision,
        )


class ScreenParams(Strict):
    """How backbones are compared. In each fold one part is scored, one chooses the L2 penalty, the others are fitted.

    `draws` is how often the training photos of the learning curve are drawn.
    """

    folds: Annotated[int, Field(ge=3)] = 5
    draws: Annotated[int, Field(ge=2)] = 5
    seed: int = 0
    backbones: dict[str, Backbone] = Field(default_factory=dict)


def read_screen(path: Path = PARAMS) -> ScreenParams:
    """The section of params.yaml; `UserError` where it is wrong or names no backbone."""
    params = screen_of(read_tree(path), str(path))
    if not params.backbones:
        raise UserError(f"{path}: 'screen.backbones' is empty; name the backbones to try there, as models are named.")
    return params


def read_backbone(name: str, path: Path = PARAMS) -> Backbone:
    """One backbone of params.yaml."""
    return read_screen(path).backbones[name]


def screen_of(tree: dict[str, Any], origin: str) -> ScreenParams:
    """The section of a tree that has already been read; it may be missing."""
    section = dict(mapping(tree.get("screen", {}), "screen", origin))
    given = mapping(section.pop("backbones", {}), "screen.backbones", origin)
    params = checked(section, ScreenParams, "screen", origin)
    return params.model_copy(update={"backbones": {name: _backbone(name, given, origin) for name in given}})


def _backbone(name: Any, given: dict[str, Any], origin: str) -> Backbone:
    refuse_name(name, given, origin, kind="backbone", taken={})
    if "." in name:  # DVC takes it for a path of keys
        raise UserError(f"{origin}: the backbone '{name}' has a '.' in its name, which DVC does not allow; write '_'.")
    where = f"screen.backbones.{name}"
    return checked(spell_out(mapping(given[name], where, origin)), Backbone, where, origin)
