"""Test labels that were corrected on a model's advice, and the scores without them, for they favour that model."""

from collections.abc import Mapping, Sequence
from typing import Any

from florafauna.compare._classifiers import Classifier
from florafauna.scores.bootstrap import Resampling, Truth
from florafauna.scores.cross_validation import weighted_f1_with_interval
from florafauna.scores.settings import EvaluateParams


def without_corrected(
    data: Mapping[str, Any], classifiers: Sequence[Classifier], params: EvaluateParams
) -> dict[str, Any] | None:
    """How many test labels were corrected on a model's advice, and each classifier's weighted F1 without these photos.

    `data` is metrics/data.json, which names them. None where no test label was, or no photo would be left.
    """
    advised = data["corrected"]["on_a_models_advice"]
    kept = ~classifiers[0].predictions.part("test").photos["path"].isin(advised).to_numpy()
    if kept.all() or not kept.any():
        return None
    how, without = Resampling(params.resamples, params.seed, params.confidence), {}
    for each in classifiers:
        test = each.predictions.part("test")
        truth = Truth(test.targets[kept], len(test.labels), test.groups[kept])
        without[each.name] = weighted_f1_with_interval(truth, test.predicted[kept], how)
    return {"corrected": int((~kept).sum()), "n": int(kept.sum()), "models": without}
