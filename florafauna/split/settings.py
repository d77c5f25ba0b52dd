"""`split` of params.yaml."""

from datetime import date
from typing import Annotated, Self

from pydantic import Field, model_validator

from florafauna.base.settings import Names, OpenShare, Strict


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
