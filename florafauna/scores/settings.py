"""`evaluate` of params.yaml."""

from typing import Annotated

from pydantic import Field

from florafauna.base.settings import OpenShare
from florafauna.folds.settings import FoldParams


class EvaluateParams(FoldParams):
    """How models are scored: confidence of the intervals, resamples, and the precision required of accepted photos.

    Models whose weighted F1 differs by less than `margin` are practically the same. The keys of `FoldParams` come
    first: whether every photo is tested once.
    """

    confidence: OpenShare = 0.95
    resamples: Annotated[int, Field(ge=100)] = 10_000
    precision: OpenShare = 0.95
    margin: OpenShare = 0.01
    seed: int = 0
