"""What a model costs to train, store and run, and what several cost together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cost:
    """Parameters (all, trained), size in MB, photos per second in prediction, seconds and peak memory of training."""

    parameters: int
    trainable_parameters: int
    megabytes: float
    photos_per_second: float
    training_seconds: float
    peak_memory_mb: float | None  # None where the system does not tell

    @property
    def size(self) -> tuple[int, int]:
        """What orders models from cheap to dear, the same on every machine: parameters, then those trained."""
        return self.parameters, self.trainable_parameters

    @property
    def seconds_per_photo(self) -> float:
        """In prediction."""
        return 1 / max(self.photos_per_second, 1e-9)


def cost_of(model: Mapping[str, Any], training: Mapping[str, Any], prediction: Mapping[str, Any]) -> Cost:
    """The cost of one model, from `model` in metrics/details/M.json and the timings of training and prediction."""
    return Cost(
        model["parameters"],
        model["trainable_parameters"],
        model["megabytes"],
        prediction["photos_per_second"],
        training["seconds"],
        training["peak_memory_mb"],
    )


def together(costs: Sequence[Cost]) -> Cost:
    """The cost of models that all predict each photo, one after the other: sums, but the maximum of the memory."""
    return Cost(
        sum(each.parameters for each in costs),
        sum(each.trainable_parameters for each in costs),
        sum(each.megabytes for each in costs),
        1 / sum(each.seconds_per_photo for each in costs),
        sum(each.training_seconds for each in costs),
        max((each.peak_memory_mb for each in costs if each.peak_memory_mb is not None), default=None),
    )
