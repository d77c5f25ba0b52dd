"""Point estimates from targets and predictions. The F1 is computed here: scikit-learn takes seconds to import."""

import numpy as np


def weighted_f1(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Mean F1 of the classes, weighted by their number of photos: the score by which models are chosen.

    >>> weighted_f1(np.array([0, 0, 1]), np.array([0, 1, 1]))
    0.6666666666666666
    """
    classes, codes = np.unique(np.concatenate([targets, predictions]), return_inverse=True)
    true, predicted = codes[: len(targets)], codes[len(targets) :]
    support, named, right = (
        np.bincount(each, minlength=len(classes)) for each in (true, predicted, true[true == predicted])
    )
    return float((2 * right / (support + named) * support).sum() / support.sum())


def accuracy(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Share of photos that are predicted correctly."""
    return float(np.mean(targets == predictions))
