"""Probabilities of species, genera, families …: summed up the taxonomy, and rolled up until a threshold is reached.

The roll-up is that of SpeciesNet (Gadot et al. 2024, "To crop or not to crop"): where the species is uncertain, the
genus may be certain. Ancestors are given for each class as rank → taxon, {"genus": "Parus", "family": "Paridae"}; a
class that lacks a rank belongs to no taxon of that rank.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from florafauna.base.errors import UserError
from florafauna.base.metrics import accuracy, weighted_f1
from florafauna.base.taxonomy import ABOVE_SPECIES
from florafauna.scores._promise import effective_sizes, intraclass_correlation, last_shown
from florafauna.scores.abstention import Realised, Threshold, not_shown, realised_by
from florafauna.scores.bootstrap import group_codes

Ancestors = Sequence[Mapping[str, str]]

KINGDOM = "kingdom"
LABEL = "label"  # the finest level of a roll-up: the classes themselves
ROUNDING = 1e-9  # a sum of probabilities may fall short of a threshold by this much
LEVELS = 1 - np.geomspace(1e-4, 0.7, 60)  # thresholds tried for a roll-up, the highest first


@dataclass(frozen=True)
class RankScores:
    """Scores (0 to 1) at one rank, over the photos whose class has a taxon of that rank."""

    rank: str
    taxa: int
    photos: int
    accuracy: float
    weighted_f1: float


@dataclass(frozen=True)
class RolledUp:
    """The answer for a photo: the taxon, its rank and its summed probability; None where nothing is certain enough."""

    rank: str | None
    taxon: str | None
    probability: float


def levels(labels: Sequence[str], ancestors: Ancestors) -> tuple[list[str], list[dict[str, str]]]:
    """The levels of a roll-up, LABEL and the ranks that separate some classes, the finest first; and their taxa.

    A rank at which all classes have the same taxon is left out: it says nothing.
    """
    ranks = [rank for rank in reversed(ABOVE_SPECIES) if len(set(taxa_at(ancestors, rank)[1])) > 1]
    return [LABEL, *ranks], [{LABEL: label} | dict(taxa) for label, taxa in zip(labels, ancestors, strict=True)]


def taxa_at(ancestors: Ancestors, rank: str) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The taxa of a rank, sorted, and the number of the one that each class belongs to (−1: none).

    Plants and animals may share a name (Oenanthe is a genus of both): it then counts once for each kingdom.

    >>> taxa_at([{"genus": "Parus"}, {"genus": "Cyanistes"}, {}], "genus")
    (['Cyanistes', 'Parus'], array([ 1,  0, -1]))
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
    """The taxa of a rank, and their probabilities (n, taxa): the sums over their classes."""
    if probabilities.shape[1] != len(ancestors):
        raise UserError(
            f"The taxonomy has {len(ancestors)} classes but the probabilities have {probabilities.shape[1]}."
        )
    taxa, of_class = taxa_at(ancestors, rank)
    membership = (of_class[:, None] == np.arange(len(taxa))[None, :]).astype(np.float64)
    return taxa, probabilities @ membership


def scores_at(probabilities: np.ndarray, targets: np.ndarray, ancestors: Ancestors, rank: str) -> RankScores | None:
    """Accuracy and weighted F1 when the likeliest taxon of this rank is taken as the prediction.

    Probabilities are (n, classes), targets (n,). None if no photo's class has a taxon of this rank.
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
    """For each photo the finest rank at which a taxon's summed probability reaches the threshold.

    Probabilities are (n, classes); ranks go from the finest to the coarsest; the threshold is above 0 and at most 1.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"The roll-up threshold must be above 0 and at most 1, not {threshold}.")
    answers: list[RolledUp] = [RolledUp(None, None, 0.0)] * len(probabilities)
    open_photos = np.ones(len(probabilities), dtype=bool)
    for rank in ranks:
        taxa, best, top = _likeliest(probabilities, ancestors, rank)
        for photo in np.flatnonzero(open_photos & (top >= threshold - ROUNDING)):
            answers[photo] = RolledUp(rank, taxa[best[photo]], float(top[photo]))
            open_photos[photo] = False
    return answers


def choose_roll_up(
    probabilities: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray | None,
    ancestors: Ancestors,
    ranks: Sequence[str],
    precision: float,
    confidence: float = 0.95,
) -> Threshold:
    """The lowest threshold of `roll_up` at which answers, at whatever rank, show the required precision.

    Chosen on validation photos, from the highest of LEVELS down, as in `abstention.choose_threshold`; `accepted` is the
    number of photos with an answer.
    """
    tops, right = _answers(probabilities, targets, ancestors, ranks)
    codes, photos = group_codes(groups, len(targets)), len(targets)
    icc = intraclass_correlation(right[0], codes)
    effective = effective_sizes(codes[np.argsort(-tops.max(axis=0), kind="stable")], icc)
    counts = [_count(tops, right, level) for level in LEVELS]
    answered, correct = (np.array(each) for each in zip(*counts, strict=True))
    shares, worth = correct / np.maximum(answered, 1), np.concatenate([[0.0], effective])[answered]
    last, bound = last_shown(shares * worth, worth, precision, confidence)
    if last < 0:
        return not_shown(shares * worth, worth, photos, precision, confidence)
    level, share, count = float(LEVELS[last]), float(shares[last]), int(answered[last])
    sentence = (
        f"Rolled up to a probability of {level:.3f}, {share:.1%} of {count} answered photos are correct "
        f"(at least {bound:.1%})."
    )
    return Threshold(level, count, share, bound, sentence)


def realised_roll_up(
    probabilities: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray | None,
    ancestors: Ancestors,
    ranks: Sequence[str],
    threshold: float | None,
    confidence: float = 0.95,
) -> tuple[Realised, dict[str, int]]:
    """Precision and coverage of a roll-up on test photos, and how many photos are answered at each rank.

    An answer is correct if the photo's class belongs to the taxon. Without a threshold nothing is answered.
    """
    tops, right = _answers(probabilities, targets, ancestors, ranks)
    finest = _finest(tops, np.inf if threshold is None else threshold)
    answered = finest < len(ranks)
    correct = right[np.minimum(finest, len(ranks) - 1), np.arange(len(targets))]
    at_rank = {rank: int((finest == number).sum()) for number, rank in enumerate(ranks)}
    return realised_by(answered, correct, groups, confidence), at_rank


def _likeliest(
    probabilities: np.ndarray, ancestors: Ancestors, rank: str
) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The taxa of a rank, and for each photo the likeliest and its probability (−1 where there is no taxon)."""
    taxa, summed = rank_probabilities(probabilities, ancestors, rank)
    if not taxa:
        return taxa, np.zeros(len(summed), dtype=np.int64), np.full(len(summed), -1.0)
    best = summed.argmax(axis=1)
    return taxa, best, summed[np.arange(len(summed)), best]


def _answers(
    probabilities: np.ndarray, targets: np.ndarray, ancestors: Ancestors, ranks: Sequence[str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Probability of the likeliest taxon and whether it is correct, both (ranks, photos)."""
    tops, right = [], []
    for rank in ranks:
        _, best, top = _likeliest(probabilities, ancestors, rank)
        tops.append(top)
        right.append(taxa_at(ancestors, rank)[1][targets] == best)
    return np.array(tops), np.array(right)


def _finest(tops: npt.NDArray[np.float64], threshold: float) -> npt.NDArray[np.int64]:
    """Index of the rank at which each photo is answered, (photos,); the number of ranks if it is not answered."""
    reached = tops >= threshold - ROUNDING
    return np.where(reached.any(axis=0), reached.argmax(axis=0), len(tops))


def _count(tops: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], threshold: float) -> tuple[int, int]:
    finest = _finest(tops, threshold)
    photos = np.flatnonzero(finest < len(tops))
    return len(photos), int(right[finest[photos], photos].sum())
