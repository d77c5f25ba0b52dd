"""The folds stage: grouped, stratified cross-validation of one model's whole training (`evaluate.folds`)."""

from dataclasses import dataclass
from pathlib import Path

from florafauna.folds.out_of_fold import write_nothing, write_out_of_fold
from florafauna.folds.settings import FoldParams
from florafauna.model.settings import ModelParams


@dataclass(frozen=True)
class CrossValidation:
    """The cross-validation of one model: what it reads, and where it writes.

    `scratch` outlives the stage's outs: finished folds, states of killed trainings and remembered features.
    """

    name: str
    params: ModelParams
    how: FoldParams
    initial: Path
    stores: tuple[Path, ...]  # train, val and test: each photo is tested once
    manifest: Path
    scratch: Path
    out: Path


def cross_validate(job: CrossValidation) -> None:
    """Write the out-of-fold logits of all photos that are not held out; without folds, that there are none.

    A run killed at any moment resumes: finished folds are remembered by what they were trained on, so that only those
    are trained anew whose training photos, params or code have changed.

    >>> cross_validate(job)  # doctest: +SKIP
    vit: fold 1 of 5, 398 photos train, 72 choose the checkpoint: weighted F1 0.8123 on 117 photos
    """
    if not job.how.folds:
        write_nothing(job.out)
        return
    from florafauna.crossval._folds import out_of_fold  # torch takes seconds to import
    from florafauna.model.ranks import rank

    found = out_of_fold(job)
    if not rank():
        write_out_of_fold(job.out, found)
