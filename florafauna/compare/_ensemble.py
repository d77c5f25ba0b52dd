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

    Temperatures (one for each model, default 1) calibrate the models before they are averaged: otherwise the most
    overconfident one dominates. Raises UserError if the models' logits differ in shape.

    >>> one, other = np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]])
    >>> np.exp(ensemble_logits([one, other])).astype(float).round(2).tolist()
    [[0.7, 0.3]]
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
        raise UserError(f"The models of an ensemble must score the same photos and classes; their logits are {shapes}.")
    mixed = np.empty(logits[0].shape, dtype=np.float32)
    for part in blocks(len(mixed)):
        logs = [
            log_softmax(np.asarray(each[part], dtype=np.float64) / temperature, axis=1)
            for each, temperature in zip(logits, temperatures, strict=True)
        ]
        mixed[part] = logsumexp(logs, axis=0) - np.log(len(logs))
    return mixed
