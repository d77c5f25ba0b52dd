"""Models compared on all photos, each predicted by the models of the fold that left it out."""

from collections.abc import Sequence

from florafauna.base.errors import UserError
from florafauna.compare._classifiers import Model
from florafauna.compare._power import Collection
from florafauna.compare._verdict import Comparison
from florafauna.compare.paired import Candidate, Question, compare_all
from florafauna.scores.bootstrap import Resampling
from florafauna.scores.settings import EvaluateParams


def compare_on_all(models: Sequence[Model], params: EvaluateParams) -> Comparison | None:
    """All pairs of models on every photo; None where there was no cross-validation.

    `UserError` unless all were cross-validated on the same photos.
    """
    if any(each.out_of_fold is None for each in models):
        return None
    found = {each.name: each.cross_validated for each in models}
    first = found[models[0].name]
    for name, each in found.items():
        if not each.photos["path"].equals(first.photos["path"]):
            raise UserError(f"{name} and {models[0].name} were cross-validated on different photos; run `dvc repro`.")
    candidates = {each.name: Candidate(found[each.name].predicted, each.cost.size) for each in models}
    photos = len(first.photos)
    how = Resampling(params.resamples, params.seed, params.confidence)
    return compare_all(candidates, first.truth, Question(params.margin, how, Collection(photos, photos), "photos"))
