"""`architecture` and `weights` of a model: what it is, and where its training starts."""

import math
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from florafauna.base.settings import Interpolation, Positive, Strict, Triple, shown

PositiveTriple = Annotated[tuple[Positive, Positive, Positive], Field(strict=False)]

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
LARGEST, DEEPEST = 16_384, 1_000  # creation arguments: widths and sizes, numbers of blocks


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict | list | tuple):
        return all(map(_is_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def _largest(value: Any) -> float:
    """The largest number in an argument, 0 if there is none."""
    if isinstance(value, dict | list | tuple):
        return max(map(_largest, value.values() if isinstance(value, dict) else value), default=0)
    return value if isinstance(value, int | float) else 0


class Architecture(Strict):
    """A timm model name (with its tag for hub weights) and the creation arguments that are not timm's defaults."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    name: str

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        """What is far too large would take minutes, and then all memory, to be made."""
        for name, value in self.arguments.items():
            if not _is_finite(value):
                raise ValueError(f"{name} must be finite, not {value}")
            most = DEEPEST if re.search("depth|layers|blocks", name) else LARGEST
            if _largest(value) > most:
                raise ValueError(f"{name} is {value} and may be {most} at most; no network is that large")
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """The creation arguments, e.g. `{"pad_type": "same", "bn_eps": 0.001}`."""
        return dict(self.model_extra or {})


class Weights(Strict):
    """Where training starts: the hub, a safetensors file under data/weights/, or seeded random numbers.

    `source: hub` alone fetches the weights of the architecture's own timm tag. `hub` names any other repository, with
    `file` in it (model.safetensors if not given) at the commit `revision` (the newest if not given).

    The optional fields replace those of timm's `pretrained_cfg` for weights whose origin timm does not know.
    """

    synonyms: ClassVar[dict[str, str]] = {
        "repo": "hub",
        "repo_id": "hub",
        "repository": "hub",
        "commit": "revision",
        "filename": "file",
        "path": "file",
    }

    source: Literal["hub", "file", "none"]
    hub: str | None = None
    file: str | None = None
    revision: str | None = None
    seed: int = 0
    mean: Triple | None = None
    std: PositiveTriple | None = None
    interpolation: Interpolation | None = None
    crop_pct: Annotated[float, Field(gt=0, le=1)] | None = None
    licence: str | None = None
    seen: str | None = None  # what the weights were trained on: photos in it are no fair test

    @model_validator(mode="after")
    def _found_in_one_place(self) -> Self:
        if self.source != "hub" and (self.hub or self.revision):
            raise ValueError("hub and revision name what is fetched from the hub; leave source out, or set it to hub")
        if self.hub is not None and not REPOSITORY.fullmatch(self.hub):
            raise ValueError(f"hub must be a repository such as imageomics/bioclip-2, not {shown(self.hub)}")
        if self.revision is not None and not COMMIT.fullmatch(self.revision):
            raise ValueError(
                f"revision must be a whole commit of 40 hexadecimal digits, not {shown(self.revision)}: "
                "a branch or a tag can move"
            )
        if (self.file is not None) != (self.source == "file") and self.hub is None:
            raise ValueError(
                "give either source: hub, source: none, a file under data/weights/, or hub: OWNER/NAME and its file"
            )
        if self.file is not None:
            self._safe(self.file)
        return self

    def _safe(self, file: str) -> None:
        path = PurePosixPath(file)
        if self.hub is not None:
            if ".." in path.parts or path.is_absolute() or path.suffix != ".safetensors":
                raise ValueError(
                    f"{shown(file)} must be a .safetensors file of the repository: other formats can run code when read"
                )
        elif path.parts[:2] != ("data", "weights") or ".." in path.parts or path.suffix != ".safetensors":
            raise ValueError(
                f"{shown(file)} must be a .safetensors file under data/weights/, "
                "the folder that DVC watches; copy it there"
            )

    @property
    def overlay(self) -> dict[str, Any]:
        """The fields that replace those of timm's `pretrained_cfg`."""
        return self.model_dump(include={"mean", "std", "interpolation", "crop_pct"}, exclude_none=True)
