"""One answer for the photos of one passing animal, an event: the mean of their calibrated log-probabilities.

Blanks are left out. The mean is made to sum to one again: it is the logarithmic pool of Genest & Zidek (1986). Twice
the same photo leaves an event's answer as it is, where a product of probabilities would be twice as sure.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from florafauna.base.taxonomy import NO_ANIMAL
from florafauna.scores.predictions import Predictions

BURST = "burst="  # how `split` names the groups of photos that were taken within seconds of each other


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


def events_of(photos: pd.DataFrame) -> pd.Series:
    """The event of each photo: its sequence, else a burst that nobody declared, else the photo itself.

    Cameras number their sequences each from 1, so a sequence is one of its site where that is known.
    """
    burst = photos["group"].where(photos["group"].str.startswith(BURST), "")
    if "sequence" not in photos:
        return burst.where(burst != "", photos["path"])
    site = photos["location"] + " " if "location" in photos else ""
    event = (site + photos["sequence"]).where(photos["sequence"] != "", burst)
    return event.where(event != "", photos["path"])


def by_event(predictions: Predictions, temperature: float) -> Predictions | None:
    """Events as photos with one answer; None if no photo shares its event with another.

    An event's label is that of its photos that are no blanks; events of several labels are left out.
    """
    photos, blank = predictions.photos, blank_classes(predictions.labels)
    event = events_of(photos)
    if not event.duplicated().any():
        return None
    shows = photos.assign(event=event, row=np.arange(len(photos)), shown=~blank[predictions.targets])
    shows = shows[shows["shown"] | ~shows.groupby("event")["shown"].transform("any")]
    clear = shows.groupby("event")["target"].transform("nunique") == 1
    first = shows[clear].drop_duplicates("event").reset_index(drop=True)
    rows = pd.Series(np.arange(len(photos))).groupby(event.to_numpy()).agg(list)
    logits = [pooled(predictions.logits[rows[name]], temperature, blank) for name in first["event"]]
    found = np.array(logits, dtype=np.float32).reshape(-1, len(predictions.labels))
    table = first.assign(path=first["event"])[[name for name in photos if name in first]]
    return Predictions(predictions.model, predictions.labels, table, found, predictions.ancestors)
