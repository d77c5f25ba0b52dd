"""Several models as one: the mean of their calibrated probabilities.

Averaging probabilities is how Lakshminarayanan et al. (2017, "Simple and Scalable Predictive Uncertainty Estimation
using Deep Ensembles") combine networks.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax, logsumexp

from florafauna.base.errors import UserError
from florafauna.scores.blocks import blocks


def ensemble_logits(logits: Sequence[np.ndarray], temperatures: Sequence[float] | None = None) -> np.ndarray:
    """Logits, float32 (n, classes), whose softmax is the mean of the models' probabilities at their own temperatures.

    Temperatures (one a model, default 1) put models on one footing before they are averaged: without, the most
    overconfident model has the most say. Raises UserError where models scored different photos or classes.
    """
    if not logits:
        raise UserError("An ensemble needs at least one model.")
    if temperatures is None:
        temperatures = [1.0] * len(logits)
    if len(temperatures) != len(logits):
        raise UserError(
            f"An ensemble of {len(logits)} models needs {len(logits)} temperatures, not {len(temperatures)}."
        )
    if len({each.shape for each in logits}) != 1:
        shapes = ", ".join(str(each.shape) for each in logits)
        raise UserError(f"Models of an ensemble must score the same photos and classes; their logits are {shapes}.")
    mixed = np.empty(logits[0].shape, dtype=np.float32)
    for part in blocks(len(mixed)):
        logs = [
            log_softmax(np.asarray(each[part], dtype=np.float64) / temperature, axis=1)
            for each, temperature in zip(logits, temperatures, strict=True)
        ]
        mixed[part] = logsumexp(logs, axis=0) - np.log(len(logs))
    return mixed
