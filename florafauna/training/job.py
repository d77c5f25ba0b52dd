"""What a training is given."""

from dataclasses import dataclass
from pathlib import Path

from florafauna.model.settings import ModelParams


@dataclass(frozen=True)
class Settled:
    """What a cross-validation has found: after how many epochs to end, and the L2 of a head that is solved for."""

    epochs: int
    l2: float | None


@dataclass(frozen=True)
class TrainingJob:
    """One training run: its inputs, and where the trained model and its timing are written.

    `scratch` outlives the stage's outs: it holds the state that a killed run resumes from, and cached features.
    `settled` is given where all photos are trained on and none is left to choose by: then the last epoch is kept.
    """

    name: str
    params: ModelParams
    initial: Path
    train: Path
    val: Path
    scratch: Path
    out: Path
    timing: Path
    settled: Settled | None = None
