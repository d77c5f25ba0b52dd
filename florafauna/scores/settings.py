"""`evaluate` of params.yaml."""

from typing import Annotated

from pydantic import Field

from florafauna.base.settings import OpenShare, Strict


class EvaluateParams(Strict):
    """How scores are stated: confidence of intervals, bootstrap resamples, precision asked of accepted photos."""

    confidence: OpenShare = 0.95
    resamples: Annotated[int, Field(ge=100)] = 10_000
    precision: OpenShare = 0.95
    seed: int = 0
