"""All of params.yaml at once, for `florafauna check`; each stage reads only its own section."""

from pathlib import Path
from typing import Any

from florafauna.base.errors import UserError
from florafauna.base.settings import PARAMS, Strict, known_sections, read_tree, section_of
from florafauna.ci.settings import CiParams
from florafauna.model.settings import ModelParams, models_of
from florafauna.photos.settings import BoxParams, DataParams
from florafauna.preprocess.settings import ImageParams
from florafauna.scores.settings import EvaluateParams
from florafauna.screen.settings import ScreenParams, screen_of
from florafauna.split.settings import SplitParams

SIZES = ("train_size", "test_size")


class Params(Strict):
    """All of params.yaml, with the shared `training` values merged into each model."""

    data: DataParams
    boxes: BoxParams
    split: SplitParams
    image: ImageParams
    models: dict[str, ModelParams]
    evaluate: EvaluateParams
    screen: ScreenParams
    ci: CiParams


def load_params(path: Path = PARAMS) -> Params:
    """Read and check params.yaml; `UserError` names a wrong key and, if it is unknown, the nearest valid one."""
    return parse_params(read_tree(path), str(path))


def parse_params(tree: Any, origin: str = "params.yaml") -> Params:
    """Check a params tree that has already been read; `origin` names it in messages."""
    tree = known_sections(tree, origin)
    params = Params(
        data=section_of(tree, "data", DataParams, origin),
        boxes=section_of(tree, "boxes", BoxParams, origin),
        split=section_of(tree, "split", SplitParams, origin),
        image=section_of(tree, "image", ImageParams, origin),
        models=models_of(tree, origin),
        evaluate=section_of(tree, "evaluate", EvaluateParams, origin),
        screen=screen_of(tree, origin),
        ci=section_of(tree, "ci", CiParams, origin),
    )
    sizes = {f"models.{name}.{key}": getattr(model, key) for name, model in params.models.items() for key in SIZES}
    sizes |= {f"screen.backbones.{name}.size": each.size for name, each in params.screen.backbones.items()}
    for key, size in sizes.items():
        if size is not None and size > params.image.store_size:
            raise UserError(
                f"{origin}: {key} ({size}) exceeds image.store_size ({params.image.store_size}): "
                "photos would be enlarged; raise image.store_size."
            )
    return params
