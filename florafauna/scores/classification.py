"""Classification scores, overall and by class, as scikit-learn defines them."""

from typing import Any

import numpy as np
from sklearn.metrics import f1_score, precision_recall_fscore_support, recall_score

from florafauna.base.metrics import accuracy, weighted_f1
from florafauna.scores.blocks import blocks
from florafauna.scores.bootstrap import counted_classes

TOP = 3


def point_scores(logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Weighted F1, macro F1, accuracy, balanced accuracy and top-3 accuracy.

    Macro F1 and balanced accuracy are means over the classes with enough photos to tell (`counted_classes`).
    `logits` are (photos, classes), `targets` (photos,).
    """
    predicted = logits.argmax(axis=1)
    counted = np.flatnonzero(counted_classes(np.bincount(targets, minlength=logits.shape[1])))
    result = {
        "weighted_f1": weighted_f1(targets, predicted),
        "macro_f1": float(f1_score(targets, predicted, labels=counted, average="macro", zero_division=0)),
        "accuracy": accuracy(targets, predicted),
        "balanced_accuracy": float(recall_score(targets, predicted, labels=counted, average="macro", zero_division=0)),
    }
    classes = logits.shape[1]
    if classes > TOP:
        result[f"top{TOP}_accuracy"] = float(among_top(logits, targets).mean())
    return result


def among_top(logits: np.ndarray, targets: np.ndarray, k: int = TOP) -> np.ndarray:
    """Whether each photo's class is among the k likeliest (photos,).

    Of equal logits the first is the likeliest, as for argmax, so top-1 accuracy is accuracy.
    """
    found = np.empty(len(targets), dtype=bool)
    for part in blocks(len(targets)):
        rows, mine = logits[part], targets[part][:, None]
        least = np.take_along_axis(rows, mine, axis=1)
        earlier = np.arange(logits.shape[1]) < mine
        found[part] = ((rows > least) | ((rows == least) & earlier)).sum(axis=1) < k
    return found


def per_class(targets: np.ndarray, predicted: np.ndarray, labels: list[str]) -> dict[str, dict[str, float | int]]:
    """Precision, recall, F1 and number of photos of every class, in the order of `labels`."""
    precision, recall, f1, photos = precision_recall_fscore_support(
        targets, predicted, labels=np.arange(len(labels)), zero_division=0
    )
    return {
        label: {
            "precision": float(precision[number]),
            "recall": float(recall[number]),
            "f1": float(f1[number]),
            "n": int(photos[number]),
        }
        for number, label in enumerate(labels)
    }


def confusion(targets: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """The confusion matrix: counts, int64 (true class, predicted class)."""
    return np.bincount(targets * classes + predicted, minlength=classes**2).reshape(classes, classes)


def rounded(value: Any, digits: int = 6) -> Any:
    """A nested structure with its floats rounded, so that metrics files are easy to read and compare."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return value
