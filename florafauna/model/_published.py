"""What is published beside weights: normalisation, activation, creation arguments and licence, as the hub's files say.

`config.json` is timm's, `open_clip_config.json` OpenCLIP's; the model card, README.md, names the licence.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from timm.data import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from florafauna.base.errors import UserError
from florafauna.base.files import read_json
from florafauna.base.settings import Interpolation, Triple
from florafauna.model._identity import PositiveTriple

TIMM, OPEN_CLIP, CARD = "config.json", "open_clip_config.json", "README.md"
BESIDE = (TIMM, OPEN_CLIP, CARD)
QUICK_GELU = re.compile("quick_?gelu", re.IGNORECASE)


@dataclass(frozen=True)
class Published:
    """What the files beside some weights say; what they do not say is empty or None."""

    overlay: dict[str, Any] = field(default_factory=dict)  # of timm's pretrained_cfg
    arguments: dict[str, Any] = field(default_factory=dict)  # timm's creation arguments
    quick_gelu: bool | None = None  # whether the activation is x · sigmoid(1.702 x), as in OpenAI's CLIP
    licence: str | None = None
    where: str = ""


class _Shown(BaseModel):
    """How photos are shown to the weights; what else stands there is passed over."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    mean: Triple | None = None
    std: PositiveTriple | None = None
    interpolation: Interpolation | None = None
    crop_pct: float | None = None
    input_size: tuple[int, int, int] | None = None


def beside(folder: Path, open_clip: bool) -> Published:
    """What the folder of some weights says of them; `open_clip` where they are named as OpenCLIP's are."""
    name = OPEN_CLIP if open_clip else TIMM
    told = read_json(folder / name, when_broken="fetch it again") if (folder / name).is_file() else {}
    licence = _licence(folder / CARD)
    try:
        if open_clip and "model_cfg" in told:
            return _of_open_clip(told, licence, name)
        if not open_clip and "architecture" in told:
            return _of_timm(told, licence, name)
    except (ValidationError, AttributeError, TypeError, ValueError):
        writer = "OpenCLIP" if open_clip else "timm"
        raise UserError(f"{folder / name} is not as {writer} writes it; fetch it again.") from None
    return Published(licence=licence)


def of_tag(config: Any) -> Published:
    """The same of one of timm's own tags, by its `pretrained_cfg`."""
    told = QUICK_GELU.search(f"{config.architecture} {config.notes}")
    return Published(quick_gelu=told is not None, licence=config.license, where="timm")


def _of_open_clip(told: dict[str, Any], licence: str | None, where: str) -> Published:
    model, shown = told["model_cfg"], {"mean": OPENAI_CLIP_MEAN, "std": OPENAI_CLIP_STD}  # OpenCLIP's own defaults
    given = told.get("preprocess_cfg", {})
    shown |= {key: given[key] for key in ("mean", "std") if given.get(key) is not None}
    shown["interpolation"] = given.get("interpolation")
    by_timm = "timm_model_name" in model["vision_cfg"]  # quick_gelu is then that of the text alone
    quick = None if by_timm else bool(model.get("quick_gelu", False))
    return Published(_overlay(shown), {}, quick, licence, where)


def _of_timm(told: dict[str, Any], licence: str | None, where: str) -> Published:
    shown, arguments = told.get("pretrained_cfg", told), dict(told.get("model_args", {}))
    told_of = f"{told['architecture']} {shown.get('notes')} {arguments.get('act_layer')}"
    return Published(
        _overlay(shown), arguments, QUICK_GELU.search(told_of) is not None, licence or shown.get("license"), where
    )


def _overlay(shown: dict[str, Any]) -> dict[str, Any]:
    if shown.get("interpolation") not in get_args(Interpolation):  # OpenCLIP also writes 'random'
        shown = shown | {"interpolation": None}
    return _Shown.model_validate(shown).model_dump(exclude_none=True)


def _licence(card: Path) -> str | None:
    """The licence in the front matter of a model card."""
    if not card.is_file():
        return None
    front = re.match(r"---\r?\n(.*?)\r?\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    try:
        told = yaml.safe_load(front[1]) if front else {}
    except yaml.YAMLError:
        return None
    found = told.get("license") if isinstance(told, dict) else None
    if found == "other":
        found = told.get("license_name", found)
    return " and ".join(map(str, found)) if isinstance(found, list) else str(found) if found else None
