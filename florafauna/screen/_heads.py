"""Heads on frozen features, scored by cross-validation: the solved one, and the nearest class mean."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from florafauna.folds.draw import grouped_folds
from florafauna.scores.bootstrap import Truth
from florafauna.training.frozen import logistic
from florafauna.training.frozen.logistic import Samples

SOLVED, NEAREST_MEAN = "solved head", "nearest class mean"


@dataclass(frozen=True)
class Photos:
    """The training and validation photos: class indices, int64 (photos,), names of groups, and the classes' names."""

    targets: np.ndarray
    groups: list[str]
    labels: list[str]

    @property
    def truth(self) -> Truth:
        """What predictions are scored against."""
        return Truth(self.targets, len(self.labels), np.array(self.groups))


@dataclass(frozen=True)
class Fold:
    """One round of a cross-validation as row numbers: photos to fit, to choose the L2 penalty by, and to score."""

    fit: np.ndarray
    choose: np.ndarray
    score: np.ndarray


Head = Callable[[torch.Tensor, Photos, Fold, torch.device], np.ndarray]  # class indices of the photos to score


def rounds(photos: Photos, count: int, seed: int) -> list[Fold]:
    """So many rounds, in which each photo is scored once; the shares are those of training, validation and test."""
    fold = grouped_folds(photos.targets, photos.groups, count, seed)
    return [
        Fold(
            np.flatnonzero((fold != number) & (fold != (number + 1) % count)),
            np.flatnonzero(fold == (number + 1) % count),
            np.flatnonzero(fold == number),
        )
        for number in range(count)
    ]


def cross_validated(
    head: Head, features: torch.Tensor, photos: Photos, folds: list[Fold], device: torch.device
) -> np.ndarray:
    """The class index that each photo gets from a head that was fitted without it or its group, int64 (photos,)."""
    predicted = np.empty(len(photos.targets), dtype=np.int64)
    for fold in folds:
        predicted[fold.score] = head(features, photos, fold, device)
    return predicted


def solved(features: torch.Tensor, photos: Photos, fold: Fold, device: torch.device) -> np.ndarray:
    """The head of `optimizer: lbfgs`: logistic regression, its L2 penalty chosen by weighted F1."""
    return solved_among(logistic.L2, features, photos, fold, device)[0]


def solved_among(
    l2s: Sequence[float], features: torch.Tensor, photos: Photos, fold: Fold, device: torch.device
) -> tuple[np.ndarray, float]:
    """The same with the penalty chosen among `l2s`, strongest first; and the one chosen."""
    fit, choose, score = (
        Samples([features], photos.targets[rows], device, rows) for rows in (fold.fit, fold.choose, fold.score)
    )
    optimum = logistic.solve(fit, choose, len(photos.labels), l2s=l2s)
    return logistic.predict(score, optimum.weight, optimum.bias), optimum.l2


def nearest_mean(features: torch.Tensor, photos: Photos, fold: Fold, device: torch.device) -> np.ndarray:
    """The class whose mean is nearest (Mensink et al. 2013), features centred and of length 1 (SimpleShot, 2019).

    It needs no photos to choose by, and often wins where there are few of a class. Means are of the same photos that
    the solved head is fitted to.
    """
    centre = torch.zeros(features.shape[1], dtype=torch.float64)
    for x, _ in Samples([features], photos.targets[fold.fit], torch.device("cpu"), fold.fit):
        centre += x.double().sum(0)
    centre = (centre / len(fold.fit)).float().to(device)
    sums = torch.zeros(len(photos.labels), features.shape[1], device=device)
    for x, targets in Samples([features], photos.targets[fold.fit], device, fold.fit):
        sums.index_add_(0, targets, torch.nn.functional.normalize(x - centre, dim=1))
    count = torch.from_numpy(np.bincount(photos.targets[fold.fit], minlength=len(photos.labels))).to(device)
    means = sums / count.clamp(min=1)[:, None]
    bias = torch.where(count > 0, -means.square().sum(1) / 2, -torch.inf)  # a class without photos is no answer
    found = [
        (torch.nn.functional.normalize(x - centre, dim=1) @ means.T + bias).argmax(1)
        for x, _ in Samples([features], photos.targets[fold.score], device, fold.score)
    ]
    return torch.cat(found).cpu().numpy()


HEADS: dict[str, Head] = {SOLVED: solved, NEAREST_MEAN: nearest_mean}
