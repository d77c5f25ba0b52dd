"""`models` and `training` of params.yaml: what a model is, what of it is trained, and how."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from florafauna.base.errors import UserError
from florafauna.base.settings import (
    PARAMS,
    Count,
    Interpolation,
    Names,
    NotNegative,
    OpenShare,
    Pair,
    Positive,
    Share,
    Strict,
    checked,
    mapping,
    read_tree,
    refuse_unknown,
    shown,
)
from florafauna.model._identity import Architecture as Architecture
from florafauna.model._identity import Weights as Weights

# A guard against overfitting, not a schedule: below 5 epochs it stops a run before its rate has fallen.
LEAST_PATIENCE_UNDER_COSINE = 5

# A model's files are named after it, and a project is to be checked out on Windows, too.
NAME = re.compile(r"\w([\w.-]*[\w-])?", re.ASCII)
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.ASCII)
TAKEN = {
    "initial": "models/initial is a folder of other files",
    "trained": "models/trained is a folder of other files",
    "folds": "predictions/folds is a folder of other files",
    "data": "metrics/data.json describes the photos",
    "comparison": "metrics/comparison.json compares the models",
    "ensemble": "plots and report have an ensemble of all models",
}
# timm's policy strings; its own parser passes over sections that it does not know, or fails on them in the first epoch.
NUMBER = r"\d+(\.\d+)?"
POLICY = re.compile(
    rf"rand(-(m\d+|n\d+|p{NUMBER}|mstd{NUMBER}|mmax\d+|inc[01]|t(weights|3aw|3a)))*"
    rf"|augmix(-(m\d+|w\d+|d\d+|a{NUMBER}|b[01]|mstd{NUMBER}))*"
    rf"|(originalr?|v0r?|3a)(-mstd{NUMBER})?"
)
IDENTITY = ("architecture", "weights")  # what a model is; never shared through `training`


class Augment(Strict):
    """How a training view differs from the photo. 0 or null switches an item off."""

    synonyms: ClassVar[dict[str, str]] = {
        "randaugment": "rand_augment",
        "auto_augment": "rand_augment",
        "reprob": "random_erasing",
    }

    scale: Pair = (0.08, 1.0)
    ratio: Pair = (0.75, 1.3333333333333333)
    horizontal_flip: Share = 0.5
    vertical_flip: Share = 0.0
    rand_augment: str | None = None
    color_jitter: NotNegative = 0.0
    random_erasing: Share = 0.0
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if low > high:
                raise ValueError(f"{name} must be [smaller, larger], not [{low}, {high}]")
        if self.scale[1] > 1:
            raise ValueError(f"scale is a share of the photo's area and cannot exceed 1, not {self.scale[1]}")
        if self.rand_augment is not None and not POLICY.fullmatch(self.rand_augment):
            raise ValueError(
                f"rand_augment takes a timm policy such as rand-m9-mstd0.5-inc1, not {shown(self.rand_augment)}"
            )
        return self


def _or_else(sentence: str) -> WrapValidator:
    """Refuses with this sentence; pydantic would do so in the words of the union's first member alone."""

    def check(value: Any, union: ValidatorFunctionWrapHandler) -> Any:
        try:
            return union(value)
        except ValidationError:
            raise ValueError(sentence) from None

    return WrapValidator(check)


MODULES = _or_else("must be all, head or a list of module paths such as [blocks.11, norm, head]")
WISE = _or_else("must be auto, a number from 0 (the start) to 1 (the fine-tuned model), or null")
COMPILE = _or_else("must be true, false or auto")


class ModelParams(Strict):
    """One model: what it is, what of it is trained, and how. `training` holds the values that all models share."""

    synonyms: ClassVar[dict[str, str]] = {
        "lr": "rate",
        "learning_rate": "rate",
        "optimiser": "optimizer",
        "wd": "weight_decay",
        "early_stopping": "patience",
        "num_epochs": "epochs",
        "model": "architecture",
        "model_name": "architecture",
        "pretrained": "weights",
        "freeze": "trainable",
        "lpft": "head_init",
        "lp_ft": "head_init",
        "linear_probe": "head_init",
        "probe": "head_init",
        "init_head": "head_init",
        "input_size": "train_size",
        "img_size": "train_size",
        "amp": "precision",
        "logit_adjustment": "loss",
        "class_weights": "class_weighting",
        "wise_ft": "wise",
        "wiseft": "wise",
    }

    architecture: Architecture
    weights: Weights

    trainable: Annotated[Literal["all", "head"] | Names, MODULES]
    norms: Literal["all", "tail"] = "tail"
    # The new classifier, with its mean weighted F1 on validation over 7 settings of real photos (benchmark head_start).
    # zero (0.788) wins and fits any architecture; probe (0.786): the optimum over the frozen features (LP-FT), better
    # with few photos in all layers, and on the drawn sample; normal (0.782): small random numbers; random (0.667): as
    # timm draws it, which stays for ever where no photo changes it. Under optimizer: lbfgs, the way to train a head
    # alone, it does not matter.
    head_init: Literal["zero", "probe", "normal", "random"] = "zero"

    epochs: Count = 15
    batch_size: Count = 64
    accumulate: Count = 1
    optimizer: Literal["adam", "adamw", "sgd", "lbfgs"] = "adamw"  # lbfgs: the head's convex problem, in one go
    rate: Positive = 1e-3
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    weight_decay: NotNegative = 1e-4
    momentum: Share = 0.9
    clip_gradient: Positive | None = None
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    warmup_epochs: NotNegative = 1.0
    final_rate: Share = 0.0
    plateau_patience: Count = 2
    plateau_factor: OpenShare = 0.1
    patience: Count = 5

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    loss: Literal["cross_entropy", "logit_adjusted"] = "cross_entropy"
    class_weighting: Literal["none", "balanced"] = "none"
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    # WiSE-FT: the share of the fine-tuned weights in their mean with the start; auto: the best on validation.
    wise: Annotated[Literal["auto"] | Share | None, WISE] = None

    train_size: Annotated[int, Field(ge=16)] | None = None
    test_size: Annotated[int, Field(ge=16)] | None = None
    interpolation: Interpolation | None = None
    augment: Augment = Augment()
    views: Annotated[int, Field(ge=0)] = 0

    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    compile: Annotated[bool | Literal["auto"], COMPILE] = False  # auto: on a GPU, if it pays by what steps take
    workers: Annotated[int, Field(ge=0)] | None = None
    seed: int = 0
    seeds: Count = 1  # trained so many times, with seed, seed + 1, …: how much of the score is luck

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.schedule == "plateau" and self.plateau_patience + 1 >= self.patience:
            raise ValueError(
                f"plateau_patience ({self.plateau_patience}) must be at least 2 below patience ({self.patience}): "
                "training would stop before the rate ever falls"
            )
        if self.schedule == "cosine" and self.patience < min(LEAST_PATIENCE_UNDER_COSINE, self.epochs):
            raise ValueError(
                f"patience ({self.patience}) must be at least {LEAST_PATIENCE_UNDER_COSINE} under the cosine schedule: "
                "training would stop before the rate has fallen"
            )
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs}) must be below epochs ({self.epochs})")
        if self.trainable == "head" and self.layer_decay < 1:
            raise ValueError("layer_decay below 1 has no effect with trainable: head; remove one of the two")
        if isinstance(self.trainable, tuple) and not self.trainable:
            raise ValueError("trainable is an empty list, so nothing would be trained; use all, head or module paths")
        if self.batch_size % 2 and (self.augment.mixup or self.augment.cutmix):
            raise ValueError(f"batch_size ({self.batch_size}) must be even under mixup and cutmix, which mix pairs")
        if self.views and (self.augment.mixup or self.augment.cutmix):
            raise ValueError("views cannot be cycled under mixup or cutmix, which mix other photos in every epoch")
        if self.loss == "logit_adjusted" and self.class_weighting != "none":
            raise ValueError("loss: logit_adjusted and class_weighting both make up for rare classes; remove one")
        if self.optimizer == "lbfgs":
            self._solvable()
        elif self.views > self.epochs:
            raise ValueError(f"views ({self.views}) exceeds epochs ({self.epochs}): some would never be used")
        return self

    def _solvable(self) -> None:
        """What the loop alone uses (rate, schedule, epochs, batch size, …) may be shared and is passed over."""
        if self.trainable == "all":
            raise ValueError("optimizer: lbfgs solves the head alone; set trainable: head, or use adam, adamw or sgd")
        if self.norms == "all":
            raise ValueError("norms: all trains more than the head, which optimizer: lbfgs solves alone; remove one")
        if self.augment.mixup or self.augment.cutmix:
            raise ValueError("optimizer: lbfgs solves for fixed views and cannot mix photos; set mixup and cutmix to 0")
        if self.wise is not None:
            raise ValueError("wise takes a mean with the start, which optimizer: lbfgs has not; remove one of the two")


def read_model(name: str, path: Path = PARAMS) -> ModelParams:
    """The params of one model, the shared `training` values merged in; `UserError` if there is none of that name."""
    tree = read_tree(path)
    models = mapping(tree.get("models", {}), "models", str(path))
    if name not in models:
        raise UserError(f"{path} has no model '{name}'; it has {', '.join(map(str, models)) or 'none'}.")
    return _model(tree, name, str(path))


def model_names(path: Path = PARAMS) -> list[str]:
    """The names of all models of params.yaml."""
    return list(mapping(read_tree(path).get("models", {}), "models", str(path)))


def models_of(tree: dict[str, Any], origin: str) -> dict[str, ModelParams]:
    """All models of params.yaml by name."""
    models = mapping(tree.get("models", {}), "models", origin)
    if not models:
        raise UserError(f"{origin}: 'models' is empty; give at least one model.")
    return {name: _model(tree, name, origin) for name in models}


def _model(tree: dict[str, Any], name: str, origin: str) -> ModelParams:
    refuse_name(name, tree["models"], origin)
    shared = mapping(tree.get("training", {}), "training", origin)
    refuse_unknown(shared, set(ModelParams.model_fields) - set(IDENTITY), "training.", origin, ModelParams.synonyms)
    own = spell_out(mapping(tree["models"][name], f"models.{name}", origin))
    return checked(_merge(shared, own), ModelParams, f"models.{name}", origin)


def refuse_name(
    name: Any, names: Iterable[Any], origin: str, kind: str = "model", taken: Mapping[str, str] = TAKEN
) -> None:
    """`UserError` where the files of a model, or of what `kind` says, cannot have this name, or not beside others."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UserError(
            f"{origin}: files are named after the {kind} {name!r}; name it with letters a to z, digits, '_', '-' and "
            "'.', of which the last two are not the first character and '.' is not the last."
        )
    small = name.lower()
    why = taken.get(small, "Windows has no files of that name" if DEVICES.fullmatch(small) else None)
    if why is not None:
        raise UserError(f"{origin}: {why}; give the {kind} '{name}' another name.")
    twin = next((other for other in names if other != name and str(other).lower() == small), None)
    if twin is not None:
        raise UserError(
            f"{origin}: the {kind}s '{twin}' and '{name}' have the same files where case does not count, as on Windows "
            "and macOS; rename one of them."
        )


def spell_out(model: dict[str, Any]) -> dict[str, Any]:
    """Short forms: an architecture as its name alone; weights as hub, none or a path alone, or without their source."""
    model = dict(model)
    if isinstance(model.get("architecture"), str):
        model["architecture"] = {"name": model["architecture"]}
    weights = model.get("weights")
    if isinstance(weights, str):
        weights = {"source": weights} if weights in ("hub", "none") else {"file": weights}
    if isinstance(weights, dict) and "source" not in weights:
        source = next((source for source in ("hub", "file") if source in weights), None)
        weights = {"source": source, **weights} if source else weights
    if weights is not None:
        model["weights"] = weights
    return model


def _merge(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The shared values, replaced by the model's own; `augment` is merged item by item."""
    merged = shared | own
    if isinstance(shared.get("augment"), dict) and isinstance(own.get("augment"), dict):
        merged["augment"] = shared["augment"] | own["augment"]
    return merged
