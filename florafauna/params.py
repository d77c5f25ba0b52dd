"""params.yaml as frozen, strict objects: read once, at the edge, and refused with one sentence when wrong."""

import difflib
import re
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from florafauna.errors import UserError

# What people type who come from other tools; difflib alone does not find these.
SYNONYMS = {
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
    "randaugment": "rand_augment",
    "auto_augment": "rand_augment",
    "reprob": "random_erasing",
    "group": "groups",
}

# A guard against overfitting, not a schedule: below 5 epochs it stops a run before its rate has fallen.
LEAST_PATIENCE_UNDER_COSINE = 5

Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Names = Annotated[tuple[str, ...], Field(strict=False)]
Pair = Annotated[tuple[Positive, Positive], Field(strict=False)]
Triple = Annotated[tuple[float, float, float], Field(strict=False)]
Interpolation = Literal["bilinear", "bicubic"]


class Strict(BaseModel):
    """A frozen section that refuses unknown keys and does not convert types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataParams(Strict):
    """Where the photos and their labels are.

    `labels` equal to `root` means that folder names are the labels; otherwise it is a table or a metadata file.
    """

    root: str
    labels: str
    format: str = "auto"
    label: str = "species"
    groups: Names = ()
    max_unreadable: Share = 0.1


class SplitParams(Strict):
    """Shares of the photos for validation and test; the rest trains."""

    val: OpenShare = 0.15
    test: OpenShare = 0.15
    seed: int = 0
    after: Annotated[date | None, Field(strict=False)] = None
    held_out_locations: Names = ()

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(f"val ({self.val}) and test ({self.test}) together leave no photo to train on; lower them")
        return self


class ImageParams(Strict):
    """The pixel store: photos decoded once, `store_size` pixels along the shorter side."""

    store_size: Annotated[int, Field(ge=32, le=4096)] = 256


class Architecture(Strict):
    """A timm model name (with its tag for hub weights) and the creation arguments that are not timm's defaults."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    name: str

    @property
    def arguments(self) -> dict[str, Any]:
        """The creation arguments, e.g. `{"pad_type": "same", "bn_eps": 0.001}`."""
        return dict(self.model_extra or {})


class Weights(Strict):
    """Where training starts: timm's hub, a safetensors file under data/weights/, or seeded random numbers.

    The optional fields replace those of timm's `pretrained_cfg` for a file whose origin timm does not know.
    """

    source: Literal["hub", "file", "none"]
    file: str | None = None
    seed: int = 0
    mean: Triple | None = None
    std: Triple | None = None
    interpolation: Interpolation | None = None
    crop_pct: Annotated[float, Field(gt=0, le=1)] | None = None
    licence: str | None = None
    seen: str | None = None  # what the weights were trained on: photos in it are no fair test

    @model_validator(mode="after")
    def _tracked_file(self) -> Self:
        if (self.file is not None) != (self.source == "file"):
            raise ValueError("give either source: hub, source: none, or a file under data/weights/")
        if self.file is not None:
            path = PurePosixPath(self.file)
            if path.parts[:2] != ("data", "weights") or ".." in path.parts or path.suffix != ".safetensors":
                raise ValueError(
                    f"'{self.file}' must be a .safetensors file under data/weights/, "
                    "the folder that DVC watches; copy it there"
                )
        return self

    @property
    def overlay(self) -> dict[str, Any]:
        """The fields that replace those of timm's `pretrained_cfg`."""
        return self.model_dump(include={"mean", "std", "interpolation", "crop_pct"}, exclude_none=True)


class Augment(Strict):
    """How a training view differs from the photo. 0 or null switches an item off."""

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
        if self.rand_augment is not None and not re.match(r"(rand|augmix|original|3a|v0)", self.rand_augment):
            raise ValueError(
                f"rand_augment takes a timm policy such as rand-m9-mstd0.5-inc1, not '{self.rand_augment}'"
            )
        return self


class ModelParams(Strict):
    """One model: what it is, what of it is trained, and how. `training` holds the values that all models share."""

    architecture: Architecture
    weights: Weights

    trainable: Literal["all", "head"] | Names
    norms: Literal["all", "tail"] = "tail"
    head_init: Literal["random", "probe"] = "random"  # probe: the optimum over the frozen features (LP-FT)

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
    class_weighting: Literal["none", "balanced"] = "none"
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0

    train_size: Annotated[int, Field(ge=16)] | None = None
    test_size: Annotated[int, Field(ge=16)] | None = None
    interpolation: Interpolation | None = None
    augment: Augment = Augment()
    views: Annotated[int, Field(ge=0)] = 0

    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    compile: bool = False
    workers: Annotated[int, Field(ge=0)] | None = None
    seed: int = 0
    seeds: Count = 1  # trained so many times, with seed, seed + 1, …: how much of the score is luck

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.schedule == "plateau" and self.plateau_patience >= self.patience:
            raise ValueError(
                f"plateau_patience ({self.plateau_patience}) must be below patience ({self.patience}): "
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
        if self.views and (self.augment.mixup or self.augment.cutmix):
            raise ValueError("views cannot be cycled under mixup or cutmix, which mix other photos in every epoch")
        if self.optimizer == "lbfgs":
            self._solvable()
        elif self.views > self.epochs:
            raise ValueError(f"views ({self.views}) exceeds epochs ({self.epochs}): some would never be used")
        return self

    def _solvable(self) -> None:
        """What the loop alone uses (rate, schedule, epochs, batch size, …) may be shared and is passed over."""
        if self.trainable == "all":
            raise ValueError("optimizer: lbfgs solves the head alone; set trainable: head, or use adam, adamw or sgd")
        if self.augment.mixup or self.augment.cutmix:
            raise ValueError("optimizer: lbfgs solves for fixed views and cannot mix photos; set mixup and cutmix to 0")
        if self.head_init == "probe":
            raise ValueError("head_init: probe is already the solution of optimizer: lbfgs; remove one of the two")


class EvaluateParams(Strict):
    """How scores are stated."""

    confidence: OpenShare = 0.95
    resamples: Annotated[int, Field(ge=100)] = 10_000
    precision: OpenShare = 0.95
    seed: int = 0


class CiParams(Strict):
    """What a pull request may lose: `metric` may fall `max_drop` below the interval it has on the other branch."""

    max_drop: NotNegative = 0.0
    metric: str = "test.weighted_f1"


class Params(Strict):
    """All of params.yaml, the shared `training` values merged into each model."""

    data: DataParams
    split: SplitParams
    image: ImageParams
    models: dict[str, ModelParams]
    evaluate: EvaluateParams = EvaluateParams()
    ci: CiParams = CiParams()

    def model(self, name: str) -> ModelParams:
        """The params of one model; `UserError` if there is none of that name."""
        if name not in self.models:
            raise UserError(f"params.yaml has no model '{name}'; it has {', '.join(self.models)}.")
        return self.models[name]

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        for name in self.models:
            if name in FOLDERS:
                raise ValueError(f"models/{name} is a folder of other files; give the model '{name}' another name")
        return self

    @model_validator(mode="after")
    def _store_is_large_enough(self) -> Self:
        for name, model in self.models.items():
            for key in ("train_size", "test_size"):
                size = getattr(model, key)
                if size is not None and size > self.image.store_size:
                    raise ValueError(
                        f"models.{name}.{key} ({size}) exceeds image.store_size ({self.image.store_size}): "
                        "photos would be enlarged; raise image.store_size"
                    )
        return self


FOLDERS = ("initial", "trained")  # of models/, beside the bundles
IDENTITY = ("architecture", "weights")  # what a model is; never shared through `training`


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml; a mistake is a `UserError` that names the key (and the nearest valid one)."""
    return parse_params(_read_yaml(path), str(path))


def parse_params(tree: Any, origin: str = "params.yaml") -> Params:
    """Check an already read params tree; `origin` names it in messages."""
    if not isinstance(tree, dict):
        raise UserError(f"{origin} holds no sections; start from one of the files in presets/.")
    sections = set(Params.model_fields) | {"training"}
    _refuse_unknown(tree, sections, "", origin)
    training = _mapping(tree.get("training", {}), "training", origin)
    _refuse_unknown(training, set(ModelParams.model_fields) - set(IDENTITY), "training.", origin)
    models = _mapping(tree.get("models", {}), "models", origin)
    merged = {
        name: _merge(training, _spell_out(_mapping(model, f"models.{name}", origin))) for name, model in models.items()
    }
    if not merged:
        raise UserError(f"{origin}: 'models' is empty; give at least one model.")
    try:
        return Params.model_validate({key: tree[key] for key in tree if key != "training"} | {"models": merged})
    except ValidationError as error:
        raise UserError(f"{origin}: {_sentence(error)}") from None


def _spell_out(model: dict[str, Any]) -> dict[str, Any]:
    """Short forms: an architecture as its name alone; weights as hub, none or a path alone."""
    model = dict(model)
    if isinstance(model.get("architecture"), str):
        model["architecture"] = {"name": model["architecture"]}
    weights = model.get("weights")
    if isinstance(weights, str):
        weights = {"source": weights} if weights in ("hub", "none") else {"file": weights}
    if isinstance(weights, dict) and "source" not in weights:
        weights = {"source": "file", **weights} if "file" in weights else weights
    if weights is not None:
        model["weights"] = weights
    return model


def _merge(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The shared values, replaced by the model's own; `augment` is merged item by item."""
    merged = shared | own
    if isinstance(shared.get("augment"), dict) and isinstance(own.get("augment"), dict):
        merged["augment"] = shared["augment"] | own["augment"]
    return merged


def _mapping(value: Any, where: str, origin: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{origin}: '{where}' must be a section with keys, not {value!r}.")
    return value


def _refuse_unknown(section: dict[str, Any], valid: set[str], prefix: str, origin: str) -> None:
    for key in section:
        if key not in valid:
            raise UserError(f"{origin}: unknown key '{prefix}{key}'; {_nearest(str(key), valid)}")


def _nearest(key: str, valid: set[str]) -> str:
    synonym = SYNONYMS.get(key.lower())
    if synonym in valid:
        return f"did you mean '{synonym}'?"
    near = difflib.get_close_matches(key, sorted(valid), n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"valid keys are {', '.join(sorted(valid))}."


def _sentence(error: ValidationError) -> str:
    """The first complaint of pydantic as one sentence with the key's full path."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    if "trainable" in path and first["type"] != "missing":  # a union: pydantic names its first member only
        key = ".".join(path[: path.index("trainable") + 1])
        return f"'{key}' must be all, head or a list of module paths such as [blocks.11, norm, head]."
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}'; {_nearest(path[-1], _valid_keys(path[:-1]))}"
    if first["type"] == "missing":
        return f"'{key}' is missing."
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{key + ': ' if key else ''}{message}."
    return f"'{key}': {message[0].lower() + message[1:]}, not {first['input']!r}."


def _valid_keys(path: list[str]) -> set[str]:
    """The keys valid at `path`, by walking the classes above."""
    here: Any = Params
    for part in path:
        if here is Params and part == "models":
            here = dict
        elif here is dict:
            here = ModelParams
        else:
            here = here.model_fields[part].annotation
    return set(here.model_fields)


class _Yaml12Loader(yaml.SafeLoader):
    """PyYAML reads YAML 1.1, where `1e-4` is text; DVC reads 1.2, where it is a number. No key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key '{key}' appears twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)


def _read_yaml(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; copy one from presets/ or run from the repository's top folder.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None
    try:
        return yaml.load(text, Loader=_Yaml12Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path} is no valid YAML{line}: {error.problem}.") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:  # an odd character, 2024-13-01, a list as a key
        raise UserError(f"{path} is no valid YAML: {str(error).splitlines()[0]}.") from None
