"""Point estimates from targets and predictions; F1s are scikit-learn's."""

import numpy as np
from sklearn.metrics import f1_score


def weighted_f1(targets: np.ndarray, predictions: np.ndarray) -> float:
    """F1 of each class, weighted by how many photos of it there are. The score models are chosen by."""
    return float(f1_score(targets, predictions, average="weighted", zero_division=0))


def accuracy(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Share of photos whose class is predicted."""
    return float(np.mean(targets == predictions))
