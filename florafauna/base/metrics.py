"""Point estimates from targets and predictions. The F1 is done here: scikit-learn takes seconds to import."""

import numpy as np


def weighted_f1(targets: np.ndarray, predictions: np.ndarray) -> float:
    """F1 of each class, weighted by how many photos of it there are. The score models are chosen by."""
    classes, codes = np.unique(np.concatenate([targets, predictions]), return_inverse=True)
    true, predicted = codes[: len(targets)], codes[len(targets) :]
    support, named, right = (
        np.bincount(each, minlength=len(classes)) for each in (true, predicted, true[true == predicted])
    )
    return float((2 * right / (support + named) * support).sum() / support.sum())


def accuracy(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Share of photos whose class is predicted."""
    return float(np.mean(targets == predictions))
