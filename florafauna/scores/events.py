"""One answer for the photos of one passing animal: the mean of their calibrated log-probabilities, blanks left out.

The mean is made to sum to one again. It is the logarithmic pool of Genest & Zidek (1986): twice the same photo leaves
an event's answer as it is, where a product of probabilities would be twice as sure.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax

from florafauna.base.taxonomy import NO_ANIMAL


def blank_classes(labels: Sequence[str]) -> np.ndarray:
    """Which classes show nothing, bool (classes,)."""
    return np.array([label.lower().strip() in NO_ANIMAL["blank"] for label in labels], dtype=bool)


def pooled(logits: np.ndarray, temperature: float, blank: np.ndarray) -> np.ndarray:
    """The logits of an event, float64 (classes,), from those of its photos (n, classes); also at `temperature`.

    A photo whose likeliest class is one of `blank`, bool (classes,), is left out unless all are.

    >>> logits = np.log([[0.5, 0.4, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]])
    >>> pooled(logits, 1.0, np.array([False, False, True])).argmax()
    np.int64(0)
    """
    shows_nothing = blank[logits.argmax(axis=1)]
    shown = logits if shows_nothing.all() else logits[~shows_nothing]
    return np.asarray(log_softmax(shown.astype(np.float64) / temperature, axis=1).mean(axis=0) * temperature)
