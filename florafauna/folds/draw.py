"""Draws the folds of a grouped, stratified cross-validation; most photos keep their fold when others are added.

Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam 2018): each group prefers folds in an order
that its name alone decides, and takes the first in which its classes have not yet had their share. So a new group
moves few others, which drawing anew would not.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.randomness import rng_key


def grouped_folds(targets: np.ndarray, groups: Sequence[str], folds: int, seed: int = 0) -> np.ndarray:
    """The fold of each photo, int64 (photos,) from 0, for `targets` (photos,) and the name of each photo's group.

    A group is never divided, and no fold is empty. Folds get equal shares of each class's photos as far as its groups
    allow, and a class with two groups lies in two folds, so that there is always something to learn from. Equal
    arguments give equal folds whatever the order of the photos. Raises `UserError` where there are fewer groups than
    folds.

    >>> grouped_folds(np.array([0, 0, 1, 1]), ["a", "b", "c", "d"], folds=2).tolist()
    [0, 1, 0, 1]
    """
    group_of, names = pd.factorize(np.asarray(groups, dtype=object), sort=True)
    if folds < 2:
        raise UserError(f"A cross-validation needs at least 2 folds, not {folds}.")
    if len(names) < folds:
        raise UserError(
            f"{len(names)} groups of photos cannot be divided into {folds} folds; lower evaluate.folds, or join fewer "
            "photos by data.groups."
        )
    targets = np.asarray(targets, dtype=np.int64)
    cells, counts = np.unique(np.stack([group_of, targets], axis=1), axis=0, return_counts=True)
    classes: list[list[int]] = [[] for _ in names]  # of each group
    photos: list[list[int]] = [[] for _ in names]  # of each of these classes
    for (group, target), count in zip(cells.tolist(), counts.tolist(), strict=True):
        classes[group].append(target)
        photos[group].append(count)
    share = np.bincount(targets) / folds
    load = np.zeros((len(share), folds))
    order = sorted(
        (-sum(photos[at]).bit_length(), rng_key(seed, 0, f"fold {name}"), at) for at, name in enumerate(names)
    )
    fold_of = np.zeros(len(names), dtype=np.int64)
    for place, (_, _, at) in enumerate(order):  # large groups first: small ones fill what they leave
        filled = (load[classes[at]] / share[classes[at], None]).max(axis=0)
        empty = np.flatnonzero(load.sum(axis=0) == 0)
        choice = empty if len(order) - place <= len(empty) else np.arange(folds)  # no fold stays empty
        preferred = sorted(choice.tolist(), key=lambda fold: rng_key(seed, fold, f"fold {names[at]}"))
        chosen = next((fold for fold in preferred if filled[fold] < 1), min(preferred, key=lambda fold: filled[fold]))
        load[classes[at], chosen] += photos[at]
        fold_of[at] = chosen
    return fold_of[group_of]


def one_part(targets: np.ndarray, groups: Sequence[str], parts: int, seed: int = 0) -> np.ndarray:
    """Which photos are in one of so many parts, boolean (photos,): those that a checkpoint is chosen by.

    Drawn as folds are, but that a class of one group stays out of it, or there would be nothing to learn it from;
    unless nothing else was drawn.

    >>> one_part(np.array([0, 0, 1, 1, 2]), ["a", "b", "c", "d", "e"], parts=2, seed=1).tolist()
    [True, False, False, True, False]
    """
    drawn = grouped_folds(targets, groups, parts, seed) == 0
    names = pd.Series(np.asarray(groups, dtype=object))
    alone = names[(names.groupby(np.asarray(targets)).transform("nunique") == 1).to_numpy()]
    kept = drawn & ~names.isin(alone).to_numpy()
    return kept if kept.any() else drawn
