"""Probabilities of species, genera, families …: summed up the taxonomy, and rolled up as far as a threshold asks.

The roll-up is that of SpeciesNet (Gadot et al. 2024, "To crop or not to crop"): a photo whose species is unsure may
still be surely of a genus. Ancestors are given for each class as rank → taxon, {"genus": "Parus", "family": "Paridae"};
a class that lacks a rank belongs to no taxon of that rank.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from florafauna.errors import UserError
from florafauna.scores.metrics import accuracy, weighted_f1

Ancestors = Sequence[Mapping[str, str]]

KINGDOM = "kingdom"


@dataclass(frozen=True)
class RankScores:
    """Scores (0 to 1) at one rank over the photos whose class has a taxon of it."""

    rank: str
    taxa: int
    photos: int
    accuracy: float
    weighted_f1: float


@dataclass(frozen=True)
class RolledUp:
    """What can be said of a photo: the taxon, its rank and its summed probability; None where nothing is sure."""

    rank: str | None
    taxon: str | None
    probability: float


def taxa_at(ancestors: Ancestors, rank: str) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The taxa of a rank, sorted, and for each class which of them it belongs to (−1: to none).

    Plants and animals may share a name (Oenanthe is a genus of both): such a name counts once for each kingdom.
    """
    kingdoms: dict[str, set[str]] = {}
    for taxa in ancestors:
        if taxa.get(rank):
            kingdoms.setdefault(taxa[rank], set()).add(taxa.get(KINGDOM) or "")
    names = []
    for taxa in ancestors:
        name = taxa.get(rank) or ""
        shared = len(kingdoms.get(name, set()) - {""}) > 1
        names.append(f"{name} ({taxa.get(KINGDOM) or 'kingdom unknown'})" if shared else name)
    listed = sorted(set(names) - {""})
    positions = {name: position for position, name in enumerate(listed)}
    return listed, np.array([positions.get(name, -1) for name in names], dtype=np.int64)


def rank_probabilities(probabilities: np.ndarray, ancestors: Ancestors, rank: str) -> tuple[list[str], np.ndarray]:
    """The taxa of a rank and their probabilities (n, taxa): those of their classes, summed."""
    if probabilities.shape[1] != len(ancestors):
        raise UserError(
            f"The taxonomy has {len(ancestors)} classes but the probabilities have {probabilities.shape[1]}."
        )
    taxa, of_class = taxa_at(ancestors, rank)
    membership = (of_class[:, None] == np.arange(len(taxa))[None, :]).astype(np.float64)
    return taxa, probabilities @ membership


def scores_at(probabilities: np.ndarray, targets: np.ndarray, ancestors: Ancestors, rank: str) -> RankScores | None:
    """Accuracy and weighted F1 when a photo's likeliest taxon of this rank is its prediction.

    Probabilities are (n, classes), targets (n,). None where no photo's class has a taxon of this rank.
    """
    taxa, summed = rank_probabilities(probabilities, ancestors, rank)
    _, of_class = taxa_at(ancestors, rank)
    truth = of_class[targets]
    ranked = truth >= 0
    if not ranked.any():
        return None
    truth, predicted = truth[ranked], summed[ranked].argmax(axis=1)
    return RankScores(rank, len(taxa), len(truth), accuracy(truth, predicted), weighted_f1(truth, predicted))


def roll_up(probabilities: np.ndarray, ancestors: Ancestors, ranks: Sequence[str], threshold: float) -> list[RolledUp]:
    """For each photo the lowest rank at which a taxon's summed probability reaches the threshold.

    Probabilities are (n, classes); ranks go from the finest to the coarsest; the threshold is a share of 1.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"A roll-up threshold must be above 0 and at most 1, not {threshold}.")
    answers: list[RolledUp] = [RolledUp(None, None, 0.0)] * len(probabilities)
    open_photos = np.ones(len(probabilities), dtype=bool)
    for rank in ranks:
        taxa, summed = rank_probabilities(probabilities, ancestors, rank)
        if not taxa:
            continue
        best = summed.argmax(axis=1)
        top = summed[np.arange(len(summed)), best]
        for photo in np.flatnonzero(open_photos & (top >= threshold - 1e-9)):
            answers[photo] = RolledUp(rank, taxa[best[photo]], float(top[photo]))
            open_photos[photo] = False
    return answers
