"""Two sets of predictions with other rows, whole photos and crops, compared on the photos that both were tested on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from florafauna.base.errors import UserError
from florafauna.base.metrics import weighted_f1
from florafauna.compare.paired import Candidate, Question, compare_all
from florafauna.photos.crops import split_name
from florafauna.scores.bootstrap import Truth
from florafauna.scores.calibration import fit_temperature
from florafauna.scores.events import by_event
from florafauna.scores.predictions import LOGITS, Predictions, read_predictions
from florafauna.scores.settings import EvaluateParams


def compare_by_photo(first: Path, second: Path) -> str:
    """The verdict on two folders of predictions: a photo has one answer, that of its boxes; two labels leave it out.

    `UserError` where both have the same name, or no test photo with the same label in common.

    >>> compare_by_photo(Path("whole"), Path("predictions/vit"))  # doctest: +SKIP
    'predictions/vit is better than whole by 21.0 points (8.1 to 33.9), weighted F1 0.81 and 0.60 on 28 photos'
    """
    if first.resolve() == second.resolve():
        raise UserError(f"{first} and {second} are the same predictions; name two folders such as predictions/vit.")
    one, other = (_answers(folder) for folder in (first, second))
    both = one.merge(other, left_index=True, right_index=True, suffixes=("", "_other"))
    both = both[both["label"] == both["label_other"]].sort_index()
    if both.empty:
        raise UserError(
            f"{first} and {second} have no test photo with the same label in common; split both alike (data/places.csv "
            "keeps groups where they are)."
        )
    classes = pd.Index(sorted({*both["label"], *both["answer"], *both["answer_other"]}))
    targets, *answers = (classes.get_indexer(both[name]) for name in ("label", "answer", "answer_other"))
    truth = Truth(targets, len(classes), pd.factorize(both["group"], sort=True)[0])
    models = {str(first): answers[0], str(second): answers[1]}
    candidates = {name: Candidate(each) for name, each in models.items()}
    (pair,) = compare_all(candidates, truth, Question(EvaluateParams().margin)).pairs
    scores = {name: weighted_f1(targets, each) for name, each in models.items()}
    return f"{pair.sentence}; weighted F1 {scores[pair.first]:.3f} and {scores[pair.second]:.3f} on {len(both)} photos"


def _answers(folder: Path) -> pd.DataFrame:
    """label, answer and group of every test photo, by path."""
    predictions = read_predictions(folder / LOGITS)
    val, test = predictions.part("val"), predictions.part("test")
    files = pd.Series([split_name(name)[0] for name in test.photos["path"]], dtype=str)
    photos = test.photos.drop(columns="location", errors="ignore").assign(sequence=files, path=files)
    of_photos = replace(test, photos=photos)
    pooled: Predictions | None = by_event(of_photos, fit_temperature(val.logits, val.targets))
    shown = of_photos if pooled is None else pooled
    photos = shown.photos
    group = photos["group"].where(photos["group"] != "", photos["path"])
    answer = np.array(shown.labels)[shown.predicted]
    return pd.DataFrame({"label": photos["label"], "answer": answer, "group": group}).set_index(photos["path"])
