"""bundle.json, and training.json from which it is made: what a model is and how it was trained, checked key by key.

Nothing here needs torch.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from florafauna.base.errors import UserError
from florafauna.base.files import fingerprint, parse_json, read_json, write_json

FORMAT = 2
BUNDLE, TRAINING, WEIGHTS = "bundle.json", "training.json", "model.safetensors"
SEAL = "fingerprint"  # of all the other keys of bundle.json, so that a change of any of them is found

Size = Annotated[int, Field(ge=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Confidence = Annotated[float, Field(ge=0)]
Triple = Annotated[list[float], Field(min_length=3, max_length=3)]


class _Section(BaseModel):
    """What has to be there; more may be."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _Architecture(_Section):
    name: str


class _Data(_Section):
    mean: Triple
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)]
    interpolation: str
    crop_pct: Annotated[float, Field(gt=0, le=1)]
    train_size: Size
    test_size: Size


class _Training(_Section):
    name: str
    architecture: _Architecture
    overlay: dict[str, Any]
    labels: Annotated[list[str], Field(min_length=1)]
    data: _Data
    store_size: Size
    precision: Literal["fp32", "bf16", "fp16"]
    weights: dict[str, Any]
    photos: dict[str, Any]
    params: dict[str, Any]
    versions: dict[str, str]
    sha256: Sha256


class _Thresholds(_Section):
    precision: Annotated[float, Field(gt=0, lt=1)]
    global_: Annotated[Confidence | None, Field(alias="global")]
    per_class: dict[str, Confidence | None]
    roll_up: Confidence | None
    sentence: str


class _Calibration(_Section):
    temperature: Annotated[float, Field(gt=0)]
    thresholds: _Thresholds


class _Bundle(_Training):
    taxonomy: dict[str, dict[str, str]]
    calibration: _Calibration
    scores: dict[str, Any]


def read_training(folder: Path) -> dict[str, Any]:
    """training.json of a model that has been trained; `UserError` where it is incomplete."""
    return _read(folder / TRAINING, _Training)


def read_info(folder: Path) -> dict[str, Any]:
    """bundle.json alone, without loading the model; `UserError` where it is incomplete or was changed."""
    return _unchanged(_read(folder / BUNDLE, _Bundle), folder / BUNDLE)


def parse_info(text: str, file: Path) -> dict[str, Any]:
    """The same from the text of a bundle.json that is kept inside `file`."""
    return _unchanged(_checked(parse_json(text, file, _again(file)), file, _Bundle), file)


def write_training(folder: Path, info: dict[str, Any]) -> None:
    """Write training.json, the last file of a training."""
    write_json(folder / TRAINING, {"format": FORMAT, **info})


def write_info(folder: Path, info: dict[str, Any]) -> None:
    """Write bundle.json, the last file of a bundle, sealed by a fingerprint of all that it says."""
    info = {"format": FORMAT, **{key: value for key, value in info.items() if key not in ("format", SEAL)}}
    write_json(folder / BUNDLE, info | {SEAL: _seal(info)})


def _seal(info: dict[str, Any]) -> str:
    return fingerprint({key: value for key, value in info.items() if key != SEAL})


def _unchanged(info: dict[str, Any], file: Path) -> dict[str, Any]:
    if info.get(SEAL) != _seal(info):
        raise UserError(f"{file} was changed after it was written ({SEAL} differs); fetch the bundle again.")
    return info


def _read(file: Path, schema: type[_Section]) -> dict[str, Any]:
    if not file.is_file():
        raise UserError(
            f"{file.parent} holds no {file.name}, so it is no complete {_what(file)}; "
            f"run `dvc pull {file.parent}` or `dvc repro`."
        )
    return _checked(read_json(file, when_broken=_again(file)), file, schema)


def _again(file: Path) -> str:
    return f"fetch {file.parent} again"


def _checked(info: dict[str, Any], file: Path, schema: type[_Section]) -> dict[str, Any]:
    again = _again(file)
    found = info.get("format")
    if found != FORMAT:
        older = isinstance(found, int) and found < FORMAT
        do = "make it again by `dvc repro`" if older else "update florafauna, or " + again
        raise UserError(f"{file} has format {found}, this version reads {FORMAT}; {do}.")
    try:
        schema.model_validate(info)
    except ValidationError as error:
        raise UserError(f"{file} is incomplete or was changed: {_first(error)}; {again}.") from None
    return info


def _what(file: Path) -> str:
    return "bundle" if file.name == BUNDLE else "training"


def _first(error: ValidationError) -> str:
    """The first complaint, with the key's full path."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"'{key}' is missing"
    message = first["msg"]
    return f"'{key}': {message[0].lower() + message[1:]}, not {str(first['input'])[:60]}"
