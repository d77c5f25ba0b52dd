"""The folds of a grouped, stratified cross-validation."""

import numpy as np

from florafauna.scores.bootstrap import group_codes


def stratified_folds(targets: np.ndarray, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The fold of each photo, int64 (photos,) below `count`, of their classes and groups (photos,).

    Groups stay whole. They are dealt out class by class (a group's most frequent one), large ones first, so that each
    fold gets its share of every class.

    >>> stratified_folds(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 2, 3]), 2, seed=0).tolist()
    [0, 0, 1, 1, 0]
    """
    codes = group_codes(groups, len(targets))
    sizes = np.bincount(codes)
    cells, photos = np.unique(np.stack([codes, targets]), axis=1, return_counts=True)
    rare_first = np.lexsort((photos, cells[0]))
    most_frequent = np.zeros(len(sizes), dtype=np.int64)
    most_frequent[cells[0, rare_first]] = cells[1, rare_first]  # of equal indices the last one stays
    drawn = np.random.default_rng(seed).random(len(sizes))
    fold = np.empty(len(sizes), dtype=np.int64)
    fold[np.lexsort((drawn, -sizes, most_frequent))] = np.arange(len(sizes)) % count
    return np.asarray(fold[codes])
