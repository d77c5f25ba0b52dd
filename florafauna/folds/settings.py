"""The part of `evaluate` in params.yaml that a cross-validation follows. Other keys there retrain no fold."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from florafauna.base.settings import PARAMS, Strict, checked, mapping, read_tree


class FoldParams(Strict):
    """Whether every photo is tested once, and by what whole groups of photos are left out besides."""

    folds: Annotated[int, Field(ge=0)] = 0  # 0: off
    by: str | None = None  # a column of the labels, such as location
    final: Literal["split", "all"] = "split"  # what the bundle is trained on

    @model_validator(mode="after")
    def _enough_folds(self) -> Self:
        if self.folds == 1:
            raise ValueError(
                "folds must be 0 (off) or at least 2, since each is scored by a model trained on the others"
            )
        if not self.folds and (self.by is not None or self.final == "all"):
            wanted = "by" if self.by is not None else "final"
            raise ValueError(f"{wanted} needs a cross-validation; set folds to 5")
        return self


def read_fold_params(path: Path = PARAMS) -> FoldParams:
    """Those keys of `evaluate` alone, so that the stages that read them need not know the others."""
    section = mapping(read_tree(path).get("evaluate", {}), "evaluate", str(path))
    own = {key: section[key] for key in FoldParams.model_fields if key in section}
    return checked(own, FoldParams, "evaluate", str(path))
